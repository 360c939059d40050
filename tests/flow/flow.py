"""flow.py - what every flow test needs: a cluster or single programs, questions to it, a verdict, nothing left.

    run(body) ─▶ body(flow) ─▶ clean stop of what is left ─▶ exit 0 | 1 with excerpts of the logs | 77 skipped
    flow.figures, when body has set them, are the last line: one JSON object

A test is a function that raises when something is wrong. Programs come from --bin or FLOW_BIN. A program that ends with
something else than 0 after SIGTERM, that had to be killed, or whose log has a sanitizer's report fails the test.
"""
import argparse
import base64
import contextlib
import json
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "smoke"))
from bus import JSON_TYPE, Bus, NoResponders  # noqa: E402, F401
from cluster import ROOT, Cluster, Options, StartError  # noqa: E402
from compare import Held, Sent, compare, compare_rows, read_owners, read_record  # noqa: E402
from go_tools import Missing, go_tool  # noqa: E402, F401
from nats_auth import NatsAuth, violations  # noqa: E402
from processes import HOST, Process, answers, free_port, http_json, http_request, wait_for  # noqa: E402, F401
from traffic import record, start_traffic, stored_events  # noqa: E402, F401

LIMIT_S = 120  # of every wait: generous, only what hangs gets there
SANITIZER = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "WARNING: ThreadSanitizer", "runtime error:")
TOKEN = "0123456789abcdef0123456789abcdef"  # what a program needs to start and nobody checks
SKIPPED = 77


STOP_ORDER = ("guildbus-edge", "guildbus-gateway", "guildbus-coordinator", "guildbus-discord-sim", "nats-server")


class Wrong(Exception):
    """The system does something else than it should."""


class Skipped(Exception):
    """The test cannot run here."""


def expect(condition, what):
    if not condition:
        raise Wrong(what)


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def stop_rank(process):
    """Who needs another ends before it."""
    name = pathlib.Path(process.argv[0]).name
    return STOP_ORDER.index(name) if name in STOP_ORDER else -1


class Flow:
    def __init__(self, bin_dir, folder):
        self.bin_dir, self.folder = pathlib.Path(bin_dir), pathlib.Path(folder)
        self.clusters, self.programs = [], []
        self.auth = None       # of the servers that nats() starts
        self.may_fail = set()  # processes whose end was part of the test
        self.may_be_refused = False  # by NATS
        self.figures = None    # what the test has measured

    # ---- starting ----

    def cluster(self, **options):
        """A started cluster, all of whose guilds are owned."""
        return self.start(self.new_cluster(**options))

    def new_cluster(self, **options):
        folder = self.folder / f"cluster{len(self.clusters) or ''}"
        c = Cluster(Options(run_dir=folder, bin_dir=self.bin_dir, **options))
        self.clusters.append(c)
        return c

    def start(self, cluster):
        cluster.start()
        cluster.wait_until_owned(LIMIT_S)
        say(f"{cluster.options.gateways} gateways own {cluster.options.guilds} guilds")
        return cluster

    def program(self, name):
        path = self.bin_dir / name
        if not path.exists():
            raise Wrong(f"{path} is not there")
        return path

    def spawn(self, name, argv, env=None):
        """A process of the test's own, outside any cluster; one that speaks NATS as its own user there."""
        env = {**(self.auth.of(str(argv[0])) if self.auth else {}), **(env or {})}
        argv = [self.program(argv[0]) if str(argv[0]).startswith("guildbus") else argv[0], *argv[1:]]
        p = Process(name, argv, self.folder / f"{name}.log", {k: str(v) for k, v in env.items()})
        self.programs.append(p)
        return p.start()

    def nats_users(self):
        """Those of nats() and of what spawn() starts from now on."""
        self.auth = self.auth or NatsAuth(self.folder / "nats-auth", self.bin_dir)
        return self.auth

    def nats(self, port=0, name="nats"):
        """(process, url) of a nats-server with JetStream and users."""
        port, monitor = port or free_port(), free_port()
        auth = self.nats_users()
        p = self.spawn(name, ["nats-server", "-a", HOST, "-p", port, "-m", monitor, "-js", "-sd", self.folder / name,
                              "-c", auth.config], auth.server_env)
        wait_for("nats-server answers", answers(f"http://{HOST}:{monitor}/healthz"), LIMIT_S, [p])
        return p, f"nats://{HOST}:{port}"

    # ---- the end ----

    def processes(self):
        return [p for c in self.clusters for p in c.processes.values()] + self.programs

    def kill(self, process, number=signal.SIGKILL):
        """Ends at once; its exit code is nobody's fault."""
        self.may_fail.add(process)
        process.stop(number, 30)

    def expect_exit(self, process, code, timeout_s=LIMIT_S):
        wait_for(f"{process.name} ends", lambda: not process.is_alive(), timeout_s)
        self.may_fail.add(process)
        expect(process.popen.returncode == code, f"{process.name} {process.exit_text()}, not {code}:\n{process.tail()}")

    def finish(self):
        """Everything stops as it should."""
        for p in self.processes():
            if p not in self.may_fail:
                expect(p.is_alive(), f"{p.name} {p.exit_text()} although nobody stopped it:\n{p.tail()}")
        for c in self.clusters:
            expect(c.stop(), f"had to be killed: {', '.join(c.killed)}")
        for p in sorted(self.programs, key=stop_rank):
            expect(p.stop(), f"{p.name} had to be killed:\n{p.tail()}")
        for p in self.processes():
            # nats-server says 1 after SIGTERM
            clean = p in self.may_fail or p.popen.returncode == 0 or "nats-server" in p.argv[0]
            expect(clean, f"{p.name} {p.exit_text()} after SIGTERM:\n{p.tail()}")
        self.look_for_reports()

    def look_for_reports(self):
        for path in self.folder.rglob("*.log"):
            lines = path.read_text("utf-8", "replace").splitlines()
            for n, line in enumerate(lines):
                if any(word in line for word in SANITIZER):
                    raise Wrong(f"{path.name} has a sanitizer's report:\n" + "\n".join(lines[n:n + 40]))
            refused = [] if self.may_be_refused else violations("\n".join(lines))
            expect(not refused, f"{path.name}: NATS refused what a program may not do:\n" + "\n".join(refused[:20]))

    def restart(self, process):
        """After kill(): the same program with the same settings, port and data."""
        expect(not process.is_alive(), f"{process.name} still runs")
        self.may_fail.discard(process)
        process.start()

    def end_all(self):
        for p in self.processes():
            p.stop(signal.SIGKILL, 10)

    def excerpts(self):
        for p in self.processes():
            with contextlib.suppress(OSError):
                lines = p.log_path.read_text("utf-8", "replace").splitlines()
                loud = [line for line in lines[:-25] if "level=error" in line or "level=warn" in line][-15:]
                print(f"\n==== {p.name} (pid {p.pid}, {p.exit_text()}), {len(lines)} lines in all", file=sys.stderr)
                print("\n".join([*loud, "..." if loud else "", *lines[-25:]]), file=sys.stderr)


def run(body, options=lambda parser: None):
    """The whole of a test's program. options adds its own, which flow.args then has."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--bin", default=os.environ.get("FLOW_BIN", str(ROOT / "build/release/bin")),
                        help="folder of the programs")
    parser.add_argument("--keep", action="store_true", help="keep logs and databases")
    options(parser)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started ends and the folder goes
    folder = pathlib.Path(tempfile.mkdtemp(prefix="guildbus-flow-"))
    flow = Flow(args.bin, folder)
    flow.args = args
    code = 1
    try:
        body(flow)
        say("stopping everything")
        flow.finish()
        code = 0
    except Skipped as e:
        print(f"SKIPPED: {e}", flush=True)
        code = SKIPPED
    except BaseException:  # also a Ctrl-C: what was started must end
        traceback.print_exc()  # first: what is cut off a long output is its end
        sys.stderr.flush()
        flow.excerpts()
    finally:
        flow.end_all()
        if args.keep:
            print(f"logs and databases: {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    say({0: "passed", SKIPPED: "skipped"}.get(code, "FAILED"))
    if flow.figures is not None:
        print(json.dumps(flow.figures), flush=True)
    sys.exit(code)


# ---- questions to a cluster ----

def guilds_of(cluster):
    """The simulator's guilds: id, owner_id, moderator_id, member_ids, channels …"""
    status, guilds = http_json("GET", cluster.sim_admin + "/guilds")
    expect(status == 200 and guilds, f"the simulator's guilds: {status}")
    return guilds


def sim(cluster, path, body, method="POST"):
    status, answer = http_json(method, cluster.sim_admin + path, body, timeout_s=20)
    expect(status == 200, f"the simulator's {path} with {body}: {status} {answer}")
    return answer


def say_in(cluster, guild, content, author=None):
    """The id of a new message."""
    message = sim(cluster, "/message", {"guild_id": guild["id"], "author_id": author or guild["member_ids"][0],
                                        "content": content})
    expect(message["sent"], f"no session took the message: {message}")
    return message["id"]


def interact(cluster, kind, guild, user, **more):
    """What became of an interaction once it has its first answer."""
    return sim(cluster, "/interaction", {"kind": kind, "guild_id": guild["id"], "user_id": user, **more})


def set_up(cluster, guild):
    """/setup, as the guild's owner types it"""
    data = {"id": "1", "name": "setup", "type": 1,
            "options": [{"name": "modlog", "type": 7, "value": guild["mod_log_id"]},
                        {"name": "moderator", "type": 8, "value": guild["moderator_role_id"]}]}
    done = interact(cluster, "setup", guild, guild["owner_id"], data=data)
    expect(done["fate"] == "answered" and "Set up." in done["body"]["data"]["content"], f"/setup: {done}")


def ask(bus, guild_id, query, **fields):
    """The portal's answer of a guild's owner as JSON; None when nobody answers or the owner refuses."""
    with contextlib.suppress(NoResponders, TimeoutError):
        return ask_once(bus, guild_id, query, **fields)
    return None


def ask_once(bus, guild_id, query, **fields):
    """Likewise; but NoResponders when there is no owner, TimeoutError when nobody answers."""
    body = json.dumps({"portal": {"guildId": str(guild_id), **query, **fields}})
    return json.loads(bus.request(f"guild.{guild_id}.portal", body, JSON_TYPE, 5).body).get("portalReply")


def serving_pod(bus, guild_id):
    """The pod that answers for the guild now; None: nobody."""
    return (ask(bus, guild_id, {"overview": {}}) or {}).get("pod")


def wait_all_served(cluster, bus, pods=None, timeout_s=LIMIT_S):
    """Until every guild answers (from one of these pods)."""
    left = {g["id"] for g in guilds_of(cluster)}

    def served():
        for guild in sorted(left):
            pod = serving_pod(bus, guild)
            if pod and (pods is None or pod in pods):
                left.discard(guild)
        return not left
    try:
        wait_for("every guild answers", served, timeout_s)
    except Exception as e:
        raise Wrong(f"these guilds do not answer{f' from {pods}' if pods else ''}: {sorted(left)}") from e


# ---- exactly once ----

def sent_events(cluster):
    """{guild: events}, by the simulator's record"""
    report = http_json("GET", cluster.sim_admin + "/report", timeout_s=60)[1]
    expect(not report["record_truncated"], "the simulator's record is cut")
    return {int(g["guild_id"]): g["events"] for g in report["guilds"]}


def deferred_events(cluster, guild):
    """How many of the guild's messages in EVENTS are interactions that an edge put there: Discord did not send those."""
    count, seq = 0, 0
    with Bus(cluster.nats_url) as bus:
        while True:
            wanted = {"seq": seq + 1, "next_by_subj": f"event.*.{guild}"}
            answer = json.loads(bus.request("$JS.API.STREAM.MSG.GET.EVENTS", json.dumps(wanted)).body)
            if "message" not in answer:
                expect(answer["error"]["code"] == 404, f"EVENTS: {answer}")
                return count
            seq = answer["message"]["seq"]
            count += b"Nats-Msg-Id: interaction:" in base64.b64decode(answer["message"].get("hdrs", ""))


def take_stock(cluster, guilds):
    """{guild: (sent, stored, Held)}, deferred interactions left out."""
    sent, stored = sent_events(cluster), stored_events(cluster)
    held = read_owners(cluster.assignments(), cluster.data_dir)
    stock = {}
    for guild in guilds:
        events, has = stored.get(guild, 0), held.get(guild, Held())
        if events > sent.get(guild, 0):
            deferred = deferred_events(cluster, guild)
            events -= deferred
            has.applied -= deferred
        stock[guild] = sent.get(guild, 0), events, has
    return stock


def wait_until_settled(cluster, guilds, timeout_s=LIMIT_S):
    """Until for each of these guilds sent = stored = applied, and no call to Discord waits: {guild: (…)} as above."""
    stock = {}

    def settled():
        stock.update(take_stock(cluster, guilds))
        return all(sent == stored == held.applied and not held.waiting for sent, stored, held in stock.values())
    try:
        wait_for("everything sent is applied", settled, timeout_s, interval_s=0.2)
    except Exception as e:
        lines = "\n".join(f"  guild {g}: sent {sent}, stored {stored}, applied {held.applied}, {held.waiting} calls wait"
                          for g, (sent, stored, held) in stock.items())
        raise Wrong(f"not everything that was sent got applied ({e}):\n{lines}") from e
    return stock


def compare_stock(cluster, stock):
    """(total, notes, what was sent): the stock's rows against the simulator's record"""
    sent = read_record(record(cluster))
    sent = {g: sent.get(g, Sent()) for g in stock}
    total, notes = compare(sent, {g: held for g, (_, _, held) in stock.items()},
                           {g: stored for g, (_, stored, _) in stock.items()})
    return total, notes, sent


def expect_exactly_once(cluster, guilds=None):
    """Waits until all is applied, then compares the owners' rows with the simulator's record. guilds: all unless told."""
    guilds = [int(g) for g in guilds or (g["id"] for g in guilds_of(cluster))]
    total, notes, _ = compare_stock(cluster, wait_until_settled(cluster, guilds))
    expect(not total["lost"] and not total["duplicated"], f"{total}\n" + "\n".join(notes))
    expect(total["sent"] > 0, "nothing was sent")
    say(f"exactly once: {total}")
    return total


def traffic_is_over(cluster):
    return not http_json("GET", cluster.sim_admin + "/traffic")[1]["running"]


def wait_for_traffic(cluster, timeout_s=LIMIT_S):
    wait_for("the traffic is over", lambda: traffic_is_over(cluster), timeout_s)

#!/usr/bin/env python3
"""rest_storm.py - thousands of REST calls wait in the outboxes of many guilds: how do they leave, and does each once?

    setup, one tracked message a guild ─▶ it is tracked again and again, each time a note in its thread, then deleted
          ─▶ all calls are made ─▶ the simulator's record of what came when ─▶ one JSON line

A row of an outbox is a note (POST with a nonce), a DELETE, or a PATCH of an interaction's webhook, which no global limit
binds. One guild has a twenty-fifth of the notes, so that a bucket (five a second) holds it back. With --kill a second
storm follows, in the middle of which the pod with the most guilds is killed with -9 and its disk deleted, just when Discord
has slowly begun with some calls: it does them, nobody hears of it, and their rows' next owner makes them again.

Exit 1 unless: never more than 50 calls in any second, counted by their arrival; no 429; each row's call was made, with one
effect; without a kill, once; with one, some again. --window forgives a machine that stalls: calls
that left a second apart may then arrive closer together.

usage: ./dev scale rest_storm [--rows N] [--guilds N] [--pods N] [--kill] [--window MS]
"""
import collections
import concurrent.futures
import json
import pathlib
import random
import shutil
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "smoke"), str(HERE.parent / "flow")]
from flow import Wrong, expect, guilds_of, interact, read_owners, run, say, say_in, set_up, sim, wait_for  # noqa: E402
from processes import http_json, http_request  # noqa: E402

GLOBAL, BUCKET = 50, 5   # calls a second
ROWS_OF_A_DELETION = 3   # DELETE, PATCH, the note
AT_ONCE = 16             # interactions
QUIET_S = 3
SLOW, SLOW_MS = 40, 2000  # calls before a kill, of all pods


# ---- what the simulator knows ----

def lines(cluster, kind, after=0):
    url = f"{cluster.sim_admin}/record?kind={kind}&after={after}"
    return [json.loads(line) for line in http_request("GET", url, timeout_s=300)[2].splitlines()]


def rest_state(cluster):
    return http_json("GET", cluster.sim_admin + "/state", timeout_s=20)[1]["rest"]


def busiest(times_us, window_ms):
    """The most of these in any window of the length, its end not in it."""
    most = first = 0
    for n, at in enumerate(times_us):
        while at - times_us[first] >= window_ms * 1000:
            first += 1
        most = max(most, n + 1 - first)
    return most


# ---- causes ----

class Guild:
    """One tracked message, and how often it is tracked again."""

    def __init__(self, known):
        self.known, self.message, self.thread, self.answer = known, "", "", {}
        self.notes, self.pressed = 0, False

    def set_up(self, cluster):
        set_up(cluster, self.known)

    def track_new(self, cluster):
        self.message = say_in(cluster, self.known, "this one is tracked")
        self.answer = self.track(cluster)

    def track(self, cluster):
        return self._must(interact(cluster, "Track", self.known, self.known["moderator_id"], target=self.message))

    def press(self, cluster):
        """The button below the first answer."""
        button = self.answer["body"]["data"]["components"][0]["components"][0]["custom_id"]
        self._must(interact(cluster, "component", self.known, self.known["moderator_id"], custom_id=button,
                            message_id=self.answer["original"]["id"]))

    def find_thread(self, cluster):
        channels = http_json("GET", f"{cluster.sim_admin}/channels?guild={self.known['id']}")[1]
        threads = [c["id"] for c in channels if c["type"] == 11]
        expect(len(threads) == 1, f"guild {self.known['id']} has threads {threads}, not one")
        self.thread = threads[0]

    def messages_due(self):
        return self.notes + self.pressed

    @staticmethod
    def _must(done):
        expect(done["fate"] in ("answered", "deferred"), f"an interaction: {done}")
        return done


def share_out(guilds, rows):
    """Each guild's notes, and whether its message is deleted."""
    pressed = min(len(guilds), rows // (4 * ROWS_OF_A_DELETION))
    notes = rows - pressed * ROWS_OF_A_DELETION
    for n, guild in enumerate(guilds):
        guild.notes, guild.pressed = 0, n < pressed
    guilds[0].notes = notes // 25
    for n in range(notes - notes // 25):
        guilds[n % len(guilds)].notes += 1


def each(guilds, what, *args):
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda guild: what(guild, *args), guilds))


# ---- until all is done ----

def rows_waiting(cluster, guilds):
    """None: the owner of a guild is not known or has no rows of it yet."""
    held = read_owners(cluster.assignments(), cluster.data_dir)
    if any(int(g.known["id"]) not in held for g in guilds):
        return None
    return sum(h.waiting for h in held.values())


def wait_until_calm(cluster, guilds, limit_s):
    """The outboxes are empty and no call comes any more; False: they are not, after so long."""
    end, last, since = time.monotonic() + limit_s, None, time.monotonic()
    told = time.monotonic()
    while time.monotonic() < end:
        waiting, requests = rows_waiting(cluster, guilds), rest_state(cluster)["requests"]
        if (waiting, requests) != last:
            last, since = (waiting, requests), time.monotonic()
        if waiting == 0 and time.monotonic() - since > QUIET_S:
            return True
        if time.monotonic() - told > 10:
            told = time.monotonic()
            say(f"{'?' if waiting is None else waiting} rows wait, {requests} requests came")
        time.sleep(0.5)
    return False


def slow_down(cluster):
    """Until some calls are under way that Discord has not done yet."""
    sim(cluster, "/rest-faults", {"path": "/channels/*", "how": "delay", "ms": SLOW_MS, "times": SLOW})

    def begun():
        return sum(rule["hits"] for rule in http_json("GET", cluster.sim_admin + "/rest-faults")[1]) >= SLOW
    wait_for("calls are slow", begun, 60, interval_s=0.01)


def kill_owner(flow, cluster):
    """(pod, its guilds)"""
    owners = collections.Counter(cluster.assignments().values())
    pod, count = owners.most_common(1)[0]
    slow_down(cluster)
    flow.kill(cluster.processes[pod])
    say(f"{pod}, which owned {count} guilds, is killed; deleting its disk")
    sim(cluster, "/rest-faults", None, "DELETE")
    shutil.rmtree(cluster.data_dir(pod))
    if len(cluster.pods) == 1:
        cluster.data_dir(pod).mkdir()
        flow.restart(cluster.processes[pod])
    return pod, count


# ---- a storm ----

class Mark:
    """Where the simulator's records stood."""

    def __init__(self, cluster):
        self.call = max((c["n"] for c in lines(cluster, "call")), default=0)
        self.arrival = max((a["n"] for a in lines(cluster, "arrival")), default=0)
        self.event = max((e["n"] for e in lines(cluster, "event")), default=0)
        self.nonce_repeats = rest_state(cluster)["nonce_repeats"]
        self.began = time.monotonic()


def prepare(cluster, guilds, limit_s):
    each(guilds, Guild.track_new, cluster)
    expect(wait_until_calm(cluster, guilds, limit_s), "the reports are not posted")
    each(guilds, Guild.find_thread, cluster)
    say(f"{len(guilds)} messages are tracked, their reports posted")


def make_rows(cluster, guilds, rows):
    """The most calls that waited at once."""
    share_out(guilds, rows)
    notes = [guild for guild in guilds for _ in range(guild.notes)]
    random.Random(rows).shuffle(notes)
    began = time.monotonic()
    each(notes, Guild.track, cluster)
    each([guild for guild in guilds if guild.pressed], Guild.press, cluster)
    waiting = sum(cluster.metrics(p).get("guildbus_rest_waiting", 0) for p in cluster.pods)
    say(f"{rows} rows were caused in {time.monotonic() - began:.0f} s; {waiting:.0f} calls wait")
    return int(waiting)


def count_effects(cluster, guilds, mark):
    """(lost, repeated): notes in the threads and deletions, against what was asked for."""
    posted, deleted, lost, repeated = collections.Counter(), collections.Counter(), 0, 0
    for event in lines(cluster, "event", mark.event):
        if event["type"] == "MESSAGE_CREATE" and event["by_bot"]:
            posted[event["channel_id"]] += 1
        elif event["type"] == "MESSAGE_DELETE":
            deleted[event["message_id"]] += 1
    for guild in guilds:
        for due, made in ((guild.messages_due(), posted[guild.thread]), (int(guild.pressed), deleted[guild.message])):
            lost += max(0, due - made)
            repeated += max(0, made - due)
            if due != made:
                say(f"guild {guild.known['id']}: {made} of {due} effects")
    return lost, repeated


def identity(call):
    """What is the same in each try of a row's call."""
    return call["path"], call["method"], json.loads(call["body"] or "{}").get("nonce")


def count_calls(cluster, guilds, mark):
    """Of the rows: how many were called, how often more than once, how long until then; how long a guild had to wait."""
    threads = {f"/channels/{g.thread}/messages" for g in guilds}
    tries, first = collections.defaultdict(list), {}
    for call in lines(cluster, "call", mark.call):
        if call["path"] in threads or call["method"] == "DELETE" or call["path"].startswith("/webhooks/"):
            tries[identity(call)].append(call["at_ms"])
        if call["path"] in threads:
            first.setdefault(call["path"], call["at_ms"])
    again = [at[-1] - at[0] for at in tries.values() if len(at) > 1]
    return {"rows_called": len(tries), "tried_again": sum(map(len, tries.values())) - len(tries),
            "tried_again_within_s": round(max(again, default=0) / 1000, 1),
            "first_note_within_s": round((max(first.values()) - min(first.values())) / 1000, 1)}


def storm(flow, cluster, guilds, kill):
    """Figures of one."""
    args, mark = flow.args, Mark(cluster)
    figures = {"rows": args.rows, "waiting": make_rows(cluster, guilds, args.rows)}
    if kill:
        before = rest_state(cluster)["requests"]
        half = args.rows // 2 - len(lines(cluster, "call", mark.call))
        wait_for("half of the calls are made", lambda: rest_state(cluster)["requests"] >= before + half, flow.limit_s,
                 interval_s=0.2)
        figures["killed"], figures["guilds_killed"] = kill_owner(flow, cluster)
    if not wait_until_calm(cluster, guilds, flow.limit_s):
        say("the calls have not come to an end")
    figures["lost"], figures["repeated"] = count_effects(cluster, guilds, mark)
    figures.update(count_calls(cluster, guilds, mark))
    figures["nonce_repeats"] = rest_state(cluster)["nonce_repeats"] - mark.nonce_repeats
    return {**figures, **pace(cluster, mark.arrival, args.window)}


def pace(cluster, after, window_ms):
    """How fast the calls came that the global limit binds, and what was refused."""
    arrivals = lines(cluster, "arrival", after)
    times = [a["at_us"] for a in arrivals if a["global"]]
    refused = collections.Counter(a["refused"] for a in arrivals if a["refused"])
    seconds = (times[-1] - times[0]) / 1e6 if len(times) > 1 else 0
    return {"calls": len(arrivals), "global_calls": len(times), "seconds": round(seconds, 1),
            "per_s": round(len(times) / seconds, 1) if seconds else 0, "busiest_1000ms": busiest(times, 1000),
            f"busiest_{window_ms}ms": busiest(times, window_ms),
            "limited_user": refused["user"], "limited_global": refused["global"], "limited_shared": refused["shared"]}


def judge(name, f, window_ms):
    """What is wrong with a storm's figures."""
    if f[f"busiest_{window_ms}ms"] > GLOBAL:
        yield f"{name}: {f[f'busiest_{window_ms}ms']} calls in {window_ms} ms, more than {GLOBAL}"
    if f["limited_user"] or (f["limited_global"] and window_ms >= 1000):
        yield f"{name}: Discord said 429 {f['limited_user']} times for a bucket, {f['limited_global']} for all"
    if f["lost"] or f["rows_called"] < f["rows"]:
        yield f"{name}: {f['lost']} effects are missing, {f['rows_called']} of {f['rows']} rows were called"
    if f["repeated"] or f["rows_called"] > f["rows"]:
        yield f"{name}: {f['repeated']} effects too many, {f['rows_called']} calls for {f['rows']} rows"
    if "killed" not in f and f["tried_again"]:
        yield f"{name}: {f['tried_again']} calls were made again although nothing had happened"
    if "killed" in f and not f["tried_again"]:
        yield f"{name}: no call was made again: the kill proves nothing"


def body(flow):
    args = flow.args
    flow.limit_s = 120 + (args.rows + args.guilds * 5) / 20
    cluster = flow.cluster(guilds=args.guilds, members=12, shards=2, gateways=args.pods,
                           extra_env={"guildbus-discord-sim": {"SIM_CALL_BODIES": "true"}})
    guilds = [Guild(g) for g in guilds_of(cluster)]
    each(guilds, Guild.set_up, cluster)
    sim(cluster, "/rates", {"per_bucket": BUCKET, "global": GLOBAL})
    flow.figures = {"pods": args.pods, "guilds": args.guilds}
    for name in ["storm", "storm_with_a_kill"] if args.kill else ["storm"]:
        prepare(cluster, guilds, flow.limit_s)
        flow.figures[name] = storm(flow, cluster, guilds, "kill" in name)
        say(f"{name}: {flow.figures[name]}")
    flow.figures["whole"] = pace(cluster, 0, args.window)
    wrong = [w for name, f in flow.figures.items() if name.startswith("storm") for w in judge(name, f, args.window)]
    if flow.figures["whole"][f"busiest_{args.window}ms"] > GLOBAL and not wrong:
        wrong = [f"between the storms: {flow.figures['whole']}"]
    if wrong:
        raise Wrong("\n".join(wrong))


def options(parser):
    parser.add_argument("--rows", type=int, default=10000, metavar="N", help="of outboxes, in each storm (10,000)")
    parser.add_argument("--guilds", type=int, default=500, metavar="N")
    parser.add_argument("--pods", type=int, default=4, metavar="N")
    parser.add_argument("--kill", action="store_true", help="a second storm, in which a pod is killed")
    parser.add_argument("--window", type=int, default=1000, metavar="MS", help="in which 50 calls may arrive (1000)")


if __name__ == "__main__":
    run(body, options)

#!/usr/bin/env python3
"""chaos.py - ./dev chaos: a whole cluster under traffic, moves and seeded faults; then a checker decides.

    start ─▶ traffic + moves ─▶ faults by schedule ─▶ heal, settle ─▶ collect ─▶ checker ─▶ one JSON line

Everything that the checker reads is in the run's folder, so `tests/chaos/check.py FOLDER` decides again. The last line
is one JSON object that begins with "violations"; the exit code is 1 when there is any.
"""
import argparse
import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from check import check_folder  # noqa: E402
from faults import Injector  # noqa: E402
from load import Load  # noqa: E402
from nats_link import Link, read_stream, stream_names  # noqa: E402
from portal import save_settings  # noqa: E402
from processes import http_request  # noqa: E402
from report import print_violations, summary  # noqa: E402
from schedule import ROOT, World, failpoints_in, schedule  # noqa: E402
from settle import Settling  # noqa: E402
from stage import Options, Stage, StartError  # noqa: E402
from stored import write_stored  # noqa: E402
from supervisor import Supervisor  # noqa: E402
from timeline import Timeline  # noqa: E402

DISK_BYTES = "64m"
SETTLE_S = 90


@dataclasses.dataclass
class Settings:
    coordinators: int
    edges: int = 2
    standbys: int = 0
    snapshot_records: int = 40
    clock_shim: str = ""
    events_per_s: int = 150
    interactions_per_s: int = 7   # with what follows from the events, 25 REST calls a second; the cluster has 41
    moves_per_s: int = 4
    big_guild: int = 6000  # messages


def arguments():
    p = argparse.ArgumentParser(prog="./dev chaos", description=__doc__.splitlines()[0])
    p.add_argument("--seed", type=int, default=1, metavar="N", help="of the schedule (1)")
    p.add_argument("--for", type=float, default=60, metavar="SECONDS", dest="seconds", help="of faults (60)")
    p.add_argument("--postgres", action="store_true", help="two coordinators on a PostgreSQL; else one on SQLite")
    p.add_argument("--nats-cluster", action="store_true", help="three NATS servers, every stream on all of them")
    p.add_argument("--standbys", type=int, default=1, metavar="N", help="pods that follow each guild (1)")
    p.add_argument("--guilds", type=int, default=60, metavar="N")
    p.add_argument("--only", default="", metavar="KIND,…", help="only these kinds of faults")
    p.add_argument("--print-schedule", action="store_true", help="print what would be done and end")
    p.add_argument("--json", action="store_true", help="print only the last line")
    p.add_argument("--keep", action="store_true", help="keep the folder with logs and databases")
    p.add_argument("--folder", default="", help="where to run (a new folder below /tmp)")
    p.add_argument("--bin", default=str(ROOT / "build/chaos/bin"), help="the programs (build/chaos/bin)")
    return p.parse_args()


def world_of(args):
    nats = [f"nats-{n}" for n in range(3)] if args.nats_cluster else ["nats"]
    return World(pods=["gw-1", "gw-2", "gw-3"], edges=["edge-1", "edge-2"], nats=nats, postgres=args.postgres,
                 coordinators=["coordinator-1", "coordinator-2"] if args.postgres else ["coordinator-1"],
                 disks=can_mount(), clocks=clock_shim(args).exists(), failpoints=failpoints_in())


def planned(args):
    faults = schedule(args.seed, args.seconds, world_of(args))
    only = set(filter(None, args.only.split(",")))
    return [f for f in faults if not only or f.kind in only]


# ---- what this machine allows ----

def can_mount():
    """Whether we are in a mount namespace of our own (main() tries to get one)."""
    return os.environ.get("CHAOS_MOUNTS") == "own"


def enter_mount_namespace():
    """So that what we mount vanishes with us, however we end."""
    if os.geteuid() == 0 and not can_mount() and shutil.which("unshare"):
        works = subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0
        if works:
            os.environ["CHAOS_MOUNTS"] = "own"
            os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv])


def clock_shim(args):
    return pathlib.Path(args.bin) / "chaos_clock.so"


def mount_disks(stage):
    for pod in stage.pods:
        stage.data_dir(pod).mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "chaos", stage.data_dir(pod)], check=True)


def unmount_disks(stage):
    """What is worth keeping has been copied to dbs/."""
    for pod in stage.pods:
        subprocess.run(["umount", stage.data_dir(pod)], capture_output=True, check=False)


def say_what_is_left_out(args, world):
    if not world.disks:
        say("LEFT OUT: full disks (needs root and a mount namespace)")
    if not world.clocks:
        say(f"LEFT OUT: clock steps ({clock_shim(args)} is not built)")
    if not world.failpoints:
        say("LEFT OUT: failpoints (the sources have none)")


quiet = False


def say(text):
    if not quiet:
        print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


# ---- a run ----

class Run:
    def __init__(self, args, folder):
        self.args, self.folder, self.world = args, folder, world_of(args)
        self.settings = Settings(coordinators=len(self.world.coordinators), standbys=args.standbys,
                                 clock_shim=str(clock_shim(args)) if self.world.clocks else "")
        options = Options(run_dir=folder, bin_dir=pathlib.Path(args.bin), gateways=3, guilds=args.guilds, shards=4,
                          postgres=args.postgres, seed=args.seed, nats_servers=len(self.world.nats))
        self.stage = Stage(options, self.settings, say)
        self.timeline = Timeline(folder / "timeline.ndjson", say)

    def play(self):
        stage = self.stage
        if self.world.disks:
            mount_disks(stage)
        stage.start()
        stage.wait_until_owned()
        self.guilds = sorted(stage.assignments())
        save_settings(stage)
        self.supervisor = Supervisor(stage, self.timeline, self.args.seed)
        self.injector = Injector(stage, self.supervisor, self.timeline)
        self.load = Load(stage, self.guilds, self.settings, self.args.seed)
        self.load.fill()
        self.supervisor.start()
        self.load.start()
        self._faults()
        say("healing everything")
        self.timeline.put("heal")
        self.injector.heal()
        self.load.stop()
        settled = Settling(stage, self.guilds).wait(SETTLE_S, say)
        self.timeline.put("settled", **settled)
        say(f"settled after {settled['seconds']} s" if settled["settled"] else f"NOT SETTLED: {settled['wrong'][:5]}")
        return settled

    def _faults(self):
        say(f"{len(self.guilds)} guilds are owned; faults for {self.args.seconds:g} s")
        begin = time.monotonic()
        for fault in planned(self.args):
            time.sleep(max(0, begin + fault.at - time.monotonic()))
            self.injector.start(fault)
        time.sleep(max(0, begin + self.args.seconds - time.monotonic()))

    # ---- collecting ----

    def collect(self, settled):
        """Everything that the checker reads, into the folder."""
        stage, folder = self.stage, self.folder
        self.supervisor.rest()
        for kind in ("event", "interaction", "call"):
            text = http_request("GET", f"{stage.sim_admin}/record?kind={kind}", timeout_s=300)[2]
            (folder / f"{kind}s.ndjson").write_text(text)
        (folder / "sim.json").write_text(http_request("GET", stage.sim_admin + "/report", timeout_s=60)[2])
        with Link(stage.nats_url) as link:
            names = stream_names(link)
        for stream in names:
            if stream.startswith("LOG_") or stream in ("EVENTS", "SNAPSHOTS"):
                write_stored(folder / f"{stream}.stored", read_stream(stage.nats_url, stream))
        tables = {name: stage.table(name) for name in ("history", "moves", "guild_assignments")}
        (folder / "tables.json").write_text(json.dumps(tables))
        for pod in stage.pods:  # they run, but are at rest: a write-ahead log is read with the file
            stage.copy_database(pod, folder / "dbs" / f"{pod}.final")
        self._write_facts(settled)

    def _write_facts(self, settled):
        injector = self.injector
        facts = {"seed": self.args.seed, "seconds": self.args.seconds, "guilds": self.guilds, "pods": self.stage.pods,
                 "edges": self.stage.edges, "nats_servers": len(self.world.nats), "postgres": self.args.postgres,
                 "standbys": self.args.standbys, "settled": settled, "faults": dict(injector.counts),
                 "skipped": dict(injector.skipped), "fired": {k: dict(v) for k, v in injector.fired.items()},
                 "deaths": self.supervisor.deaths, "load": self.load.counts()}
        (self.folder / "facts.json").write_text(json.dumps(facts, indent=1))
        self.timeline.close()


def run(args, folder):
    stage = None
    try:
        this = Run(args, folder)
        stage = this.stage
        settled = this.play()
        stage.processes["recorder"].stop(signal.SIGTERM, 20)
        this.collect(settled)
    finally:
        if stage:
            end_all(stage)
    say("checking")
    violations, figures = check_folder(folder)
    print_violations(violations, lambda text: print(text, file=sys.stderr, flush=True))
    refused = stage.nats_refusals()
    for line in refused[:20]:
        print(f"NATS refused a program: {line}", file=sys.stderr, flush=True)
    print(json.dumps(summary(folder, violations, figures)), flush=True)
    return not violations and not refused


def end_all(stage):
    """At once: how programs stop is tested elsewhere."""
    for name in (*stage.programs, "sim", "recorder", "proxy", *stage.nats_servers, "postgres"):
        p = stage.processes.get(name)
        if p:
            p.stop(signal.SIGQUIT if name == "postgres" else signal.SIGKILL, 20)
    if can_mount():
        unmount_disks(stage)


def main():
    global quiet
    args = arguments()
    quiet = args.json
    enter_mount_namespace()
    if args.print_schedule:
        say_what_is_left_out(args, world_of(args))
        for fault in planned(args):
            print(fault.line())
        return 0
    folder = pathlib.Path(args.folder or tempfile.mkdtemp(prefix="guildbus-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711)  # PostgreSQL's user must get through
    say_what_is_left_out(args, world_of(args))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    good = False
    try:
        good = run(args, folder)
    except (StartError, OSError, KeyError) as e:
        print(f"./dev chaos: {e!r}" if not isinstance(e, StartError) else f"./dev chaos: {e}", file=sys.stderr)
    finally:
        if args.keep or not good:
            print(f"logs and databases: {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

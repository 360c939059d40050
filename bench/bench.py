#!/usr/bin/env python3
"""bench.py - ./dev bench: what this build does on this machine, beside what people would run instead.

Each scenario (scenarios/) is run several times, ours and the peers' in turn, each on a fresh set of processes; the
figures are medians. Everything runs on this one machine, the simulator and NATS too: ratios mean something elsewhere,
absolute figures do not. The last line is one of JSON.
"""
import argparse
import importlib
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests/smoke"), str(HERE.parent / "tests/flow")]
import peers  # noqa: E402
import report  # noqa: E402
from cluster import ROOT, Cluster, Options, StartError  # noqa: E402
from processes import Process  # noqa: E402

SCENARIOS = ("floors", "events", "interactions", "portal", "handoff", "failover", "growth", "rest", "placement")


def arguments():
    p = argparse.ArgumentParser(prog="./dev bench", description=__doc__.splitlines()[0])
    p.add_argument("scenario", nargs="*", help=f"of {', '.join(SCENARIOS)} (default: all)")
    p.add_argument("--quick", action="store_true", help="small and once: under three minutes on two cores")
    p.add_argument("--peers", action="store_true", help="with the bots that people would run instead (needs Node)")
    p.add_argument("--repeats", type=int, metavar="N", help="of each (3; with --quick 1)")
    p.add_argument("--pods", type=int, default=1, metavar="N", help="gateways of ours (1)")
    p.add_argument("--json", metavar="FILE", help="write all figures there")
    p.add_argument("--report", metavar="FOLDER", help="write a Markdown report with plots there")
    args = p.parse_args()
    unknown = [s for s in args.scenario if s not in SCENARIOS]
    if unknown:
        p.error(f"no such scenario: {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    return args


def machine():
    model = "unknown"
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    nats = subprocess.run(["nats-server", "--version"], capture_output=True, text=True).stdout.strip()
    return {"cpu": model, "cores": len(os.sched_getaffinity(0)), "kernel": platform.release(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
            "nats": nats.rpartition(" ")[2], "load_before": round(os.getloadavg()[0], 2)}


class Simulator(Cluster):
    """Only Discord, for a peer."""

    def start(self):
        self._start_sim()
        return self


class Bench:
    """What a scenario is given."""
    SEED = 1
    patience_s = 900

    def __init__(self, args, run_dir, peers_folder):
        self.args, self.run_dir, self.peers_folder = args, run_dir, peers_folder
        self.rates = {}     # by scenario: set by its first run, the same for all others
        self.left_out = {}  # {what: why}
        self.bin = ROOT / "build/release/bin"
        self.tool_path = self.bin / "guildbus-bench"
        self.turn = 0

    def size(self, full, quick):
        return quick if self.args.quick else full

    def folder(self, name):
        path = self.run_dir / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def _options(self, **options):
        self.turn += 1
        return Options(run_dir=self.folder(f"run-{self.turn}"), bin_dir=self.bin, seed=self.SEED,
                       **{"shards": 1, **options})

    def cluster(self, **options):
        """Started, with all guilds owned; a context."""
        cluster = Cluster(self._options(**options))
        try:
            cluster.start()
            cluster.wait_until_owned(self.patience_s)
        except BaseException:
            cluster.stop()
            raise
        return cluster

    def simulator(self, **options):
        return Simulator(self._options(**options)).start()

    def spawn(self, name, argv, folder):
        return Process(name, argv, folder / f"{name}.log").start()

    def tool(self, verb, *flags, **options):
        """What guildbus-bench says."""
        argv = [self.tool_path, verb, *flags]
        for name, value in options.items():
            argv += [f"--{name}", str(value)]
        done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=self.patience_s)
        if done.returncode:
            raise StartError(done.stderr.strip())
        return json.loads(done.stdout)

    def interleave(self, runs, times=3):
        """{name: [figures, …]}, one of each in turn, so that a noisy minute meets everybody."""
        found = {name: [] for name in runs}
        repeats = self.args.repeats or self.size(times, 1)
        for n in range(repeats):
            for name, run in runs.items():
                say(f"  {name} ({n + 1} of {repeats})")
                found[name].append(run())
        return found


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def median(figures):
    """Of each number that all these dicts have; of the first, what is no number."""
    first = figures[0]
    if isinstance(first, dict):
        return {k: median([f[k] for f in figures]) for k in first if all(k in f for f in figures)}
    return statistics.median(figures) if isinstance(first, (int, float)) else first


def judge(scenario, medians):
    """{name: {"target", "measured", "met"}}"""
    found = {}
    for name, (target, measured, way) in scenario.targets(medians).items():
        met = measured >= target if way == ">=" else measured <= target
        found[name] = {"target": round(target, 3), "way": way, "measured": round(measured, 3), "met": met}
    return found


def run_all(bench, result):
    for name in bench.args.scenario or SCENARIOS:
        scenario = importlib.import_module(f"scenarios.{name}")
        say(name)
        raw = scenario.run(bench)
        medians = {who: median(figures) for who, figures in raw.items()}
        result["scenarios"][name] = {"what": scenario.__doc__.strip(), "raw": raw, "median": medians}
        floors = result["scenarios"].get("floors", {}).get("median", {})
        result["targets"].update(judge(scenario, {**medians, "floors": floors}))


def main():
    args = arguments()
    run_dir = pathlib.Path(tempfile.mkdtemp(prefix="guildbus-bench-"))
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    result = {"targets": {}, "date": time.strftime("%Y-%m-%d"), "commit": commit.stdout.strip(), "machine": machine(),
              "command": "./dev bench " + " ".join(sys.argv[1:]), "scenarios": {}}
    try:
        folder = peers.install(ROOT / "build/peers") if args.peers else None
        bench = Bench(args, run_dir, folder)
        run_all(bench, result)
    except (StartError, peers.NoPeers) as e:
        print(f"./dev bench: {e}\nlogs: {run_dir}", file=sys.stderr)
        return 1
    result["left_out"] = bench.left_out
    result["machine"]["load_after"] = round(os.getloadavg()[0], 2)
    print(report.as_text(result))
    if args.json:
        pathlib.Path(args.json).parent.mkdir(parents=True, exist_ok=True)
        pathlib.Path(args.json).write_text(json.dumps(result, indent=1) + "\n")
    if args.report:
        report.write(result, pathlib.Path(args.report))
    print(json.dumps({k: result[k] for k in ("targets", "date", "commit", "machine")}))
    shutil.rmtree(run_dir, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

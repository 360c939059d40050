#!/usr/bin/env python3
"""bench.py - ./dev bench: what this build does on this machine, end to end.

events:        the simulator sends as fast as it is taken ─▶ gateway ─▶ JetStream ─▶ owner ─▶ SQLite + log; until all
               are applied
interactions:  a fixed number in flight, signed ─▶ edge ─▶ owner ─▶ answered

Everything runs on this one machine, the simulator and NATS too, so the figures compare builds, not machines.
"""
import argparse
import json
import os
import pathlib
import platform
import shutil
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests/smoke"))
from cluster import ROOT, Cluster, Options, StartError  # noqa: E402
from portal import save_settings  # noqa: E402
from traffic import start_traffic, stored_events, traffic_report, wait_for_traffic, wait_until_applied  # noqa: E402


def arguments():
    p = argparse.ArgumentParser(prog="./dev bench", description=__doc__.splitlines()[0])
    p.add_argument("--guilds", type=int, default=100, metavar="N")
    p.add_argument("--pods", type=int, default=2, metavar="N")
    p.add_argument("--events", type=int, default=50000, metavar="N")
    p.add_argument("--interactions", type=int, default=10000, metavar="N")
    p.add_argument("--in-flight", type=int, default=32, metavar="N", help="interactions under way at a time (32)")
    p.add_argument("--json", action="store_true", help="print only the JSON line")
    return p.parse_args()


def machine():
    model = "unknown"
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {"cpu": model, "cores": len(os.sched_getaffinity(0)), "kernel": platform.release(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)}


def bench_events(cluster, count):
    before = sum(stored_events(cluster).values())
    start = time.monotonic()
    start_traffic(cluster, {"events": count, "events_per_s": 0})
    wait_for_traffic(cluster)
    sent_s = time.monotonic() - start
    if not wait_until_applied(cluster):
        raise StartError("not every stored event was applied: the figure would be wrong")
    took = time.monotonic() - start
    events = sum(stored_events(cluster).values()) - before
    return {"events": events, "seconds": round(took, 3), "events_per_s": round(events / took),
            "sent_per_s": round(events / sent_s)}


def bench_interactions(cluster, count, in_flight):
    start = time.monotonic()
    start_traffic(cluster, {"interactions": count, "interactions_per_s": 0, "interactions_in_flight": in_flight})
    wait_for_traffic(cluster)
    took = time.monotonic() - start
    told = traffic_report(cluster)
    return {"interactions": told["answered"], "failed": told["failed"], "in_flight": in_flight,
            "seconds": round(took, 3), "interactions_per_s": round(told["answered"] / took),
            "p50_ms": told["p50_ms"], "p99_ms": told["p99_ms"]}


def show(result):
    m, e, i = result["machine"], result["events"], result["interactions"]
    print(f"on {m['cores']} cores of {m['cpu']}, {m['memory_gib']} GiB, everything on this machine, "
          f"{result['pods']} pods, {result['guilds']} guilds")
    print(f"  events        {e['events_per_s']:>8} /s applied   ({e['events']} in {e['seconds']} s)")
    print(f"  interactions  {i['interactions_per_s']:>8} /s answered  ({i['interactions']} in {i['seconds']} s, "
          f"{i['in_flight']} in flight, p50 {i['p50_ms']} ms, p99 {i['p99_ms']} ms, {i['failed']} failed)")


def main():
    args = arguments()
    run_dir = pathlib.Path(tempfile.mkdtemp(prefix="guildbus-bench-"))
    options = Options(run_dir=run_dir, bin_dir=ROOT / "build/release/bin", guilds=args.guilds, gateways=args.pods)
    try:
        with Cluster(options) as cluster:
            cluster.start()
            cluster.wait_until_owned()
            save_settings(cluster)  # guilds that are not set up refuse a report with little work
            result = {"machine": machine(), "guilds": args.guilds, "pods": args.pods,
                      "events": bench_events(cluster, args.events),
                      "interactions": bench_interactions(cluster, args.interactions, args.in_flight)}
    except StartError as e:
        print(f"./dev bench: {e}\nlogs: {run_dir}", file=sys.stderr)
        return 1
    if not args.json:
        show(result)
    print(json.dumps(result))
    shutil.rmtree(run_dir, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

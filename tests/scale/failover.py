#!/usr/bin/env python3
"""failover.py - two pods share many guilds; one is killed and its disk deleted: when is every guild served again?

    start, guilds, events ─▶ all applied ─▶ kill -9, disk gone ─▶ the survivor serves all ─▶ exactly once ─▶ figures

Nobody helps. "Served" is a guild that answers a portal request over NATS; the curve in between is the survivor's own
count. Memory is resident (VmRSS; in brackets its peak), CPU is user and system time between the kill and the end.

usage: ./dev scale failover [--guilds N] [--events N] [--standbys N] [--postgres] [--rate N] [--json]
"""
import argparse
import json
import pathlib
import shutil
import signal
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "smoke"), str(HERE.parent / "flow")]
from cluster import ROOT, Cluster, Options, StartError  # noqa: E402
from compare import compare, read_owners, read_record  # noqa: E402
from lost_pod import kill_with_disk, lease_s, wait_served  # noqa: E402
from processes import http_json, wait_for  # noqa: E402
import traffic  # noqa: E402
from traffic import record, start_traffic, stored_events, wait_for_traffic, wait_until_applied  # noqa: E402
from usage import cpu_s, memory_kib  # noqa: E402

LIMIT_S = 900
GUILDS_A_SHARD = 1000  # Discord takes no more than 2,500
SHARES = (0.01, 0.25, 0.5, 0.75, 0.9, 0.99, 1)
traffic.QUIET_S = 75  # a lost last event is looked for each 30 s


def arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--guilds", type=int, default=10000, metavar="N")
    p.add_argument("--events", type=int, default=10, metavar="N", help="events of a guild before the kill (10)")
    p.add_argument("--pace", type=int, default=3000, metavar="N", help="these, a second (3000); 0: as fast as it goes")
    p.add_argument("--rate", type=int, default=0, metavar="N", help="events/s that go on all the while (0)")
    p.add_argument("--standbys", type=int, default=-1, metavar="N", help="GUILDBUS_STANDBYS (its default)")
    p.add_argument("--postgres", action="store_true", help="the coordinator's tables in a PostgreSQL of its own")
    p.add_argument("--json", action="store_true", help="the figures as one JSON line at the end")
    p.add_argument("--keep", action="store_true", help="keep logs and databases")
    p.add_argument("--bin", default=str(ROOT / "build/release/bin"), help="the programs (build/release/bin)")
    return p.parse_args()


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


# ---- what processes need ----

def megabytes(process, peak=False):
    return round(memory_kib(process.pid, peak) / 1024, 1)


def needs(cluster):
    """{process: (MB, peak MB, CPU s)} of those that run; PostgreSQL's many are left out."""
    return {name: (megabytes(p), megabytes(p, peak=True), cpu_s(p.pid)) for name, p in cluster.processes.items()
            if p.is_alive() and name != "postgres"}


# ---- who serves ----

def follow(cluster, pod, all_guilds, lost, began):
    """{share of the lost guilds: seconds} until the survivor owns all guilds, by its own count."""
    reached, before = {}, all_guilds - lost

    def owns():
        gained = cluster.metrics(pod).get("guildbus_guilds_owned", 0) - before
        for share in SHARES:
            if gained >= max(1, share * lost):
                reached.setdefault(share, round(time.monotonic() - began, 2))
        return gained >= lost
    wait_for(f"{pod} owns {lost} more guilds", owns, LIMIT_S, [cluster.processes[pod]], interval_s=0.02)
    return reached


# ---- the run ----

def prepare(cluster, args):
    began = time.monotonic()
    cluster.start()
    cluster.wait_until_owned(LIMIT_S)
    owned_s = time.monotonic() - began
    say(f"{args.guilds} guilds are owned after {owned_s:.1f} s")
    start_traffic(cluster, {"events": args.guilds * args.events, "events_per_s": args.pace, "interactions": 0})
    wait_for_traffic(cluster)
    if not wait_until_applied(cluster, say):
        raise StartError("not every event was applied before anything was broken")
    say(f"{args.guilds * args.events} events are applied")
    return owned_s


def lose(cluster, args):
    """Figures of the failover."""
    if args.rate:
        start_traffic(cluster, {"events": 100_000_000, "events_per_s": args.rate, "interactions": 0})
    owners = cluster.assignments()
    victim, survivor = cluster.pods[0], cluster.pods[1]
    lost = [g for g, pod in owners.items() if pod == victim]
    before = needs(cluster)
    say(f"killing {victim}, which owns {len(lost)} of {len(owners)} guilds, and deleting its disk")
    began = kill_with_disk(cluster, victim)
    curve = follow(cluster, survivor, len(owners), len(lost), began)
    say(f"owned again: { {f'{share:.0%}': s for share, s in curve.items()} } s after the kill")
    answered = max(wait_served(cluster, owners, [survivor], LIMIT_S).values()) - began
    say(f"each of {len(owners)} guilds has answered from {survivor} by {answered:.1f} s")
    after = needs(cluster)
    return {"guilds": len(owners), "lost": len(lost), "first_s": curve[SHARES[0]], "last_s": curve[1],
            "curve_s": {str(share): s for share, s in curve.items()}, "all_answered_s": round(answered, 1),
            "lease_s": lease_s(cluster), "processes": {name: {"before_mb": before[name][0], "after_mb": now[0], "peak_mb": now[1],
                                               "cpu_s": round(now[2] - before[name][2], 1)}
                                        for name, now in after.items()}}


def settle(cluster, args):
    """Traffic ends; what was sent against what the survivor holds."""
    if args.rate:
        http_json("POST", cluster.sim_admin + "/traffic/stop", {})
        wait_for_traffic(cluster)
    if not wait_until_applied(cluster, say):
        say("not everything stored was applied")
    total, notes = compare(read_record(record(cluster)), read_owners(cluster.assignments(), cluster.data_dir),
                           stored_events(cluster))
    for note in notes:
        say(note)
    return total


def table(figures):
    yield (f"{figures['lost']} of {figures['guilds']} guilds lost their pod and its disk: the first hundredth was "
           f"served again after {figures['first_s']} s, the last after {figures['last_s']} s "
           f"(the lease is {figures['lease_s']} s of it)")
    yield ""
    yield "| process | memory before | after | peak | CPU of the failover |"
    yield "|---|---|---|---|---|"
    for name, p in figures["processes"].items():
        yield f"| {name} | {p['before_mb']} MB | {p['after_mb']} MB | {p['peak_mb']} MB | {p['cpu_s']} s |"


def main():
    args = arguments()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="guildbus-scale-"))
    env = {"guildbus-coordinator": {"GUILDBUS_STANDBYS": args.standbys}} if args.standbys >= 0 else {}
    cluster = Cluster(Options(run_dir=folder, bin_dir=pathlib.Path(args.bin), guilds=args.guilds, members=4,
                              shards=max(2, -(-args.guilds // GUILDS_A_SHARD)),
                              gateways=2, capacity=args.guilds * 2, postgres=args.postgres, extra_env=env))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        owned_s = prepare(cluster, args)
        figures = lose(cluster, args)
        total = settle(cluster, args)
        figures.update({"owned_s": round(owned_s, 1), "events": total})
        print("\n".join(table(figures)), flush=True)
        if args.json:
            print(json.dumps(figures), flush=True)
        good = not total["lost"] and not total["duplicated"]
    finally:
        cluster.stop()
        cluster.kill()
        if not args.keep:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            say(f"logs and databases: {folder}")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()

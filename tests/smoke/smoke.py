#!/usr/bin/env python3
"""smoke.py - ./dev smoke: a whole cluster under traffic while its guilds move; nothing may be lost or doubled.

    start ─▶ settings ─▶ events + signed interactions, guilds moving all the while ─▶ all applied ─▶ portal
          ─▶ clean stop ─▶ the simulator's record against the owners' databases ─▶ one JSON line
"""
import argparse
import json
import pathlib
import shutil
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from cluster import ROOT, Cluster, Options, StartError  # noqa: E402
from compare import compare, doubled_threads, read_owners, read_record  # noqa: E402
from movers import Movers  # noqa: E402
from portal import check_portal, save_settings  # noqa: E402
from traffic import (deferred_events, record, start_traffic, stored_events, traffic_report,  # noqa: E402
                     wait_for_traffic, wait_until_applied)

WITNESSES = ("sim", "nats", "postgres")  # asked when nobody works any more
LEAST_S, EVENTS_PER_S = 20, 1500  # traffic lasts long enough for the moves to be spread over it


def arguments():
    p = argparse.ArgumentParser(prog="./dev smoke", description=__doc__.splitlines()[0])
    p.add_argument("--guilds", type=int, default=20, metavar="N")
    p.add_argument("--events", type=int, default=10000, metavar="N")
    p.add_argument("--interactions", type=int, default=0, metavar="N", help="events / 50 unless given")
    p.add_argument("--moves", type=int, default=50, metavar="N", help="handoffs at least (50)")
    p.add_argument("--postgres", action="store_true", help="the coordinator's tables in a PostgreSQL of its own")
    p.add_argument("--json", action="store_true", help="print only the last line")
    p.add_argument("--keep", action="store_true", help="keep the folder with logs and databases")
    p.add_argument("--bin", default=str(ROOT / "build/release/bin"), help="the programs (build/release/bin)")
    args = p.parse_args()
    args.interactions = args.interactions or max(20, args.events // 50)
    return args


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def traffic_of(args):
    seconds = max(LEAST_S, args.events / EVENTS_PER_S)
    say(f"traffic: {args.events} events, {args.interactions} interactions in about {seconds:.0f} s")
    return {"events": args.events, "interactions": args.interactions,
            "events_per_s": max(1, int(args.events / seconds)),
            "interactions_per_s": max(1, int(args.interactions / seconds)), "interactions_in_flight": 16}


def run(cluster, args):
    """The movers and the portal's verdict; everything still runs."""
    cluster.start()
    cluster.wait_until_owned()
    say(f"{args.guilds} guilds are owned")
    guilds = sorted(cluster.assignments())
    save_settings(cluster)
    movers = Movers(cluster, guilds, args.moves)
    start_traffic(cluster, traffic_of(args))
    movers.start()
    try:
        wait_for_traffic(cluster, lambda state: say(f"{movers.done} handoffs, traffic: {state}"))
    finally:
        movers.stop()
    for failure in movers.failures:
        say(f"a handoff failed: {failure}")
    say("every stored event is applied" if wait_until_applied(cluster, say) else "not every stored event was applied")
    portal = check_portal(cluster)
    say("the portal answers as it should" if portal["ok"] else f"the portal: {portal['why']}")
    return movers, portal


def nats_violations(cluster):
    """What the programs say NATS did not allow them."""
    names = [*cluster.coordinator_names, *cluster.pods, *cluster.edge_names]
    return sum(int(cluster.metrics(name)["guildbus_nats_permission_violations_total"]) for name in names)


def verdict(cluster, args):
    movers, portal = run(cluster, args)
    violations = nats_violations(cluster)
    say("stopping everything")
    clean = cluster.stop(but=WITNESSES)
    lines, report, stored = record(cluster), traffic_report(cluster), stored_events(cluster)
    sent = read_record(lines)
    deferred = deferred_events(cluster, sent)
    (cluster.run_dir / "record.ndjson").write_text("\n".join(lines))
    clean = cluster.stop(but=("postgres",)) and clean
    if not clean:
        say(f"had to be killed: {', '.join(cluster.killed)}")
    # Stopping pods hand their guilds over, so who owns what is asked afterwards.
    held = read_owners(cluster.stored_owners(), cluster.data_dir)
    events, notes = compare(sent, held, stored, deferred)
    report["doubled"] = doubled_threads(sent, held)
    for note in notes:
        say(note)
    result = {"events": events, "interactions": report, "handoffs": movers.verdict(),
              "portal": {"ok": portal["ok"]}, "nats_violations": violations}
    refused = cluster.nats_refusals()
    for line in refused:
        say(line)
    good = (clean and not refused and not violations
            and not events["lost"] and not events["duplicated"] and not report["failed"] and not report["doubled"]
            and report["answered"] == report["sent"]
            and not result["handoffs"]["failed"] and result["handoffs"]["done"] >= args.moves and portal["ok"]
            and events["sent"] >= args.events)
    return good, result


def main():
    global say
    args = arguments()
    if args.json:
        def say(text):
            del text
    run_dir = pathlib.Path(tempfile.mkdtemp(prefix="guildbus-smoke-"))
    run_dir.chmod(0o711)  # PostgreSQL's user must get through
    cluster = Cluster(Options(run_dir=run_dir, bin_dir=pathlib.Path(args.bin), guilds=args.guilds,
                              postgres=args.postgres), say=lambda text: say(text))
    good = False
    try:
        good, result = verdict(cluster, args)
        print(json.dumps(result), flush=True)
    except (StartError, OSError, KeyError) as e:
        print(f"./dev smoke: {e!r}" if not isinstance(e, StartError) else f"./dev smoke: {e}", file=sys.stderr)
    finally:
        cluster.stop()
        if args.keep or not good:
            print(f"logs and databases: {run_dir}", file=sys.stderr)
        else:
            shutil.rmtree(run_dir, ignore_errors=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

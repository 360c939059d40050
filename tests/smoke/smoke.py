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
from compare import compare, read_owners, read_record  # noqa: E402
from movers import Movers  # noqa: E402
from nats_client import NatsClient  # noqa: E402
from portal import check_portal, save_settings  # noqa: E402
from processes import http_json, http_request, wait_for  # noqa: E402

LEAST_S, EVENTS_PER_S = 20, 1500  # traffic lasts long enough for the moves to be spread over it
QUIET_S = 20                      # so long without progress means that it will not come


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


def start_traffic(cluster, args):
    seconds = max(LEAST_S, args.events / EVENTS_PER_S)
    want = {"events": args.events, "interactions": args.interactions,
            "events_per_s": max(1, int(args.events / seconds)),
            "interactions_per_s": max(1, int(args.interactions / seconds)), "interactions_in_flight": 16}
    status, answer = http_json("POST", cluster.sim_admin + "/traffic", want)
    if status not in (200, 202):
        raise StartError(f"the simulator refused the traffic: {status} {answer}")
    say(f"traffic: {args.events} events, {args.interactions} interactions in about {seconds:.0f} s")


def wait_for_traffic(cluster, movers):
    told = 0

    def over():
        nonlocal told
        state = http_json("GET", cluster.sim_admin + "/traffic")[1]
        if time.monotonic() - told > 5:
            told = time.monotonic()
            say(f"sent {state['events_sent']} events, {state['interactions_answered']} interactions answered, "
                f"{movers.done} handoffs")
        return not state["running"]
    wait_for("the traffic is over", over, 3600, cluster.processes.values(), 0.2)


def stored_events(cluster):
    """{guild: messages in EVENTS}"""
    with NatsClient(cluster.nats_url) as nats:
        counts = nats.subject_counts("EVENTS", "event.>")
    return {int(subject.rsplit(".", 1)[1]): n for subject, n in counts.items()}


def wait_until_applied(cluster):
    """Until every stored event is applied, or nothing has moved for a while: the comparison will tell then."""
    last, since = None, time.monotonic()
    while time.monotonic() - since < QUIET_S:
        stored = stored_events(cluster)
        held = read_owners(cluster.assignments(), cluster.data_dir)
        applied = {guild: h.applied for guild, h in held.items()}
        if all(applied.get(guild, 0) >= n for guild, n in stored.items()):
            say("every stored event is applied")
            return
        if (stored, applied) != last:
            last, since = (stored, applied), time.monotonic()
        time.sleep(0.2)
    say(f"no progress for {QUIET_S} s though not all is applied")


def interactions_verdict(report):
    i = report["interactions"]
    return {"sent": i["sent"], "answered": i["answered"], "failed": i["failed"], "p50_ms": i["p50_ms"],
            "p99_ms": i["p99_ms"]}


def run(cluster, args):
    cluster.start()
    cluster.wait_until_owned()
    say(f"{args.guilds} guilds are owned")
    guilds = sorted(cluster.assignments())
    save_settings(cluster, guilds[0])
    movers = Movers(cluster, guilds, args.moves)
    start_traffic(cluster, args)
    movers.start()
    try:
        wait_for_traffic(cluster, movers)
    finally:
        movers.stop()
    wait_until_applied(cluster)
    portal = check_portal(cluster, guilds)
    say("the portal answers as it should" if portal["ok"] else f"the portal: {portal['why']}")
    stored, owners = stored_events(cluster), cluster.assignments()
    report = http_json("GET", cluster.sim_admin + "/report")[1]
    record = http_request("GET", cluster.sim_admin + "/record", timeout_s=120)[2].splitlines()
    (cluster.run_dir / "record.ndjson").write_text("\n".join(record))
    return movers, portal, stored, owners, report, record


def final_owners(cluster, owners):
    """Stopping pods hand their guilds over, so the owners are read again from the coordinator's memory."""
    path = cluster.data_dir("coordinator") / "coordinator.sqlite3"
    if not path.exists():
        return owners
    import sqlite3
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    rows = db.execute("SELECT guild_id, pod_id FROM guild_assignments WHERE pod_id IS NOT NULL").fetchall()
    db.close()
    return dict(rows)


def verdict(cluster, args):
    movers, portal, stored, owners, report, record = run(cluster, args)
    say("stopping everything")
    clean = cluster.stop()
    if not clean:
        say(f"had to be killed: {', '.join(cluster.killed)}")
    held = read_owners(final_owners(cluster, owners), cluster.data_dir)
    events, notes = compare(read_record(record), held, stored)
    for note in notes:
        say(note)
    result = {"events": events, "interactions": interactions_verdict(report), "handoffs": movers.verdict(),
              "portal": {"ok": portal["ok"]}}
    good = (clean and not events["lost"] and not events["duplicated"] and not result["interactions"]["failed"]
            and result["interactions"]["answered"] == result["interactions"]["sent"]
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

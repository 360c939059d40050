#!/usr/bin/env python3
"""PostgreSQL is away, then hangs, then the coordinator is away: traffic goes on, and all come back without help.

Each is away for longer than a lease (--for SECONDS). All the while events are applied, interactions are answered by the
guilds' owners and pages are read. Afterwards every guild is still where it was, at the same epoch, and can be moved.
"""
import contextlib
import os
import signal
import time

from flow import (LIMIT_S, answers, expect, expect_exactly_once, guilds_of, http_json, run, say, sim, start_traffic,
                  wait_for, wait_for_traffic)
from test_coordinator_restart import Visitor, states, wait_for_moves

GUILDS = 20
ENDS = {"answered", "deferred", "error", "failed"}


def interactions(cluster):
    """How the edge ended them so far."""
    values = cluster.metrics("edge")
    return {o: int(values.get(f'guildbus_edge_interactions_total{{outcome="{o}"}}', 0)) for o in sorted(ENDS)}


def applied(cluster):
    """Events that the gateways have applied."""
    return sum(cluster.metrics(pod).get("guildbus_events_applied_total", 0) for pod in cluster.pods)


def placement(cluster):
    """{guild: (pod, epoch)}"""
    rows = http_json("GET", cluster.coordinator_url + "/guild-assignments?limit=1000")[1]["assignments"]
    return {row["guild_id"]: (row["pod_id"], row["epoch"]) for row in rows}


def done_so_far(cluster, visitor):
    visitor.check()
    return {"events": applied(cluster), "rounds": visitor.rounds, **interactions(cluster)}


def lives(cluster, visitor, seconds):
    """What was done for so long, and until a little more of everything is done after that."""
    first, end = done_so_far(cluster, visitor), time.monotonic() + seconds
    while True:
        seen, is_last = done_so_far(cluster, visitor), time.monotonic() >= end

        def moved_on():
            now = done_so_far(cluster, visitor)
            return all(now[k] >= seen[k] + more for k, more in (("events", 100), ("rounds", 1), ("answered", 5)))
        wait_for("events are applied, pages read and interactions answered", moved_on, LIMIT_S)
        if is_last:
            break
    last = done_so_far(cluster, visitor)
    done = {k: int(last[k] - first[k]) for k in first}
    expect(not done["failed"] and not done["error"], f"interactions failed: {done}")
    return done


def move_some(cluster):
    """A few guilds to the other pod and back."""
    for _ in range(2):
        moves = {}
        for guild, (pod, _) in sorted(placement(cluster).items())[:5]:
            status, answer = cluster.reassign(guild, next(p for p in cluster.pods if p != pod))
            expect(status == 202, f"POST /reassign-guild of {guild}: {status} {answer}")
            moves[int(answer["move_id"])] = guild
        ended = wait_for_moves(cluster, moves)
        expect(ended["done"] == len(moves), f"guilds cannot be moved: {ended}, {states(cluster)}")


def signal_family(process, number):
    """PostgreSQL is one process a connection."""
    with open(f"/proc/{process.pid}/task/{process.pid}/children") as f:
        children = map(int, f.read().split())
    for pid in [process.pid, *children]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def absence(flow, cluster, visitor, what, leave, come_back):
    before, seconds = placement(cluster), flow.args.away
    repeats = visitor.repeats
    say(f"{what} for {seconds} s")
    leave()
    done = lives(cluster, visitor, seconds)
    came = time.monotonic()
    come_back()
    wait_for("the coordinator leads and every pod is active",
             lambda: is_well(cluster), LIMIT_S, [cluster.processes["coordinator"]])
    took = time.monotonic() - came
    lives(cluster, visitor, 6)  # longer than a lease: whoever is given up is given up by now
    after = placement(cluster)
    changed = {g: (before[g], after.get(g)) for g in before if before[g] != after.get(g)}
    expect(not changed, f"guilds changed hands although every pod lived: {changed}")
    move_some(cluster)
    print(f"| {what} | {seconds} s | {done['events']} | {done['answered']} | {done['deferred']} | "
          f"{done['failed'] + done['error']} | {done['rounds'] * GUILDS} ({visitor.repeats - repeats} repeated) | "
          f"{took:.1f} s | {len(changed)} |", flush=True)


def is_well(cluster):
    try:
        pods = http_json("GET", cluster.coordinator_url + "/pod-health", timeout_s=3)[1]["pods"]
    except (OSError, TypeError, KeyError):
        return False
    active = sorted(p["pod_id"] for p in pods if p["status"] == "active")
    return bool(cluster.status().get("leader")) and active == cluster.pods


def body(flow):
    cluster = flow.cluster(guilds=GUILDS, shards=2, gateways=2, postgres=True)
    visitor = Visitor(cluster.nats_url, [g["id"] for g in guilds_of(cluster)], pause_s=0.2)
    visitor.start()
    start_traffic(cluster, {"events": 10_000_000, "events_per_s": 150, "interactions": 1_000_000,
                            "interactions_per_s": 10})
    postgres, coordinator = cluster.processes["postgres"], cluster.processes["coordinator"]
    print("| away | for | events applied | interactions answered | deferred | failed | reads | well again after | "
          "guilds that changed hands |\n|---|---|---|---|---|---|---|---|---|", flush=True)

    def stop_postgres():
        expect(postgres.stop(signal.SIGINT), "PostgreSQL does not stop")

    def start_postgres():
        postgres.start()
        wait_for("PostgreSQL accepts connections",
                 lambda: "ready to accept connections" in postgres.log_text(), LIMIT_S, [postgres])

    def start_coordinator():
        flow.restart(coordinator)
        wait_for("the coordinator is ready", answers(cluster.admin_url("coordinator") + "/readyz"), LIMIT_S,
                 [coordinator])

    absence(flow, cluster, visitor, "PostgreSQL is stopped", stop_postgres, start_postgres)
    absence(flow, cluster, visitor, "PostgreSQL hangs", lambda: signal_family(postgres, signal.SIGSTOP),
            lambda: signal_family(postgres, signal.SIGCONT))
    absence(flow, cluster, visitor, "the coordinator is killed", lambda: flow.kill(coordinator), start_coordinator)

    sim(cluster, "/traffic/stop", {})
    wait_for_traffic(cluster)
    visitor.end()
    expect_exactly_once(cluster)
    told = http_json("GET", cluster.sim_admin + "/report")[1]["interactions"]
    expect(told["failed"] == 0 and told["deferred"] == told["completed"], f"interactions: {told}")


def options(parser):
    parser.add_argument("--for", dest="away", type=int, default=15, metavar="SECONDS",
                        help="how long each is away (15; more than the lease)")


if __name__ == "__main__":
    run(body, options)

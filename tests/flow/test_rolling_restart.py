#!/usr/bin/env python3
"""Every process is restarted one by one under traffic, and one pod of many guilds is drained: nobody notices.

Gateways, edges and coordinators end by SIGTERM and come back, as a rolling update does it. No interaction fails, no
shard is identified anew, every event is applied once. --guilds and --drained choose the size, --only one of the two
parts.
"""
from flow import Bus, expect, run, say, serving_pod
from rolling import (Traffic, ends_of, expect_nobody_was_told_to_try_again, held, owned, restart_coordinators,
                     restart_edges, restart_gateways, terminate)

GATEWAYS = 3


def roll(flow):
    cluster = flow.cluster(guilds=flow.args.guilds, shards=4, gateways=GATEWAYS, edges=2, coordinators=2,
                           postgres=True)
    traffic = Traffic(cluster)
    traffic.flows(200, 20)
    restart_gateways(cluster, traffic)
    told = restart_edges(cluster, traffic)
    restart_coordinators(cluster, traffic)
    told += [ends_of(cluster, name) for name in cluster.edge_names]
    traffic.end()
    expect_nobody_was_told_to_try_again(told)


def drain(flow):
    """The pod with the most guilds leaves."""
    guilds = flow.args.drained * 2
    cluster = flow.cluster(guilds=guilds, members=8, shards=2, gateways=2, capacity=guilds * 2,
                           postgres=flow.args.postgres, extra_env={"guildbus-gateway": {"DRAIN_MS": 300_000}})
    traffic = Traffic(cluster, events_per_s=600, interactions_per_s=60)
    traffic.flows(600, 60)
    counts = owned(cluster)
    pod = max(counts, key=counts.get)
    process = cluster.processes[pod]
    took = terminate(process)
    expect(not held(process, "drain_deadline"), f"{pod} left guilds behind:\n{process.tail()}")
    say(f"{pod} handed {counts[pod]} guilds over in {took:.1f} s, {counts[pod] / took:.0f}/s")
    other = next(p for p in cluster.pods if p != pod)
    expect(owned(cluster) == {pod: 0, other: guilds}, f"owners afterwards: {owned(cluster)}")
    traffic.flows(200, 20)
    with Bus(cluster.nats_url) as bus:
        for guild in cluster.assignments():
            expect(serving_pod(bus, guild) == other, f"guild {guild} is not served by {other}")
    told = [ends_of(cluster, "edge")]
    traffic.end()
    expect_nobody_was_told_to_try_again(told)
    forgive(flow, cluster)


def forgive(flow, cluster):
    """The gateway that was drained has ended already."""
    for p in cluster.processes.values():
        if not p.is_alive():
            flow.may_fail.add(p)


def body(flow):
    if flow.args.only in ("", "roll"):
        roll(flow)
    if flow.args.only in ("", "drain"):
        drain(flow)


def options(parser):
    parser.add_argument("--guilds", type=int, default=60, help="of the rolling restart (60)")
    parser.add_argument("--drained", type=int, default=150, help="guilds of the pod that is drained (150)")
    parser.add_argument("--postgres", action="store_true", help="the drain too with a PostgreSQL")
    parser.add_argument("--only", choices=("roll", "drain"), default="", help="one of the two parts")


if __name__ == "__main__":
    run(body, options)

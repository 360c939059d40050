#!/usr/bin/env python3
"""Guilds without an owner for long: their events wait in the stream, and whoever owns them next catches up with all.

The only pod is lost with its disk. A pod with a fixed list of one guild that does not exist holds the shards meanwhile
and publishes; thousands of events and some interactions come while nobody owns a guild. Then the first comes back.
"""
import shutil

from flow import (LIMIT_S, Bus, answers, expect, expect_exactly_once, free_port, guilds_of, http_json, run, say,
                  serving_pod, start_traffic, stored_events, wait_all_served, wait_for, wait_for_traffic)

GUILDS = 6
OWNER, HOLDER = "gw-1", "holder"
NO_GUILD = "1"


def hold_only(flow, cluster):
    """A pod that publishes and owns nothing."""
    admin, folder = free_port(), flow.folder / HOLDER
    folder.mkdir()
    env = {**cluster.processes[OWNER].env, "POD_ID": HOLDER, "DATA_DIR": folder, "ASSIGNED_GUILDS": NO_GUILD,
           "ADMIN_PORT": admin}
    holder = flow.spawn(HOLDER, ["guildbus-gateway"], env)
    wait_for(f"{HOLDER} is ready", answers(f"http://127.0.0.1:{admin}/readyz"), LIMIT_S, [holder])
    wait_for("both shards are live again",
             lambda: http_json("GET", cluster.sim_admin + "/gateway")[1]["counts"]["live"] == 2, LIMIT_S, [holder])
    return holder


def interactions(cluster):
    return http_json("GET", cluster.sim_admin + "/report")[1]["interactions"]


def body(flow):
    cluster = flow.cluster(guilds=GUILDS, shards=2, gateways=1)
    start_traffic(cluster, {"events": 600, "events_per_s": 300, "interactions": 0})
    wait_for_traffic(cluster)
    expect_exactly_once(cluster)
    before = sum(stored_events(cluster).values())

    say(f"{OWNER} is lost with its disk")
    flow.kill(cluster.processes[OWNER])
    shutil.rmtree(cluster.data_dir(OWNER))
    holder = hold_only(flow, cluster)
    start_traffic(cluster, {"events": flow.args.events, "events_per_s": 1500, "interactions": 12,
                            "interactions_per_s": 4})
    wait_for_traffic(cluster, 600)
    wait_for("the events are in the stream",
             lambda: sum(stored_events(cluster).values()) >= before + flow.args.events, LIMIT_S)
    with Bus(cluster.nats_url) as bus:
        served = {g["id"]: serving_pod(bus, g["id"]) for g in guilds_of(cluster)}
    expect(not any(served.values()), f"somebody serves guilds although nobody may own one: {served}")
    told = interactions(cluster)
    expect(told["deferred"] == told["sent"] == 12 and not told["completed"], f"interactions without an owner: {told}")
    say(f"{sum(stored_events(cluster).values()) - before} messages wait in the stream, nobody owns a guild")

    expect(holder.stop(), f"{HOLDER} does not end")
    flow.programs.remove(holder)
    cluster.start_gateway(OWNER)
    with Bus(cluster.nats_url) as bus:
        wait_all_served(cluster, bus, [OWNER])
    total = expect_exactly_once(cluster)
    expect(total["sent"] >= flow.args.events, f"too little was sent: {total}")
    wait_for("each deferred interaction is finished", lambda: interactions(cluster)["completed"] == 12, LIMIT_S)
    reads = cluster.metrics(OWNER)
    say(f"read singly or by the batch: {reads.get('guildbus_batch_reads_total')} batches, "
        f"{reads.get('guildbus_events_applied_total')} events applied")


def options(parser):
    parser.add_argument("--events", type=int, default=12000, help="that come while nobody owns a guild (12000)")


if __name__ == "__main__":
    run(body, options)

#!/usr/bin/env python3
"""NATS_REPLICAS: refused where a server breaks its word, added to streams that exist, waited for, never taken away."""
import json
import shutil

from flow import (LIMIT_S, Missing, Skipped, expect, expect_exactly_once, free_port, http_json, run, say, sim,
                  start_traffic, wait_for, wait_for_traffic)
from nats_cluster import LOWEST, NatsCluster, version_of

REFUSED = "can accept two writers of a replicated stream"


def coordinator(flow, name, url, replicas):
    """One that only looks after its streams."""
    folder = flow.folder / name
    folder.mkdir()
    return flow.spawn(name, ["guildbus-coordinator"], {"NATS_URL": url, "DATA_DIR": folder, "API_PORT": free_port(),
                                                       "ADMIN_PORT": free_port(), "NATS_REPLICAS": replicas})


def expect_refusal(flow, process, said):
    flow.expect_exit(process, 1)
    lines = [line for line in process.log_text().splitlines() if REFUSED in line]
    expect(lines and said in lines[-1] and "2.10.23 or newer" in lines[-1],
           f"{process.name} does not say why ({said}):\n{process.tail()}")
    say(f"refused: {lines[-1].split('text=')[-1]}")


def on_an_old_server(flow, command):
    _, url = flow.nats(name="old")
    expect_refusal(flow, coordinator(flow, "three-wanted", url, 3), "3 replicas need")
    # streams that somebody else replicated are as wrong as wanted ones
    cluster = NatsCluster(flow.folder / "old-cluster", command=command, say=say, auth=flow.nats_users())
    flow.programs += cluster.processes
    cluster.start()
    made = cluster.ask("$JS.API.STREAM.CREATE.EVENTS", json.dumps({
        "name": "EVENTS", "subjects": ["event.>"], "storage": "file", "retention": "limits", "num_replicas": 3,
        "republish": {"src": "event.>", "dest": "feed.>"}}).encode())
    expect(made.get("config", {}).get("num_replicas") == 3, f"no replicated stream on the old cluster: {made}")
    expect_refusal(flow, coordinator(flow, "one-wanted", cluster.urls, 1),
                   "3 replicas of the existing stream EVENTS need")


def counts(cluster):
    """The numbers of replicas that there are."""
    return {s["replicas"] for s in cluster.nats.streams().values()}


def restart_coordinator(flow, cluster, replicas):
    process = cluster.processes["coordinator"]
    expect(process.stop(), f"the coordinator does not stop:\n{process.tail()}")
    process.env["NATS_REPLICAS"] = str(replicas)
    process.start()
    wait_for("the coordinator leads", lambda: cluster.status().get("leader"), LIMIT_S, [process])
    return process


def wait_for_events(cluster, count):
    before = http_json("GET", cluster.sim_admin + "/traffic")[1]["events_sent"]
    wait_for(f"{count} more events", lambda: http_json("GET", cluster.sim_admin + "/traffic")[1]["events_sent"] >=
             before + count, LIMIT_S)


def on_a_cluster(flow):
    """One copy of each stream, then three, under traffic; back to one is only said."""
    cluster = flow.cluster(guilds=6, shards=1, gateways=2, nats_servers=3,
                           extra_env={"guildbus-coordinator": {"NATS_REPLICAS": 1}})
    expect(counts(cluster) == {1}, f"one copy was wanted: {cluster.nats.streams()}")
    start_traffic(cluster, {"events": 1_000_000, "events_per_s": 200, "interactions": 100_000, "interactions_per_s": 5})
    wait_for_events(cluster, 400)

    restart_coordinator(flow, cluster, 3)
    expect(counts(cluster) == {3}, f"three copies were wanted: {cluster.nats.streams()}")

    def all_current():
        return all(len(s["others"]) == 2 and all(s["others"].values()) for s in cluster.nats.streams().values())
    wait_for("every copy is complete", all_current, LIMIT_S)
    say("every stream has three complete copies")
    wait_for_events(cluster, 400)

    process = restart_coordinator(flow, cluster, 1)
    expect(counts(cluster) == {3}, f"copies were taken away: {cluster.nats.streams()}")
    expect("event=streams_have_more_replicas streams=20 wanted=1" in process.log_text(),
           f"the coordinator does not say so:\n{process.tail()}")

    sim(cluster, "/traffic/stop", {})
    wait_for_traffic(cluster)
    expect_exactly_once(cluster)


def with_a_server_away(flow):
    """Three copies need three servers when they are made. While a server that has just died still counts as one, NATS
    makes them all the same; else the coordinator says that it waits, and goes on when the third is back."""
    cluster = NatsCluster(flow.folder / "two-of-three", say=say, auth=flow.nats_users())
    flow.programs += cluster.processes
    cluster.start()
    flow.kill(cluster.processes[2])
    wait_for("the cluster has a leader without the third server", cluster.has_leader, LIMIT_S)
    process = coordinator(flow, "waits", cluster.urls, 3)
    waits = 'event=waiting for="JetStream streams"'
    wait_for("the coordinator says that it waits, or leads",
             lambda: waits in process.log_text() or "event=leading" in process.log_text(), LIMIT_S, [process])
    say(next(line for line in process.log_text().splitlines() if waits in line or "event=leading" in line)
        .split("event=")[1])
    flow.may_fail.discard(cluster.processes[2])
    cluster.restart(2)
    wait_for("the coordinator leads", lambda: "event=leading" in process.log_text(), LIMIT_S, [process])


def body(flow):
    installed = shutil.which("nats-server")
    version = version_of(installed) if installed else None
    if not version:
        raise Skipped("nats-server is not installed")
    if version < LOWEST:
        on_an_old_server(flow, installed)
    else:
        say(f"the installed nats-server is {version}: nothing here is to be refused")
    try:
        with_a_server_away(flow)
        on_a_cluster(flow)
    except Missing as e:
        raise Skipped(f"no cluster of NATS servers: {e}") from e


if __name__ == "__main__":
    run(body)

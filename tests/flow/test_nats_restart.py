#!/usr/bin/env python3
"""NATS is killed under traffic and comes back with its store: everything reconnects, nothing is lost or doubled."""
import re

from flow import (LIMIT_S, Bus, answers, expect, expect_exactly_once, guilds_of, http_json, interact, run, say, say_in,
                  start_traffic, wait_all_served, wait_for, wait_for_traffic)

PROGRAMS = ("coordinator", "gw-1", "gw-2", "edge")


def half_way(cluster):
    state = http_json("GET", cluster.sim_admin + "/traffic")[1]
    return state["events_sent"] > 500 and state["running"]


def outage(flow, cluster, long):
    """NATS is away: until everyone has noticed; a long one until the leases have run out."""
    programs = {name: cluster.processes[name] for name in PROGRAMS}
    since = {name: len(p.log_text()) for name, p in programs.items()}
    nats = cluster.processes["nats"]
    flow.kill(nats)

    def new_text(name):
        return programs[name].log_text()[since[name]:]
    for name, p in programs.items():
        wait_for(f"{name} notices", lambda: "nats_disconnected" in new_text(name), LIMIT_S, programs.values())
    for n, guild in enumerate(guilds_of(cluster)):
        for _ in range(10):
            say_in(cluster, guild, f"sent while NATS was away, {n}")
    done = interact(cluster, "modreport", guild, guild["moderator_id"], target=guild["member_ids"][0])
    expect(done["http"] == 200 and done["fate"] in ("answered", "deferred"), f"an interaction without NATS: {done}")
    if long:
        for name in cluster.pods:
            wait_for(f"the lease of {name} has run out",
                     lambda: re.search(r"lease_left_ms=-\d", new_text(name)), LIMIT_S, programs.values())
    flow.restart(nats)
    wait_for("NATS answers", answers(cluster.admin_url("nats") + "/healthz"), LIMIT_S, [nats])
    for name, p in programs.items():
        wait_for(f"{name} is connected again", lambda: "nats_reconnected" in new_text(name), LIMIT_S,
                 programs.values())
        wait_for(f"{name} is ready", answers(cluster.admin_url(name) + "/readyz"), LIMIT_S, programs.values())


def body(flow):
    cluster = flow.cluster(guilds=6, shards=2, gateways=2)
    for long in (False, True):
        start_traffic(cluster, {"events": 3000, "events_per_s": 400, "interactions": 0})
        wait_for("traffic flows", lambda: half_way(cluster), LIMIT_S)
        say("NATS is killed " + ("for longer than the leases" if long else "for a moment"))
        outage(flow, cluster, long)
        say("NATS is back")
        with Bus(cluster.nats_url) as bus:
            wait_all_served(cluster, bus)
        wait_for_traffic(cluster)
        expect_exactly_once(cluster)
    guild = guilds_of(cluster)[0]
    done = interact(cluster, "modreport", guild, guild["moderator_id"], target=guild["member_ids"][0])
    expect(done["fate"] == "answered", f"an interaction afterwards: {done}")


run(body)

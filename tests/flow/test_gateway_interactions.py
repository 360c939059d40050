#!/usr/bin/env python3
"""Without an endpoint interactions come over the gateway: the same answers, deferred when late, once when both ways."""
import os
import signal

from flow import (LIMIT_S, Bus, expect, expect_exactly_once, guilds_of, http_json, interact, run, say, say_in,
                  serving_pod, sim, start_traffic, wait_for, wait_for_traffic)
from test_failover import pod_row, report, reports_of, set_up

APPLICATION = "1000000000000000001"


def over_the_gateway(cluster):
    sim(cluster, "/interactions-url", {"url": None}, "PUT")


def holder_of(cluster, shard):
    def found():
        return next((pod for pod in cluster.pods if shard in pod_row(cluster, pod).get("shards", [])), None)
    return wait_for(f"shard {shard} is held", found, LIMIT_S)


def pause(cluster, pod):
    os.kill(cluster.processes[pod].popen.pid, signal.SIGSTOP)


def go_on(cluster, pod):
    os.kill(cluster.processes[pod].popen.pid, signal.SIGCONT)


def is_fate(cluster, interaction, fate):
    def look():
        now = sim(cluster, f"/interaction?id={interaction['id']}", None, "GET")
        return now["fate"] == fate and now
    return look


def all_kinds(cluster, bus, guild):
    """Commands, menus, autocomplete, components, direct messages."""
    set_up(cluster, guild)
    author, message = report(cluster, guild)
    wait_for("both reports are there", lambda: len(reports_of(bus, guild["id"], author)) == 2, LIMIT_S)
    done = interact(cluster, "modreport", guild, guild["moderator_id"], target=author)
    expect(done["fate"] == "answered" and done["by_gateway"] and done["http"] == 0, f"/modreport: {done}")
    done = interact(cluster, "autocomplete", guild, guild["moderator_id"], data={"name": "setup", "options": []})
    expect(done["fate"] == "answered" and done["callback"] == 8, f"autocomplete: {done}")
    done = interact(cluster, "component", guild, guild["moderator_id"], custom_id="no-such-button")
    expect(done["fate"] == "answered" and done["callback"] == 4, f"an unknown button: {done}")
    direct = sim(cluster, "/interaction", {"kind": "component", "user_id": guild["member_ids"][0], "custom_id": "x"})
    expect(direct["fate"] == "answered" and direct["guild_id"] is None, f"a direct message: {direct}")
    return author, message


def take_apart(cluster, bus, guild):
    """Another pod owns the guild than the one that holds its shard."""
    other = next(pod for pod in cluster.pods if pod != holder_of(cluster, guild["shard"]))
    if cluster.assignments()[int(guild["id"])] != other:
        status, answer = cluster.reassign(guild["id"], other)
        expect(status in (200, 202), f"reassign: {status} {answer}")
    wait_for(f"{other} owns the guild", lambda: serving_pod(bus, guild["id"]) == other, LIMIT_S)


def a_late_owner(cluster, guild):
    """The owner sleeps, the holder is awake: it defers, and the owner finishes it."""
    owner, holder = cluster.assignments()[int(guild["id"])], holder_of(cluster, guild["shard"])
    expect(owner != holder, f"{owner} owns the guild and holds its shard")
    message = say_in(cluster, guild, "cheap otters", guild["member_ids"][0])
    pause(cluster, owner)
    try:
        late = interact(cluster, "Track", guild, guild["moderator_id"], target=message)
        expect(late["fate"] == "deferred", f"the holder had to defer: {late}")
        expect(late["answered_us"] < 3_000_000, f"deferred too late: {late}")
    finally:
        go_on(cluster, owner)
    done = wait_for("the deferred interaction is finished", is_fate(cluster, late, "completed"), LIMIT_S)
    expect("racked" in str(done), f"finished with something else: {done}")


def a_late_holder(cluster, bus, guild):
    """The holder sleeps through the three seconds: the sender is told that it failed, so nothing may come of it."""
    holder = holder_of(cluster, guild["shard"])
    author = guild["member_ids"][2]
    message = say_in(cluster, guild, "more otters", author)
    pause(cluster, holder)
    try:
        lost = interact(cluster, "Track", guild, guild["moderator_id"], target=message)
        expect(lost["fate"] == "failed" and lost["reason"] == "timeout", f"nobody could answer: {lost}")
    finally:
        go_on(cluster, holder)

    line = f"event=interaction_late guild={guild['id']} interaction={lost['id']}"

    def refused():
        return line in cluster.processes[holder].log_path.read_text()
    wait_for("the late interaction is given up", refused, LIMIT_S)
    expect(reports_of(bus, guild["id"], author) == [], "an interaction that failed for its sender had an effect")


def both_ways(cluster, bus, guild):
    """The endpoint is back and the gateway brings the same interaction again: one effect, one answer."""
    author = guild["member_ids"][3]
    message = say_in(cluster, guild, "otters, again", author)
    first = interact(cluster, "Track", guild, guild["moderator_id"], target=message)
    expect(first["fate"] == "answered" and not first["by_gateway"], f"by the endpoint: {first}")
    before = wait_for("it is tracked", lambda: reports_of(bus, guild["id"], author), LIMIT_S)
    target = {"id": message, "channel_id": first["channel_id"], "content": "otters, again",
              "author": {"id": author, "username": "x"}}
    data = {"id": "1", "name": "Track", "type": 3, "target_id": message, "resolved": {"messages": {message: target}}}
    again = {"id": first["id"], "application_id": APPLICATION, "type": 2, "token": first["token"], "version": 1,
             "guild_id": guild["id"], "channel_id": first["channel_id"], "data": data,
             "member": {"permissions": str((1 << 53) - 1), "user": {"id": guild["moderator_id"], "username": "m"}}}
    sim(cluster, "/event", {"guild_id": guild["id"], "type": "INTERACTION_CREATE", "d": again})

    def written():
        now = sim(cluster, f"/interaction?id={first['id']}", None, "GET")
        return now["completions"] and now
    changed = wait_for("the second answer went into the first message", written, LIMIT_S)
    expect(changed["fate"] == "answered" and changed["says"] == first["says"], f"another answer: {changed}")
    expect(reports_of(bus, guild["id"], author) == before, "it had its effect twice")


def body(flow):
    cluster = flow.cluster(gateways=2, guilds=6, shards=2)
    hook = http_json("GET", cluster.sim_admin + "/state")[1]["interactions_url"]
    over_the_gateway(cluster)
    guilds = guilds_of(cluster)
    with Bus(cluster.nats_url) as bus:
        all_kinds(cluster, bus, guilds[0])
        say("all kinds are answered over the gateway")
        start_traffic(cluster, {"events": 2000, "events_per_s": 1000, "interactions": 200, "interactions_per_s": 100})
        wait_for_traffic(cluster)
        told = http_json("GET", cluster.sim_admin + "/report")[1]["interactions"]
        expect(told["failed"] == 0 and told["by_gateway"] >= 200, f"interactions over the gateway: {told}")
        say(f"{told['by_gateway']} by the gateway, p50 {told['p50_ms']} ms, p99 {told['p99_ms']} ms")
        apart = guilds[-1]
        take_apart(cluster, bus, apart)
        set_up(cluster, apart)
        a_late_owner(cluster, apart)
        say("a late owner's is deferred and finished")
        a_late_holder(cluster, bus, apart)
        say("one that its sender saw fail has no effect")
        sim(cluster, "/interactions-url", {"url": hook}, "PUT")
        both_ways(cluster, bus, apart)
    # Two were put into EVENTS by holders: Discord did not send those as events of a guild.
    expect_exactly_once(cluster)


if __name__ == "__main__":
    run(body)

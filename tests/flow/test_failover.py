#!/usr/bin/env python3
"""A gateway is killed and its disk is gone: the other pod serves its guilds, with every report and every event."""
import json
import re
import shutil
import subprocess

from flow import (LIMIT_S, Bus, ask, expect, expect_exactly_once, guilds_of, http_json, interact, run, say,
                  say_in, serving_pod, set_up, start_traffic, wait_all_served, wait_for, wait_for_traffic)


def report(cluster, guild):
    """One member reports another's message and a moderator tracks it: (author, message)"""
    author, reporter = guild["member_ids"][:2]
    message = say_in(cluster, guild, "buy cheap otters here", author)
    for kind, by in (("Report", reporter), ("Track", guild["moderator_id"])):
        done = interact(cluster, kind, guild, by, target=message)
        expect(done["fate"] in ("answered", "deferred"), f"{kind}: {done}")
    return author, message


def reports_of(bus, guild_id, user):
    answer = ask(bus, guild_id, {"reports": {"userId": user}})
    rows = answer["reports"].get("reports", []) if answer else []
    return sorted((r["messageId"], r["reason"]) for r in rows)


def modreport_text(cluster, guild, user):
    done = interact(cluster, "modreport", guild, guild["moderator_id"], target=user)
    expect(done["fate"] == "answered", f"/modreport: {done}")
    # the link to the user's thread comes when Discord has made the thread
    return re.sub(r"\\n\[Log\]\([^)]*\)", "", json.dumps(done["body"]["data"]))


def prepare(cluster, bus):
    """Reports in every guild: {guild id: (author, its rows, what /modreport says)}"""
    known = {}
    for guild in guilds_of(cluster):
        set_up(cluster, guild)
        author, message = report(cluster, guild)
        rows = wait_for(f"both reports of guild {guild['id']} are there",
                        lambda: len(found := reports_of(bus, guild["id"], author)) == 2 and found, LIMIT_S)
        expect(all(m == message for m, _ in rows), f"reports of another message: {rows}")
        known[guild["id"]] = (author, rows, modreport_text(cluster, guild, author))
    return known


def sessions(cluster):
    return http_json("GET", cluster.sim_admin + "/gateway")[1]


def choose_victim(cluster):
    """A pod that owns guilds and holds a shard, once the pods have told of all shards."""
    def holders():
        held = {pod: pod_row(cluster, pod).get("shards", []) for pod in cluster.pods}
        return sorted(s for shards in held.values() for s in shards) == [0, 1] and held
    held = wait_for("every shard is held", holders, LIMIT_S)
    owners = set(cluster.assignments().values())
    return next(pod for pod in cluster.pods if held[pod] and pod in owners)


def lose(flow, cluster, pod):
    """kill -9, and the disk with it."""
    flow.kill(cluster.processes[pod])
    shutil.rmtree(cluster.data_dir(pod))


def check_after(cluster, bus, known, victim, survivor):
    wait_all_served(cluster, bus, [survivor])
    for guild in guilds_of(cluster):
        author, rows, text = known[guild["id"]]
        expect(reports_of(bus, guild["id"], author) == rows, f"guild {guild['id']} lost reports: {rows} are due")
        now = modreport_text(cluster, guild, author)
        expect(now == text, f"/modreport of guild {guild['id']} changed:\n{text}\n{now}")
    owners = set(cluster.assignments().values())
    expect(owners == {survivor}, f"the coordinator still names {owners}, {victim} is gone")


def ctl(flow, cluster, *words):
    env = {"CONFIG_SERVICE_URL": cluster.coordinator_url,
           "COORDINATOR_TOKEN_FILE": str(cluster.secret_file("coordinator_token"))}
    done = subprocess.run([flow.program("guildbusctl"), *words], env=env, capture_output=True, text=True,
                          timeout=LIMIT_S)
    expect(done.returncode == 0, f"guildbusctl {words}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def pod_row(cluster, pod):
    rows = http_json("GET", cluster.coordinator_url + "/pod-health")[1]["pods"]
    return next((r for r in rows if r["pod_id"] == pod), {})


def come_back(flow, cluster, bus, victim, known):
    """The same POD_ID on an empty disk joins, and takes guilds back."""
    cluster.start_gateway(victim)
    process = cluster.processes[victim]
    wait_for(f"{victim} is active again", lambda: pod_row(cluster, victim).get("status") == "active", LIMIT_S,
             [process])
    back = sorted(known)[:3]
    for guild in back:
        ctl(flow, cluster, "reassign", guild, victim)
        expect(serving_pod(bus, guild) == victim, f"guild {guild} was moved to {victim}, another answers")
    for guild in guilds_of(cluster):
        if guild["id"] in back:
            author, rows, text = known[guild["id"]]
            expect(reports_of(bus, guild["id"], author) == rows, f"guild {guild['id']} lost reports on its way back")
            expect(modreport_text(cluster, guild, author) == text, f"/modreport of {guild['id']} changed on its way")


def body(flow):
    cluster = flow.cluster(guilds=8, shards=2, gateways=2)
    bus = Bus(cluster.nats_url)
    known = prepare(cluster, bus)
    owners = cluster.assignments()
    guilds = {g["id"]: g for g in guilds_of(cluster)}
    victim = choose_victim(cluster)
    survivor = next(p for p in cluster.pods if p != victim)
    theirs = [g for g, pod in owners.items() if pod == victim]
    counts = sessions(cluster)["counts"]

    start_traffic(cluster, {"events": 3000, "events_per_s": 400, "interactions": 0})
    say(f"killing {victim}, which owns {len(theirs)} guilds")
    lose(flow, cluster, victim)
    for guild in theirs:  # while nobody owns them
        for n in range(5):
            say_in(cluster, guilds[str(guild)], f"is anybody there? {n}")
    check_after(cluster, bus, known, victim, survivor)
    wait_for_traffic(cluster)
    expect_exactly_once(cluster)

    now = sessions(cluster)
    expect(now["counts"]["resumes"] > counts["resumes"], f"no session was resumed: {counts} then {now['counts']}")
    expect(now["counts"]["identifies"] == counts["identifies"], f"a shard was identified anew: {counts}, {now['counts']}")
    wait_for("the survivor holds all shards", lambda: sorted(pod_row(cluster, survivor).get("shards", [])) == [0, 1],
             LIMIT_S)
    say(f"{survivor} serves everything; starting {victim} again")

    come_back(flow, cluster, bus, victim, known)
    start_traffic(cluster, {"events": 500, "events_per_s": 500, "interactions": 0})
    wait_for_traffic(cluster)
    expect_exactly_once(cluster)
    bus.close()


if __name__ == "__main__":
    run(body)

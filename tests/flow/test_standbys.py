#!/usr/bin/env python3
"""Under traffic: standbys follow, take over when a pod dies with its disk, and the load comes back evenly.

The dead pod's guilds go to the pods that stood by for them and to no other; the pod that comes back with an empty
disk stands by again and, asked for, gets its part of the guilds; a drain over HTTP empties it and it stays empty.
"""
import collections
import json
import os
import shutil
import subprocess

from flow import (LIMIT_S, Bus, answers, expect, expect_exactly_once, guilds_of, http_json, run, say, start_traffic,
                  wait_all_served, wait_for, wait_for_traffic)

GUILDS, LEASE_MS = 60, 2000
DEAD = "gw-2"


def guildbusctl(flow, cluster, *args):
    """(exit code, its output)"""
    env = {"PATH": os.environ["PATH"], "CONFIG_SERVICE_URL": cluster.coordinator_url,
           "COORDINATOR_TOKEN_FILE": str(cluster.secret_file("coordinator_token"))}
    done = subprocess.run([flow.program("guildbusctl"), *args], capture_output=True, text=True, timeout=LIMIT_S, env=env)
    return done.returncode, done.stdout + done.stderr


def ctl_json(flow, cluster, *args):
    code, text = guildbusctl(flow, cluster, *args, "--json")
    expect(code == 0, f"guildbusctl {args}: {code} {text}")
    return json.loads(text)


def placement(cluster):
    """{guild: (owner, [standbys])}"""
    return {g: (pod, http_json("GET", f"{cluster.coordinator_url}/guild-assignments/{g}")[1]["standbys"])
            for g, pod in cluster.assignments().items()}


def all_told(cluster):
    """Every standby has confirmed that it follows."""
    return cluster.metrics("coordinator").get("guildbus_coordinator_standbys_untold") == 0


def followed(flow, cluster, pods):
    """How many guilds these pods say that they follow, by their next heartbeats."""
    counts = {}
    with Bus(cluster.nats_url) as bus:
        bus.subscribe("pod.*.heartbeat")
        while set(counts) < set(pods):
            body = bus.next(LIMIT_S).body
            done = subprocess.run([flow.program("guildbusctl"), "decode"], input=body, capture_output=True, check=True)
            beat = json.loads(done.stdout)["heartbeat"]
            counts[beat["pod"]] = beat.get("standbyCount", 0)
    return {pod: counts[pod] for pod in pods}


def each_has_a_standby(cluster, pods):
    """placement() once every guild has a living standby beside its owner and all have been told; else None."""
    now = placement(cluster)
    fine = all(owner in pods and len(standbys) == 1 and standbys[0] in pods and standbys[0] != owner
               for owner, standbys in now.values())
    return now if fine and len(now) >= GUILDS and all_told(cluster) else None


def wait_for_standbys(flow, cluster, pods):
    processes = [cluster.processes[p] for p in (*pods, "coordinator")]
    now = wait_for(f"each guild has a standby in {pods}", lambda: each_has_a_standby(cluster, pods), LIMIT_S, processes)
    wait_for("the pods say that they follow as many",
             lambda: sum(followed(flow, cluster, pods).values()) >= len(now), LIMIT_S, processes)
    return now


def kill_one(flow, cluster):
    """With its disk; where its guilds are then."""
    before = wait_for_standbys(flow, cluster, cluster.pods)
    spread = collections.Counter(standbys[0] for owner, standbys in before.values() if owner == DEAD)
    expect(len(spread) == len(cluster.pods) - 1, f"one pod's load is to land on all others: {spread}")
    flow.kill(cluster.processes[DEAD])
    shutil.rmtree(cluster.data_dir(DEAD))
    wait_for(f"{DEAD} owns nothing", lambda: DEAD not in cluster.assignments().values(), LIMIT_S)
    after = cluster.assignments()
    for guild, (owner, standbys) in before.items():
        expected = standbys[0] if owner == DEAD else owner
        expect(after[guild] == expected, f"guild {guild} of {owner}, standby {standbys}, went to {after[guild]}")
    with Bus(cluster.nats_url) as bus:
        wait_all_served(cluster, bus, set(cluster.pods) - {DEAD})
    say(f"{DEAD} was killed with {sum(spread.values())} guilds, all went to their standbys: {dict(spread)}")


def come_back(flow, cluster):
    process = cluster.processes[DEAD]
    cluster.data_dir(DEAD).mkdir()
    flow.restart(process)
    wait_for(f"{DEAD} is ready", answers(cluster.admin_url(DEAD) + "/readyz"), LIMIT_S, [process])
    wait_for_standbys(flow, cluster, cluster.pods)
    expect(DEAD not in cluster.assignments().values(), "guilds do not come back by themselves right away")


def rebalance(flow, cluster):
    dry = ctl_json(flow, cluster, "rebalance", "--dry-run", "--force", "--limit", "1000")
    say(f"dry run: {len(dry['moves'])} moves, from {dry['skew_before']} to {dry['skew_after']}")
    expect(all(m["target"] == DEAD and m["move_id"] is None for m in dry["moves"]), f"to the empty pod: {dry}")
    expect(DEAD not in cluster.assignments().values(), "a dry run moves nothing")
    done = ctl_json(flow, cluster, "rebalance", "--force", "--limit", "1000")
    # the load is measured: it may be a little different by now
    expect(abs(len(done["moves"]) - len(dry["moves"])) <= 5, f"{len(dry['moves'])} said, {len(done['moves'])} made")
    ids = {m["move_id"] for m in done["moves"]}

    def over():
        moves = http_json("GET", cluster.coordinator_url + "/moves?limit=1000")[1]["moves"]
        states = [m["state"] for m in moves if m["id"] in ids]
        expect(not {"failed", "aborted"} & set(states), f"moves that did not end well: {states}")
        return states.count("done") == len(ids)
    wait_for("the moves are done", over, LIMIT_S)
    # few busy guilds weigh as much as many others: it is the load that is to be even
    say(f"guilds a pod: {dict(collections.Counter(cluster.assignments().values()))}")
    expect(done["skew_before"]["least"] < 0.2 < 0.8 < done["skew_after"]["least"], f"the load is even: {done}")


def drain(flow, cluster):
    code, text = guildbusctl(flow, cluster, "drain", DEAD)
    expect(code == 0 and f"pod {DEAD} is empty" in text, f"drain: {code} {text}")
    say(text.strip())
    expect(DEAD not in cluster.assignments().values(), "it is empty")
    pod = next(p for p in http_json("GET", cluster.coordinator_url + "/pod-health")[1]["pods"] if p["pod_id"] == DEAD)
    expect(pod["status"] == "draining" and pod["drain_wished"] and not pod["shards"], f"a drained pod: {pod}")
    code, text = guildbusctl(flow, cluster, "undrain", DEAD)
    expect(code == 0 and "active" in text, f"undrain: {code} {text}")


def look_back(flow, cluster):
    """Each guild's history is a chain of owners whose epochs grow, and says why."""
    reasons = collections.Counter()
    for guild, pod in cluster.assignments().items():
        rows = ctl_json(flow, cluster, "history", str(guild), "--limit", "1000")["history"]
        epochs = [int(r["epoch"]) for r in reversed(rows)]
        expect(epochs == sorted(epochs), f"epochs of guild {guild}: {epochs}")
        expect(rows[0]["pod_id"] == pod and rows[-1]["what"] == "new", f"history of guild {guild}: {rows}")
        reasons.update(r["reason"] for r in rows)
    expect({"seen", "to a standby", "rebalance", "drain"} <= set(reasons), f"reasons: {reasons}")


def body(flow):
    env = {"guildbus-coordinator": {"REBALANCE_MS": "500", "GUILDBUS_REBALANCE": "off"}}
    cluster = flow.cluster(guilds=GUILDS, shards=2, gateways=3, lease_ms=LEASE_MS, extra_env=env)
    start_traffic(cluster, {"events": 6000, "events_per_s": 300, "interactions": 200, "interactions_per_s": 10})
    kill_one(flow, cluster)
    come_back(flow, cluster)
    rebalance(flow, cluster)
    drain(flow, cluster)
    look_back(flow, cluster)
    expect(len(guilds_of(cluster)) == GUILDS, "the guilds of the simulator")
    wait_for_traffic(cluster)
    expect_exactly_once(cluster)
    told = http_json("GET", cluster.sim_admin + "/report")[1]["interactions"]
    expect(told["failed"] == 0 and told["sent"] == told["answered"], f"interactions: {told}")


run(body)

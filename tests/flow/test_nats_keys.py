#!/usr/bin/env python3
"""All keys are changed under traffic as docs/runbook.md says: nothing is lost, the former ones are refused."""
import shutil
import subprocess

from flow import (LIMIT_S, Bus, answers, expect, expect_exactly_once, http_json, run, say, sim, start_traffic,
                  wait_for, wait_for_traffic)
from nkey import nkey_login

USERS = {"edge": ["edge"], "gateway": ["gw-1", "gw-2"], "coordinator": ["coordinator"], "operator": []}


def is_let_in(cluster, seed_file, public_key):
    try:
        Bus(cluster.nats_url, login=nkey_login(seed_file, public_key)).close()
    except OSError as e:
        expect("Violation" in str(e) or "closed" in str(e), f"another refusal: {e}")
        return "Permissions Violation" in str(e)  # of its inbox: it is let in and may not do that
    return True


def restart(flow, cluster, name):
    """With the key that its file holds now."""
    process = cluster.processes[name]
    expect(process.stop(), f"{name} had to be killed:\n{process.tail()}")
    process.start()
    wait_for(f"{name} is ready", answers(cluster.admin_url(name) + "/readyz"), LIMIT_S, [process])


def traffic(cluster, interactions=True):
    start_traffic(cluster, {"events": 10_000_000, "events_per_s": 150,
                            **({"interactions": 1_000_000, "interactions_per_s": 10} if interactions else {})})


def events_sent(cluster):
    return http_json("GET", cluster.sim_admin + "/traffic")[1]["events_sent"]


def end_traffic(cluster):
    sim(cluster, "/traffic/stop", {})
    wait_for_traffic(cluster)


def change(flow, cluster, user):
    """Steps 1 and 2."""
    done = subprocess.run([flow.program("guildbusctl"), "rotate-nats-key", cluster.auth.seed_file(user).parent, user],
                          capture_output=True, text=True, timeout=60)
    expect(done.returncode == 0, f"rotate-nats-key: {done.stdout}{done.stderr}")
    for name in USERS[user]:
        restart(flow, cluster, name)


def restart_nats(flow, cluster):
    """Step 3. The programs' former keys end with it."""
    process = cluster.processes["nats"]
    process.stop()
    process.env.update(dict(line.split("=", 1) for line in
                            (cluster.auth.seed_file("edge").parent / "nats.env").read_text().split()))
    process.start()
    for name in ("coordinator", *cluster.pods, "edge"):
        wait_for(f"{name} is ready", answers(cluster.admin_url(name) + "/readyz"), LIMIT_S, [process])


def body(flow):
    cluster = flow.cluster(guilds=6, shards=1, gateways=2)
    former = dict(cluster.auth.server_env)
    shutil.copytree(cluster.auth.seed_file("edge").parent, flow.folder / "former")
    for user in USERS:
        traffic(cluster, interactions=user != "edge")  # there is only one edge
        change(flow, cluster, user)
        end_traffic(cluster)
        say(f"{user} has another key")
    traffic(cluster)
    restart_nats(flow, cluster)
    say("NATS knows the new spare keys")
    before = events_sent(cluster)
    wait_for("traffic goes on", lambda: events_sent(cluster) > before + 300, LIMIT_S)
    end_traffic(cluster)
    told = http_json("GET", cluster.sim_admin + "/report")[1]["interactions"]
    expect(not told["failed"] and told["answered"] == told["sent"] > 0, f"interactions: {told}")
    expect_exactly_once(cluster)

    expect(not cluster.nats_refusals(), f"refused meanwhile: {cluster.nats_refusals()}")
    flow.may_be_refused = True  # from now on
    for user in USERS:
        expect(not is_let_in(cluster, flow.folder / f"former/{user}.seed", former[f"{user.upper()}_NKEY"]),
               f"the former key of {user} is let in")
        expect(is_let_in(cluster, cluster.auth.seed_file(user), former[f"{user.upper()}_NKEY_SPARE"]),
               f"the new key of {user} is refused")
    say("the former keys are refused")


run(body)

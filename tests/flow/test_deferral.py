#!/usr/bin/env python3
"""The owner sleeps through an interaction's three seconds: the edge defers, and whoever owns the guild finishes it once."""
import os
import signal

from flow import LIMIT_S, expect, expect_exactly_once, guilds_of, interact, run, say_in, sim, wait_for
from test_failover import set_up


def body(flow):
    cluster = flow.cluster(gateways=1, guilds=2, shards=1)
    guild = guilds_of(cluster)[0]
    set_up(cluster, guild)
    message = say_in(cluster, guild, "buy cheap otters here", guild["member_ids"][0])

    owner = cluster.processes[cluster.pods[0]].popen.pid
    os.kill(owner, signal.SIGSTOP)
    try:
        late = interact(cluster, "Track", guild, guild["moderator_id"], target=message)
    finally:
        os.kill(owner, signal.SIGCONT)
    expect(late["fate"] == "deferred", f"nobody could answer, so the edge had to defer: {late}")

    def completed():
        now = sim(cluster, f"/interaction?id={late['id']}", None, "GET")
        return now["fate"] == "completed" and now
    done = wait_for("the deferred interaction is finished", completed, LIMIT_S)
    expect("racked" in str(done), f"finished with something else: {done}")
    expect_exactly_once(cluster)


if __name__ == "__main__":
    run(body)

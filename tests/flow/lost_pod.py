"""lost_pod.py - a pod is killed and its disk deleted: when does each of its guilds answer again, and from where?

    kill_with_disk ─▶ wait_served: portal requests over NATS, again and again, until the last guild has answered
"""
import json
import shutil
import signal
import subprocess
import time

from bus import JSON_TYPE, Bus
from processes import wait_for

AT_ONCE = 500   # requests under way
ROUND_S = 30    # so long a request may be held


def lease_s(cluster):
    """By the coordinator's own word."""
    coordinator = cluster.processes["coordinator"]
    told = subprocess.run([*coordinator.argv, "--print-config"], env=coordinator.env, capture_output=True, text=True,
                          check=True, timeout=30).stdout
    value = next(line for line in told.splitlines() if line.startswith("LEASE_MS="))
    return int(value.split("=")[1].split()[0]) / 1000


def kill_with_disk(cluster, pod):
    """When it was killed."""
    began = time.monotonic()
    cluster.processes[pod].stop(signal.SIGKILL, 30)
    shutil.rmtree(cluster.data_dir(pod))
    return began


def ask_many(bus, guilds):
    """{guild: (pod, when)} of those that answer at once"""
    served, waiting, todo = {}, {}, list(guilds)
    end = time.monotonic() + ROUND_S
    while (todo or waiting) and time.monotonic() < end:
        while todo and len(waiting) < AT_ONCE:
            guild = todo.pop()
            reply = f"{bus.inbox}.{next(bus.numbers)}"
            bus.replies[reply] = None
            waiting[reply] = guild
            body = json.dumps({"portal": {"guildId": str(guild), "overview": {}}})
            bus.publish(f"guild.{guild}.portal", body, JSON_TYPE, reply)
        bus.flush()
        for reply in [r for r in waiting if bus.replies[r] is not None]:
            guild, answer = waiting.pop(reply), bus.replies.pop(reply)
            if not answer.headers.startswith("NATS/1.0 503"):
                pod = json.loads(answer.body).get("portalReply", {}).get("pod")
                served.update({guild: (pod, time.monotonic())} if pod else {})
    for reply in waiting:
        bus.replies.pop(reply)
    return served


def wait_served(cluster, guilds, pods, limit_s):
    """{guild: when it first answered from one of these pods}"""
    left, heard = set(guilds), {}
    with Bus(cluster.nats_url) as bus:
        def all_answer():
            heard.update({g: at for g, (pod, at) in ask_many(bus, left).items() if pod in pods})
            left.difference_update(heard)
            return not left
        wait_for("every guild answers", all_answer, limit_s, [cluster.processes[p] for p in pods])
    return heard

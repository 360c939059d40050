"""traffic.py - the simulator's traffic, and waiting until the cluster has taken it in."""
import time

from cluster import StartError
from compare import read_owners
from nats_client import NatsClient
from processes import http_json, http_request, wait_for

QUIET_S = 20  # so long without progress means that none will come


def start_traffic(cluster, wanted):
    status, answer = http_json("POST", cluster.sim_admin + "/traffic", wanted)
    if status not in (200, 201, 202):
        raise StartError(f"the simulator refused the traffic: {status} {answer}")


def wait_for_traffic(cluster, tell=lambda state: None):
    """Until all is sent and each interaction has had its answer; tell hears of it every five seconds."""
    told = 0.0

    def over():
        nonlocal told
        state = http_json("GET", cluster.sim_admin + "/traffic")[1]
        if time.monotonic() - told > 5:
            told = time.monotonic()
            tell(state)
        return not state["running"]
    wait_for("the traffic is over", over, 3600, cluster.processes.values())


def stored_events(cluster):
    """{guild: messages in EVENTS}"""
    with NatsClient(cluster.nats_url) as nats:
        counts = nats.subject_counts("EVENTS", "event.>")
    return {int(subject.rsplit(".", 1)[1]): n for subject, n in counts.items()}


def deferred_events(cluster, sent):
    """{guild: interactions among its messages in EVENTS}, of guilds that have more messages than Discord sent."""
    found = {}
    with NatsClient(cluster.nats_url) as nats:
        for subject, stored in nats.subject_counts("EVENTS", "event.>").items():
            guild = int(subject.rsplit(".", 1)[1])
            if guild not in sent or stored > sent[guild].events:
                found[guild] = sum("Nats-Msg-Id: interaction:" in h for h in nats.headers("EVENTS", subject))
    return found


def wait_until_applied(cluster, tell=lambda text: None):
    """True when every stored event is applied and every call to Discord is made (those bring events of their own),
    False when nothing has moved for a while."""
    last, since, told = None, time.monotonic(), time.monotonic()
    while time.monotonic() - since < QUIET_S:
        stored = stored_events(cluster)
        held = read_owners(cluster.assignments(), cluster.data_dir)
        missing = sum(max(0, n - (held[guild].applied if guild in held else 0)) for guild, n in stored.items())
        waiting = sum(h.waiting for h in held.values())
        if not missing and not waiting and sum(stored.values()) == last:
            return True
        now = sum(stored.values()) if not missing and not waiting else (sum(stored.values()), missing, waiting)
        if now != last:
            last, since = now, time.monotonic()
        if time.monotonic() - told > 5:
            told = time.monotonic()
            tell(f"{missing} events are still to be applied, {waiting} calls to Discord to be made")
        time.sleep(0.1)
    return False


def traffic_report(cluster):
    """{sent, answered, failed, p50_ms, p99_ms} of the interactions so far."""
    told = http_json("GET", cluster.sim_admin + "/report")[1]["interactions"]
    told["failed"] += max(0, told["deferred"] - told["completed"])  # a deferral is a promise
    return {name: told[name] for name in ("sent", "answered", "failed", "p50_ms", "p99_ms")}


def record(cluster):
    """The lines of what was sent."""
    return http_request("GET", cluster.sim_admin + "/record?kind=event", timeout_s=300)[2].splitlines()

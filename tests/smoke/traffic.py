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


def wait_until_applied(cluster):
    """True when every stored event is applied, False when nothing has moved for a while."""
    last, since = None, time.monotonic()
    while time.monotonic() - since < QUIET_S:
        stored = stored_events(cluster)
        held = read_owners(cluster.assignments(), cluster.data_dir)
        applied = {guild: h.applied for guild, h in held.items()}
        if all(applied.get(guild, 0) >= n for guild, n in stored.items()):
            return True
        if (stored, applied) != last:
            last, since = (stored, applied), time.monotonic()
        time.sleep(0.1)
    return False


def traffic_report(cluster):
    """{sent, answered, failed, p50_ms, p99_ms} of the interactions so far."""
    return http_json("GET", cluster.sim_admin + "/report")[1]["interactions"]


def record(cluster):
    """The lines of what was sent."""
    return http_request("GET", cluster.sim_admin + "/record?kind=event", timeout_s=300)[2].splitlines()

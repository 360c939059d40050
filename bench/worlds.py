"""worlds.py - questions to a running cluster or simulator that more than one scenario has."""
from compare import compare, read_owners, read_record
from processes import StartError, http_json, wait_for
from traffic import deferred_events, record, stored_events, wait_for_traffic, wait_until_applied

ONLY_MESSAGES = {"create": 1, "update": 0, "delete": 0, "react": 0, "unreact": 0, "join": 0, "typing": 0}


def guild_ids(world):
    return [g["id"] for g in http_json("GET", world.sim_admin + "/guilds", timeout_s=60)[1]]


def gateways(cluster):
    return [cluster.processes[p] for p in cluster.pods]


def applied(cluster):
    """Events, by the pods' own count."""
    return sum(cluster.metrics(p).get("guildbus_events_applied_total", 0) for p in cluster.pods)


def wait_applied(bench, cluster, count):
    wait_for(f"{count} events are applied", lambda: applied(cluster) >= count, bench.patience_s, gateways(cluster), 0.02)


def nats_bytes(cluster, pod):
    """What the NATS server has sent to a pod so far."""
    told = http_json("GET", cluster.admin_url("nats") + "/connz?limit=1000")[1]
    return sum(c["out_bytes"] for c in told["connections"] if f"/{pod} " in c.get("name", ""))


def exactly_once(cluster):
    """{sent, applied, lost, duplicated} events, once the simulator's traffic has ended and nothing waits any more."""
    http_json("POST", cluster.sim_admin + "/traffic/stop", {})
    wait_for_traffic(cluster)
    if not wait_until_applied(cluster):
        raise StartError("not every stored event was applied, or calls to Discord still wait")
    sent = read_record(record(cluster))
    total, _ = compare(sent, read_owners(cluster.assignments(), cluster.data_dir), stored_events(cluster),
                       deferred_events(cluster, sent))
    return total

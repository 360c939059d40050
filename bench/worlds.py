"""worlds.py - questions to a running cluster or simulator that more than one scenario has."""
import collections

from compare import compare, read_owners, read_record
from processes import StartError, http_json, wait_for
from traffic import (deferred_events, record, start_traffic, stored_events, wait_for_traffic,
                     wait_until_applied)

ONLY_MESSAGES = {"create": 1, "update": 0, "delete": 0, "react": 0, "unreact": 0, "join": 0, "typing": 0}
ONLY_MODREPORTS = {"report": 0, "track": 0, "modreport": 1}  # interactions that change nothing in Discord
STORED_S = 60
EVEN = 0.9  # of its fair part a pod has at least


def guild_ids(world):
    return [g["id"] for g in http_json("GET", world.sim_admin + "/guilds", timeout_s=60)[1]]


def gateways(cluster):
    return [cluster.processes[p] for p in cluster.pods]


def applied(cluster):
    """Events, by the pods' own count."""
    return sum(cluster.metrics(p).get("guildbus_events_applied_total", 0) for p in cluster.pods)


def wait_applied(bench, cluster, count):
    """Events in all; each guild's first is the GUILD_CREATE of the session's beginning."""
    wait_for(f"{count} events are applied", lambda: applied(cluster) >= count, bench.patience_s, gateways(cluster),
             0.02)


def fill(bench, cluster, count):
    """So many messages, all applied."""
    wait_applied(bench, cluster, cluster.options.guilds)
    start_traffic(cluster, {"events": count, "events_per_s": 0, "mix": ONLY_MESSAGES})
    wait_for_traffic(cluster)
    wait_applied(bench, cluster, cluster.options.guilds + count)


def even_out(bench, cluster):
    """Each pod has its part of the guilds: the first that came may have been given all of them."""
    least = EVEN * cluster.options.guilds / len(cluster.pods)

    def is_even():
        counts = collections.Counter(cluster.assignments().values())
        if min(counts[p] for p in cluster.pods) >= least:
            return True
        cluster.order("/rebalance", {"force": True, "limit": 1000})  # refused while one is under way
        return False
    wait_for("the guilds are spread over the pods", is_even, bench.patience_s, gateways(cluster), 0.5)
    wait_for("no guild moves any more", lambda: cluster.status().get("moves_open") == 0, bench.patience_s,
             gateways(cluster))


def nats_bytes(cluster, pod):
    """What the NATS server has sent to a pod so far."""
    told = http_json("GET", cluster.admin_url("nats") + "/connz?limit=1000")[1]
    return sum(c["out_bytes"] for c in told["connections"] if f"/{pod} " in c.get("name", ""))


def exactly_once(cluster):
    """{sent, applied, lost, duplicated} events, once the simulator's traffic has ended and nothing waits any more."""
    http_json("POST", cluster.sim_admin + "/traffic/stop", {})
    wait_for_traffic(cluster)
    sent = read_record(record(cluster))
    count = sum(s.events for s in sent.values())
    # A session that lost its holder gets its last events again.
    wait_for(f"all {count} events are stored", lambda: sum(stored_events(cluster).values()) >= count, STORED_S)
    if not wait_until_applied(cluster):
        raise StartError("not every stored event was applied, or calls to Discord still wait")
    total, _ = compare(sent, read_owners(cluster.assignments(), cluster.data_dir), stored_events(cluster),
                       deferred_events(cluster, sent))
    return total

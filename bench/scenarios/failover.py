"""failover - a pod is killed with SIGKILL and its disk deleted: when do its guilds answer again, from another pod?

    two pods, half of the guilds each, some events ─▶ kill -9 gw-1, its disk goes ─▶ each lost guild is asked over NATS,
    again and again ─▶ the first, half of them, the last has answered ─▶ each shard that the pod held has its session
    again, so that events come ─▶ every event is still applied once

Nobody helps. The lease of the dead pod has to run out first; it is part of the figures.
"""
import time

from lost_pod import kill_with_disk, lease_s, wait_served
from processes import StartError, http_json, wait_for
from requester import quantile
from worlds import even_out, exactly_once, fill, gateways

STANDBY, ALONE = "one standby a guild", "no standbys"
EVENTS_A_GUILD = 5


def all_live(cluster):
    return http_json("GET", cluster.sim_admin + "/gateway")[1]["counts"]["live"] >= cluster.options.shards


def lost(bench, standbys):
    count = bench.size(1000, 100)
    env = {"guildbus-coordinator": {"GUILDBUS_STANDBYS": standbys}}
    with bench.cluster(guilds=2 * count, members=4, gateways=2, extra_env=env) as cluster:
        even_out(bench, cluster)
        fill(bench, cluster, 2 * count * EVENTS_A_GUILD)
        victim, survivor = cluster.pods
        guilds = [g for g, pod in cluster.assignments().items() if pod == victim]
        began = kill_with_disk(cluster, victim)
        after = [at - began for at in wait_served(cluster, guilds, [survivor], bench.patience_s).values()]
        wait_for("each shard has its session again", lambda: all_live(cluster), bench.patience_s, gateways(cluster)[1:],
                 0.02)
        live_s = time.monotonic() - began
        total = exactly_once(cluster)
        if total["lost"] or total["duplicated"]:
            raise StartError(f"events were lost or doubled: {total}")
        return {"guilds": len(guilds), "first_s": round(min(after), 2), "half_s": round(quantile(after, 0.5), 2),
                "last_s": round(max(after), 2), "lease_s": lease_s(cluster), "shards_s": round(live_s, 2)}


def run(bench):
    runs = {STANDBY: lambda: lost(bench, 1)}
    if not bench.args.quick:
        runs[ALONE] = lambda: lost(bench, 0)
    return bench.interleave(runs)


def targets(results):
    return {f"failover: s until the last guild answers, {name}": (f["lease_s"] + 2, f["last_s"], "<=")
            for name, f in results.items() if "last_s" in f and name == STANDBY}

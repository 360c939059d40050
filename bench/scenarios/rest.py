"""rest - calls to Discord that wait in the outboxes: how fast do they leave, and does each once?

    limited:  notes, deletions and PATCHes of many guilds, all at once ─▶ outbox ─▶ 50 a second for all, 5 for a bucket
    free:     interactions come while the pods are stopped, the edge defers each ─▶ the pods go on ─▶ outbox ─▶ a
              PATCH each, which no global limit binds

A pod keeps to Discord's 50 a second by itself, whatever the simulator allows: only calls outside that limit show how
fast the outbox is without it.
"""
import contextlib
import signal
import time

from flow import guilds_of, sim
from processes import StartError, http_json, wait_for
from rest_rows import (BUCKET, GLOBAL, Guild, Mark, count_calls, count_effects, each, lines, make_rows, pace, prepare,
                       wait_until_calm)
from traffic import start_traffic
from worlds import ONLY_MODREPORTS, gateways

LIMITED, FREE = "50 a second for all", "without a global limit"
WINDOW_MS = 1000
LIMIT_S, QUIET_S = 300, 1.5
AT_ONCE = 250  # interactions: the simulator has no more than 256 connections


def limited(bench):
    rows, count = bench.size(2000, 150), bench.size(100, 10)
    env = {"guildbus-discord-sim": {"SIM_CALL_BODIES": "true"}}
    with bench.cluster(guilds=count, members=12, gateways=2, extra_env=env) as cluster:
        guilds = [Guild(g) for g in guilds_of(cluster)]
        each(guilds, Guild.set_up, cluster)
        sim(cluster, "/rates", {"per_bucket": BUCKET, "global": GLOBAL})
        prepare(cluster, guilds, LIMIT_S, quiet_s=QUIET_S)
        mark = Mark(cluster)
        make_rows(cluster, guilds, rows)
        if not wait_until_calm(cluster, guilds, LIMIT_S, quiet_s=QUIET_S):
            raise StartError("the calls have not come to an end")
        lost, repeated = count_effects(cluster, guilds, mark)
        called, told = count_calls(cluster, guilds, mark), pace(cluster, mark.arrival, WINDOW_MS)
        return {"rows": rows, "per_s": early_rate(cluster, mark.arrival),
                "busiest_second": told[f"busiest_{WINDOW_MS}ms"],
                "refused": told["limited_user"] + told["limited_global"] + told["limited_shared"],
                "lost": lost + rows - called["rows_called"], "repeated": repeated + called["tried_again"]}


def early_rate(cluster, after):
    """Calls a second until nine of ten are made; the rest may wait for the bucket of a single guild."""
    times = [a["at_us"] for a in lines(cluster, "arrival", after) if a["global"]]
    times = times[:len(times) * 9 // 10]
    return round((len(times) - 1) / (times[-1] - times[0]) * 1e6, 1)


@contextlib.contextmanager
def stopped(processes):
    for p in processes:
        p.send(signal.SIGSTOP)
    try:
        yield
    finally:
        for p in processes:
            p.send(signal.SIGCONT)


def interactions(cluster):
    return http_json("GET", cluster.sim_admin + "/report")[1]["interactions"]


def free(bench):
    count = bench.size(1000, AT_ONCE)
    with bench.cluster(guilds=100, members=12, gateways=1) as cluster:
        mark = Mark(cluster)
        with stopped(gateways(cluster)):
            start_traffic(cluster, {"events": 0, "interactions": count, "interactions_in_flight": AT_ONCE,
                                    "mix": ONLY_MODREPORTS})
            wait_for("all interactions are deferred", lambda: interactions(cluster)["deferred"] == count, LIMIT_S)
        wait_for("each is finished", lambda: interactions(cluster)["completed"] == count, LIMIT_S, gateways(cluster))
        time.sleep(1)  # whatever comes twice
        calls = [a for a in lines(cluster, "arrival", mark.arrival) if not a["global"] and a["method"] == "PATCH"]
        seconds = (calls[-1]["at_us"] - calls[0]["at_us"]) / 1e6
        return {"rows": count, "per_s": round(len(calls) / seconds, 1),
                "refused": sum(bool(a["refused"]) for a in calls),
                "lost": max(0, count - len(calls)), "repeated": max(0, len(calls) - count)}


def run(bench):
    return bench.interleave({LIMITED: lambda: limited(bench), FREE: lambda: free(bench)})


def targets(results):
    found = {"rest: calls a second where 50 are allowed": (40.0, results[LIMITED]["per_s"], ">="),
             "rest: calls in the busiest second": (GLOBAL, results[LIMITED]["busiest_second"], "<=")}
    for key in ("refused", "lost", "repeated"):
        found[f"rest: calls {key}"] = (0, results[LIMITED][key] + results[FREE][key], "<=")
    return found

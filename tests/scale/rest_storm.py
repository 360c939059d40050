#!/usr/bin/env python3
"""rest_storm.py - thousands of REST calls wait in the outboxes of many guilds: how do they leave, and does each once?

    tests/flow/rest_rows.py makes the rows and reads what came of them ─▶ one JSON line

With --kill a second storm follows, in the middle of which the pod with the most guilds is killed with -9 and its disk
deleted, just when Discord has slowly begun with some calls: it does them, nobody hears of it, and their rows' next owner
makes them again.

Exit 1 unless: never more than 50 calls in any second, counted by their arrival; no 429; each row's call was made, with one
effect; without a kill, once; with one, some again. --window forgives a machine that stalls: calls
that left a second apart may then arrive closer together.

usage: ./dev scale rest_storm [--rows N] [--guilds N] [--pods N] [--kill] [--window MS]
"""
import collections
import pathlib
import shutil
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "smoke"), str(HERE.parent / "flow")]
from flow import Wrong, guilds_of, run, say, sim, wait_for  # noqa: E402
from processes import http_json  # noqa: E402
from rest_rows import (BUCKET, GLOBAL, Guild, Mark, count_calls, count_effects, each, lines, make_rows, pace,  # noqa: E402
                       prepare, rest_state, wait_until_calm)

SLOW, SLOW_MS = 40, 2000  # calls before a kill, of all pods


# ---- a kill in the middle ----

def slow_down(cluster):
    """Until some calls are under way that Discord has not done yet."""
    sim(cluster, "/rest-faults", {"path": "/channels/*", "how": "delay", "ms": SLOW_MS, "times": SLOW})

    def begun():
        return sum(rule["hits"] for rule in http_json("GET", cluster.sim_admin + "/rest-faults")[1]) >= SLOW
    wait_for("calls are slow", begun, 60, interval_s=0.01)


def kill_owner(flow, cluster):
    """(pod, its guilds)"""
    owners = collections.Counter(cluster.assignments().values())
    pod, count = owners.most_common(1)[0]
    slow_down(cluster)
    flow.kill(cluster.processes[pod])
    say(f"{pod}, which owned {count} guilds, is killed; deleting its disk")
    sim(cluster, "/rest-faults", None, "DELETE")
    shutil.rmtree(cluster.data_dir(pod))
    if len(cluster.pods) == 1:
        cluster.data_dir(pod).mkdir()
        flow.restart(cluster.processes[pod])
    return pod, count


# ---- a storm ----

def storm(flow, cluster, guilds, kill):
    """Figures of one."""
    args, mark = flow.args, Mark(cluster)
    figures = {"rows": args.rows, "waiting": make_rows(cluster, guilds, args.rows, say)}
    if kill:
        before = rest_state(cluster)["requests"]
        half = args.rows // 2 - len(lines(cluster, "call", mark.call))
        wait_for("half of the calls are made", lambda: rest_state(cluster)["requests"] >= before + half, flow.limit_s,
                 interval_s=0.2)
        figures["killed"], figures["guilds_killed"] = kill_owner(flow, cluster)
    if not wait_until_calm(cluster, guilds, flow.limit_s, say):
        say("the calls have not come to an end")
    figures["lost"], figures["repeated"] = count_effects(cluster, guilds, mark, say)
    figures.update(count_calls(cluster, guilds, mark))
    figures["nonce_repeats"] = rest_state(cluster)["nonce_repeats"] - mark.nonce_repeats
    return {**figures, **pace(cluster, mark.arrival, args.window)}


def judge(name, f, window_ms):
    """What is wrong with a storm's figures."""
    if f[f"busiest_{window_ms}ms"] > GLOBAL:
        yield f"{name}: {f[f'busiest_{window_ms}ms']} calls in {window_ms} ms, more than {GLOBAL}"
    if f["limited_user"] or (f["limited_global"] and window_ms >= 1000):
        yield f"{name}: Discord said 429 {f['limited_user']} times for a bucket, {f['limited_global']} for all"
    if f["lost"] or f["rows_called"] < f["rows"]:
        yield f"{name}: {f['lost']} effects are missing, {f['rows_called']} of {f['rows']} rows were called"
    if f["repeated"] or f["rows_called"] > f["rows"]:
        yield f"{name}: {f['repeated']} effects too many, {f['rows_called']} calls for {f['rows']} rows"
    if "killed" not in f and f["tried_again"]:
        yield f"{name}: {f['tried_again']} calls were made again although nothing had happened"
    if "killed" in f and not f["tried_again"]:
        yield f"{name}: no call was made again: the kill proves nothing"


def body(flow):
    args = flow.args
    flow.limit_s = 120 + (args.rows + args.guilds * 5) / 20
    cluster = flow.cluster(guilds=args.guilds, members=12, shards=2, gateways=args.pods,
                           extra_env={"guildbus-discord-sim": {"SIM_CALL_BODIES": "true"}})
    guilds = [Guild(g) for g in guilds_of(cluster)]
    each(guilds, Guild.set_up, cluster)
    sim(cluster, "/rates", {"per_bucket": BUCKET, "global": GLOBAL})
    flow.figures = {"pods": args.pods, "guilds": args.guilds}
    for name in ["storm", "storm_with_a_kill"] if args.kill else ["storm"]:
        prepare(cluster, guilds, flow.limit_s, say)
        flow.figures[name] = storm(flow, cluster, guilds, "kill" in name)
        say(f"{name}: {flow.figures[name]}")
    flow.figures["whole"] = pace(cluster, 0, args.window)
    wrong = [w for name, f in flow.figures.items() if name.startswith("storm") for w in judge(name, f, args.window)]
    if flow.figures["whole"][f"busiest_{args.window}ms"] > GLOBAL and not wrong:
        wrong = [f"between the storms: {flow.figures['whole']}"]
    if wrong:
        raise Wrong("\n".join(wrong))


def options(parser):
    parser.add_argument("--rows", type=int, default=10000, metavar="N", help="of outboxes, in each storm (10,000)")
    parser.add_argument("--guilds", type=int, default=500, metavar="N")
    parser.add_argument("--pods", type=int, default=4, metavar="N")
    parser.add_argument("--kill", action="store_true", help="a second storm, in which a pod is killed")
    parser.add_argument("--window", type=int, default=1000, metavar="MS", help="in which 50 calls may arrive (1000)")


if __name__ == "__main__":
    run(body, options)

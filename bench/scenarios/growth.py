"""growth - what more guilds cost one pod, what more pods bring, and how long a full pod takes to start.

    guilds:   10 ─▶ 100 ─▶ 1,000 ─▶ 10,000 ─▶ 50,000 on one pod: memory when all are owned and nothing happens, then
              events spread over all of them, then the pod is stopped and started with its disk
    pods:     1 ─▶ 2 ─▶ 4 with 1,000 guilds
    peer:     discord.js + better-sqlite3 with 10, 100, 1,000 guilds

Events come as fast as they are taken; where guilds are few, each has more of them in one record of its log.
"""
import time

from lost_pod import wait_served
from peers import Peer
from processes import answers, wait_for
from scenarios.events import send
from usage import Meter, memory_kib
from worlds import applied, gateways, wait_applied

GUILDS_A_SHARD = 1000  # Discord takes no more than 2,500
IDLE_S = 12  # a pod gives memory back when nothing has happened for five seconds
PEER = "discord.js + better-sqlite3"


def step_name(guilds, pods=1):
    return f"{guilds:,} guilds, {pods} {'pod' if pods == 1 else 'pods'}"


def shape(guilds):
    """What the simulator is to be like."""
    return {"guilds": guilds, "members": 4, "shards": -(-guilds // GUILDS_A_SHARD)}


def flow_through(bench, world, count, done, processes, counted):
    """Of events spread over all guilds."""
    send(bench, world, count // 4, done, processes)  # warm-up
    meter = Meter(counted)
    seconds = send(bench, world, count, done, processes)
    cpu = meter.read()
    bot = sum(s for name, s in cpu.items() if name != "nats")
    return {"per_s": round(count / seconds), "cpu_us_each": round(bot / count * 1e6, 1),
            "cpu_us_each_by_process": {name: round(s / count * 1e6, 1) for name, s in cpu.items()}}


def memory_mib(processes):
    return round(sum(memory_kib(p.pid) for p in processes) / 1024, 1)


def restart(bench, cluster):
    """Seconds from its start until the pod is ready, and until its last guild has answered."""
    pod, process = cluster.pods[0], gateways(cluster)[0]
    guilds = list(cluster.assignments())
    process.stop()
    began = time.monotonic()
    process.start()
    wait_for("the pod is ready", answers(cluster.admin_url(pod) + "/readyz"), bench.patience_s, [process], 0.02)
    ready = time.monotonic() - began
    wait_for("it owns all guilds", lambda: cluster.metrics(pod).get("guildbus_guilds_owned", 0) >= len(guilds),
             bench.patience_s, [process], 0.02)
    owned = time.monotonic() - began
    served = max(wait_served(cluster, guilds, [pod], bench.patience_s).values()) - began
    return {"ready_s": round(ready, 2), "owned_s": round(owned, 2), "start_s": round(served, 2)}


def step(bench, guilds, pods):
    count = bench.size(40000, 8000)
    with bench.cluster(gateways=pods, capacity=guilds * 2, **shape(guilds)) as cluster:
        processes = gateways(cluster)
        wait_applied(bench, cluster, guilds)
        time.sleep(IDLE_S)
        idle = memory_mib(processes)
        pids = {p.name: p.pid for p in [*processes, cluster.processes["nats"]]}
        told = flow_through(bench, cluster, count, lambda: applied(cluster), processes, pids)
        told.update({"guilds": guilds, "pods": pods, "idle_mib": idle, "memory_mib": memory_mib(processes),
                     "nats_mib": memory_mib([cluster.processes["nats"]])})
        return told | restart(bench, cluster) if pods == 1 else told


def peer(bench, guilds):
    count = bench.size(40000, 8000)
    with bench.simulator(**shape(guilds)) as world:
        env = {"API": world.sim_api, "TOKEN": world.secret("discord_token")}
        with Peer("discordjs", "events.mjs", bench.peers_folder, world.run_dir, env) as bot:
            bot.wait_for("discord.js has its guilds", lambda said: said.get("ready", 0) >= guilds)
            time.sleep(IDLE_S)
            idle = memory_mib([bot.process])
            told = flow_through(bench, world, count, lambda: bot.said().get("events", 0), [bot.process],
                                {"node": bot.pid})
            return told | {"guilds": guilds, "idle_mib": idle, "memory_mib": memory_mib([bot.process])}


def run(bench):
    counts = bench.size((10, 100, 1000, 10000, 50000), (10, 1000))
    runs = {step_name(n): lambda n=n: step(bench, n, 1) for n in counts}
    runs.update({step_name(1000, n): lambda n=n: step(bench, 1000, n) for n in bench.size((2, 4), ())})
    if bench.args.peers:
        runs.update({f"{PEER}, {n:,} guilds": lambda n=n: peer(bench, n) for n in counts if n <= 1000})
    return bench.interleave(runs, times=1)


def targets(results):
    few, many, full = (results.get(step_name(n)) for n in (10, 1000, 10000))
    largest = max((f for f in results.values() if f.get("pods") == 1), key=lambda f: f["guilds"])
    slope = (largest["idle_mib"] - few["idle_mib"]) * 2**20 / (largest["guilds"] - few["guilds"])
    found = {f"growth: bytes an idle guild, 10 to {round(largest['guilds']):,}": (4096, slope, "<="),
             "growth: MiB of a pod with 1,000 guilds": (40.0, many["memory_mib"], "<=")}
    if full:
        found["growth: CPU an event at 10,000 guilds by that at 10"] = (
            1.3, full["cpu_us_each"] / few["cpu_us_each"], "<=")
    his = results.get(f"{PEER}, 1,000 guilds")
    if his:
        found["growth: memory with 1,000 guilds by the peer's"] = (1 / 5, many["memory_mib"] / his["memory_mib"], "<=")
    return found

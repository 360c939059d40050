"""interactions - /setup as a signed webhook until its answer: in a closed loop, and at half of the peer's most.

    ours:  HTTP ─▶ edge ─▶ NATS ─▶ owner: one row, confirmed by the log ─▶ HTTP
    peer:  HTTP ─▶ express ─▶ one transaction ─▶ HTTP
"""
from peers import Peer
from stages import Stages
from usage import Meter, memory_kib
from worlds import guild_ids

CONNECTIONS = 32
PEER = "express + discord-interactions + better-sqlite3"


def _load(bench, url, guilds, count, rate=0):
    options = {"url": url, "guilds": ",".join(guilds), "count": count, "connections": CONNECTIONS,
               "seed": bench.SEED}
    return bench.tool("interactions", **options, **({"rate": rate} if rate else {}))


def _measure(bench, url, world, pids, answering):
    """Closed loop, then at a fixed rate, the same for everybody; with the stages of those that tell of them."""
    count, guilds = bench.size(20000, 4000), guild_ids(world)
    _load(bench, url, guilds, count // 4)  # warm-up
    meter = Meter(pids)
    told = _load(bench, url, guilds, count)
    cpu = meter.read()
    figures = {"per_s": told["per_s"], "p50_us": told["p50_us"], "p99_us": told["p99_us"], "failed": told["failed"],
               "deferred": told["deferred"],
               "cpu_us_each": round(sum(cpu[n] for n in answering) / count * 1e6, 1),
               "cpu_us_each_by_process": {n: round(s / count * 1e6, 1) for n, s in cpu.items()},
               "memory_mib": round(sum(memory_kib(pids[n]) for n in answering) / 1024, 1)}
    rate = bench.rates.setdefault("interactions", round(told["per_s"] / 2))
    stages = Stages(world, [n for n in answering if n != "node"])
    at = _load(bench, url, guilds, rate * bench.size(5, 2), rate)
    figures["at_rate"] = {"rate": rate, **{k: at[k] for k in ("p50_us", "p99_us", "max_us", "failed", "deferred")}}
    return {**figures, **({"stages": stages.read()} if stages.names else {})}


def ours(bench):
    with bench.cluster(guilds=100, gateways=bench.args.pods) as cluster:
        bot = [*cluster.pods, *cluster.edge_names]
        pids = {name: cluster.processes[name].pid for name in [*bot, "nats"]}
        return _measure(bench, cluster.interactions_url, cluster, pids, bot)


def peer(bench):
    with bench.simulator(guilds=100) as world:
        env = {"PUBLIC_KEY": world.public_key}
        with Peer("express", "webhook.mjs", bench.peers_folder, world.run_dir, env) as bot:
            port = bot.wait_for("express listens", lambda said: said.get("port"))
            return _measure(bench, f"http://127.0.0.1:{port}/webhooks/discord", world, {"node": bot.pid}, ["node"])


def run(bench):
    runs = {"ours": lambda: ours(bench)}
    if bench.args.peers:
        runs = {PEER: lambda: peer(bench), **runs}  # first: its most says at which rate both are asked
    return bench.interleave(runs)


def targets(results):
    if PEER not in results:
        return {}
    mine, his = results["ours"], results[PEER]
    found = {
        "interactions: throughput by the peer's": (2.5, mine["per_s"] / his["per_s"], ">="),
        "interactions: p99 at half of the peer's most by the peer's p50":
            (1.0, mine["at_rate"]["p99_us"] / his["at_rate"]["p50_us"], "<="),
    }
    verify = results.get("floors", {}).get("Ed25519 verify", {}).get("cpu_us_each")
    if verify:
        found["interactions: the edge's CPU by one Ed25519 verify"] = (
            1.6, mine["cpu_us_each_by_process"]["edge"] / verify, "<=")
    return found

"""events - MESSAGE_CREATE from the simulated Discord's socket to a row: as fast as it is taken.

    ours:  simulator ══ws══▶ gateway ─▶ JetStream ─▶ owner ─▶ SQLite + the guild's log
    peers: simulator ══ws══▶ discord.js ─▶ one INSERT an event
           rqlite's batch API alone ─▶ one INSERT an event, where `go install` can make it
"""
import time

import rqlite
from peers import Peer
from processes import StartError, wait_for
from traffic import start_traffic, wait_for_traffic, wait_until_applied
from stages import Stages
from usage import Meter, memory_kib
from worlds import ONLY_MESSAGES, applied, gateways

PEERS = {
    "discord.js + better-sqlite3, FULL": {"SYNCHRONOUS": "FULL"},
    "discord.js + better-sqlite3, NORMAL": {"SYNCHRONOUS": "NORMAL"},
    "discord.js + better-sqlite3, NORMAL, words by split": {"SYNCHRONOUS": "NORMAL", "SEGMENT": "0"},
}


def _figures(events, seconds, cpu, ours, memory):
    """cpu: {process: seconds}; ours: those of them that are the bot, the rest is shown beside it."""
    bot = sum(cpu[name] for name in ours)
    return {"events": events, "seconds": round(seconds, 3), "per_s": round(events / seconds),
            "cpu_us_each": round(bot / events * 1e6, 1),
            "cpu_us_each_by_process": {name: round(s / events * 1e6, 1) for name, s in cpu.items()},
            "memory_mib": round(memory / 1024, 1)}

RATE = 2000  # for latencies: a tenth of what two cores take


def send(bench, world, count, applied, processes, rate=0):
    """Sends count events, as fast as they are taken or at a rate; the seconds until applied() says that they are."""
    before, start = applied(), time.monotonic()
    start_traffic(world, {"events": count, "events_per_s": rate, "mix": ONLY_MESSAGES})
    wait_for(f"{count} events are applied", lambda: applied() >= before + count, bench.patience_s, processes, 0.02)
    return time.monotonic() - start


def at_rate(bench, cluster, done, pods):
    """What each stage takes when nothing waits (feed: in whole milliseconds, as the event says when it came)."""
    stages = Stages(cluster, cluster.pods)
    send(bench, cluster, RATE * bench.size(5, 1), done, pods, RATE)
    wait_for_traffic(cluster)
    return {"stages_rate": RATE, "stages_at_rate": stages.read()}


def ours(bench):
    count = bench.size(40000, 8000)
    with bench.cluster(guilds=200, gateways=bench.args.pods) as cluster:
        pods = gateways(cluster)

        def done():
            return applied(cluster)
        send(bench, cluster, count // 4, done, pods)  # warm-up
        meter = Meter({p.name: p.pid for p in [*pods, cluster.processes["nats"]]})
        stages = Stages(cluster, cluster.pods)
        seconds = send(bench, cluster, count, done, pods)
        cpu = meter.read()
        memory = sum(memory_kib(p.pid) for p in pods)
        wait_for_traffic(cluster)
        if not wait_until_applied(cluster):
            raise StartError("not every stored event was applied: the figure would be wrong")
        told = {**_figures(count, seconds, cpu, cluster.pods, memory), "stages": stages.read()}
        return told | at_rate(bench, cluster, done, pods)


def peer(bench, settings):
    count = bench.size(40000, 8000)
    with bench.simulator(guilds=200) as world:
        env = {"API": world.sim_api, "TOKEN": world.secret("discord_token"), **settings}
        with Peer("discordjs", "events.mjs", bench.peers_folder, world.run_dir, env) as bot:
            bot.wait_for("discord.js has its guilds", lambda said: said.get("ready", 0) >= 200)

            def applied():
                return bot.said().get("events", 0)
            send(bench, world, count // 4, applied, [bot.process])
            meter = Meter({"node": bot.pid})
            seconds = send(bench, world, count, applied, [bot.process])
            return _figures(count, seconds, meter.read(), ["node"], memory_kib(bot.pid))


def run(bench):
    runs = {"ours": lambda: ours(bench)}
    if bench.args.peers:
        runs.update({name: lambda settings=settings: peer(bench, settings) for name, settings in PEERS.items()})
        path = rqlite.program(bench)
        if path:
            runs[rqlite.NAME] = lambda: rqlite.once(bench, path, bench.size(40000, 8000))
    return bench.interleave(runs)


def targets(results):
    """{name: (target, measured, met)} of medians, where there are peers."""
    full, normal = list(PEERS)[:2]
    if full not in results:
        return {}
    mine = results["ours"]
    return {
        "events: throughput by the peer's, FULL": (4.0, mine["per_s"] / results[full]["per_s"], ">="),
        "events: throughput by the peer's, NORMAL": (2.0, mine["per_s"] / results[normal]["per_s"], ">="),
        "events: CPU an event by the peer's": (1 / 3, mine["cpu_us_each"] / results[normal]["cpu_us_each"], "<="),
        "events: memory by the peer's": (1 / 5, mine["memory_mib"] / results[normal]["memory_mib"], "<="),
    }

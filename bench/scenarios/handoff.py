"""handoff - guilds move to another pod while they are asked: how long do they pause, what fails?

    one:      a 10 MB guild, 200 /setup a second ─▶ edge ─▶ owner      gw-1 ⇄ gw-2, again and again
    drained:  1,000 small guilds under events and /setup               POST /drain-pod: gw-1 ─▶ gw-2
    peers:    discord.js' ShardingManager respawns its shard; an express bot is stopped, its 10 MB of SQLite are copied,
              it is started on the copy

The pause is the pods' own figure, from the source's last unit to the target's Claim. The silence is what a requester
sees: the longest time without an answer around a move (at 200 a second there are 5 ms between two answers anyway).
"""
import contextlib
import re
import shutil
import signal
import sqlite3
import time

from movers import Movers
from peers import Peer
from processes import StartError, free_port, http_json, wait_for
from requester import Requester, quantile, trace_of_simulator
from traffic import start_traffic, wait_for_traffic
from worlds import ONLY_MESSAGES, ONLY_MODREPORTS, even_out, exactly_once, fill, guild_ids, nats_bytes

RATE = 200               # requests a second to the one guild
EVENTS_A_MB = 11500      # of the guild's rows in SQLite
ANSWERS_A_MB = 5600      # of the peer's
IDENTIFY_S = 6           # Discord lets a shard IDENTIFY each five
DRAIN_EVENTS, DRAIN_REQUESTS = 600, 60  # a second
TO_STANDBY, TO_STRANGER = "one, to its standby", "one, to a pod without its rows"
DRAINED = "many small ones, off a drained pod"
RESPAWN = "discord.js ShardingManager, its shard is respawned"
COPIED = "express + better-sqlite3, stop, copy, start"


def figures(pauses_ms, seen, spans, **more):
    silences, took = seen.silences_ms(spans), seen.took_ms_during(spans)
    pauses = {f"pause_{name}_ms": round(quantile(pauses_ms, share), 2)
              for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1))} if pauses_ms else {}
    return {"moves": len(pauses_ms) or len(spans), **pauses, "silence_p50_ms": round(quantile(silences, 0.5), 1),
            "silence_max_ms": round(max(silences), 1), "during_p50_ms": round(quantile(took, 0.5), 1),
            "during_p99_ms": round(quantile(took, 0.99), 1), "requests": len(seen.requests),
            "failed": seen.failed(), **more}


def pauses_ms(cluster):
    """Of all handoffs so far, in their order, by the pods that took over; StartError when they counted others."""
    lines = [line for pod in cluster.pods for line in cluster.processes[pod].log_text().splitlines()]
    lines.sort()  # they begin with the time
    found = [int(us) / 1000 for line in lines for us in re.findall(r"event=handed_over .*\bpause_us=(\d+)", line)]
    counted = sum(cluster.metrics(p).get("guildbus_handoff_pause_seconds_count", 0) for p in cluster.pods)
    if len(found) != counted:
        raise StartError(f"the pods' logs have {len(found)} handoffs, their metrics {counted:g}")
    return found


# ---- one guild, to and fro ----

def move_once(cluster, guild):
    """Nothing else happens: what the target got from NATS is the guild. Bytes."""
    owner = cluster.assignments()[guild]
    target = next(p for p in cluster.pods if p != owner)
    before = nats_bytes(cluster, target)
    mover = Movers(cluster, [guild], 1)
    mover.start()
    mover.stop()
    if mover.failures:
        raise StartError(f"the first move failed: {mover.failures[0]}")
    return nats_bytes(cluster, target) - before


def size_mb(cluster, guild):
    folder = cluster.data_dir(cluster.assignments()[guild])
    with contextlib.closing(sqlite3.connect(f"file:{folder}/guilds.sqlite3?mode=ro", uri=True)) as db:
        return db.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchone()[0] / 1e6


def moved(bench, standbys):
    """The source removes its rows within two seconds, where it does not stand by."""
    pace_s = bench.size(1, 0.5) if standbys else 3
    env = {"guildbus-coordinator": {"GUILDBUS_STANDBYS": standbys}}
    with bench.cluster(guilds=1, gateways=2, extra_env=env) as cluster:
        fill(bench, cluster, bench.size(10, 1) * EVENTS_A_MB)
        guild = next(iter(cluster.assignments()))
        got = move_once(cluster, guild)
        time.sleep(pace_s)
        wanted = bench.size(20, 4)
        with Requester(bench, cluster.interactions_url, [str(guild)], RATE, wanted * pace_s + 1) as requester:
            movers = Movers(cluster, [guild], wanted, pace_s)
            movers.start()
            wait_for("all requests are answered", lambda: requester.ended, bench.patience_s, interval_s=0.1)
            movers.stop()
            seen = requester.trace()
        if movers.failures:
            raise StartError(f"moves failed: {movers.failures}")
        return figures(pauses_ms(cluster), seen, movers.spans, guild_mb=round(size_mb(cluster, guild), 1),
                       moved_mb=round(got / 1e6, 3))


# ---- a pod is emptied ----

def drain(bench, cluster, pod):
    """(begin, end)"""
    began = time.monotonic()
    status, answer = cluster.order("/drain-pod", {"pod_id": pod})
    if status not in (200, 202):
        raise StartError(f"POST /drain-pod answered {status} {answer}")
    wait_for(f"{pod} has no guild", lambda: cluster.metrics(pod).get("guildbus_guilds_owned") == 0, bench.patience_s,
             [cluster.processes[pod]], 0.02)
    return began, time.monotonic()


def drained(bench):
    count, seconds = bench.size(1000, 100), bench.size(20, 5)
    with bench.cluster(guilds=2 * count, members=4, gateways=2) as cluster:
        even_out(bench, cluster)
        before, pod = len(pauses_ms(cluster)), cluster.pods[0]
        guilds = [str(g) for g, owner in cluster.assignments().items() if owner == pod]
        start_traffic(cluster, {"events": 10**8, "events_per_s": DRAIN_EVENTS, "mix": ONLY_MESSAGES})
        with Requester(bench, cluster.interactions_url, guilds, DRAIN_REQUESTS, seconds) as requester:
            time.sleep(1)  # of traffic, before
            span = drain(bench, cluster, pod)
            seen = requester.trace()
        total = exactly_once(cluster)
        return figures(pauses_ms(cluster)[before:], seen, [span], drained_s=round(span[1] - span[0], 2),
                       lost=total["lost"], doubled=total["duplicated"])


# ---- peers ----

def respawned(bench):
    """All guilds of the shard wait."""
    times = bench.size(5, 1)
    with bench.simulator(guilds=100) as world:
        env = {"API": world.sim_api, "TOKEN": world.secret("discord_token")}
        with Peer("discordjs", "respawn.mjs", bench.peers_folder, world.run_dir, env) as bot:
            bot.wait_for("discord.js has its guilds", lambda said: said.get("ready", 0) >= 100)
            start_traffic(world, {"events": 0, "interactions": 10**7, "interactions_per_s": RATE,
                                  "interactions_in_flight": RATE * 10, "mix": ONLY_MODREPORTS})
            spans = []
            for n in range(times):
                time.sleep(IDENTIFY_S)
                began = time.time()
                bot.process.send(signal.SIGUSR2)
                bot.wait_for("its shard is back", lambda said, n=n: said.get("respawned", 0) > n)
                spans.append((began, time.time()))
            time.sleep(1)
            http_json("POST", world.sim_admin + "/traffic/stop", {})
            wait_for_traffic(world)
        return figures([], trace_of_simulator(world), spans)


def grow(path, megabytes):
    """The bot's answers of the past."""
    with contextlib.closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as db:
        db.execute("""WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
                      INSERT INTO answered SELECT 'old-' || i, printf('%.*c', 130, 'x'), i FROM n""",
                   (megabytes * ANSWERS_A_MB,))
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def express(bench, world, folder, port):
    env = {"PUBLIC_KEY": world.public_key, "PORT": str(port)}
    folder.mkdir()
    return Peer("express", "webhook.mjs", bench.peers_folder, folder, env)


def stop_copy_start(bench, world, bot, port, n):
    """The next bot, which listens."""
    bot.process.stop()
    after = express(bench, world, world.run_dir / f"host-{n}", port)
    for path in bot.folder.glob("express.db*"):
        shutil.copy(path, after.folder)
    after.process.start()
    after.wait_for("express listens", lambda said: said.get("port"))
    return after


def copied(bench):
    times, port = bench.size(10, 2), free_port()
    with bench.simulator(guilds=1) as world:
        bot = express(bench, world, world.run_dir / "host-0", port)
        bot.process.start()
        try:
            bot.wait_for("express listens", lambda said: said.get("port"))
            grow(bot.folder / "express.db", bench.size(10, 2))
            size = (bot.folder / "express.db").stat().st_size / 1e6
            url, spans = f"http://127.0.0.1:{port}/webhooks/discord", []
            with Requester(bench, url, guild_ids(world), RATE, times * 2 + 1) as requester:
                for n in range(1, times + 1):
                    time.sleep(1)
                    began = time.monotonic()
                    bot = stop_copy_start(bench, world, bot, port, n)
                    spans.append((began, time.monotonic()))
                seen = requester.trace()
            return figures([], seen, spans, guild_mb=round(size, 1), moved_mb=round(size, 3))
        finally:
            bot.process.stop()


def run(bench):
    runs = {TO_STANDBY: lambda: moved(bench, 1), DRAINED: lambda: drained(bench)}
    if not bench.args.quick:
        runs[TO_STRANGER] = lambda: moved(bench, 0)
    if bench.args.peers:
        runs.update({RESPAWN: lambda: respawned(bench), COPIED: lambda: copied(bench)})
    return bench.interleave(runs)


def targets(results):
    found = {}
    for name in (n for n in (TO_STANDBY, TO_STRANGER, DRAINED) if n in results):
        f = results[name]
        found[f"handoff: pause p50 ms, {name}"] = (5.0, f["pause_p50_ms"], "<=")
        found[f"handoff: pause p99 ms, {name}"] = (25.0, f["pause_p99_ms"], "<=")
        found[f"handoff: requests failed, {name}"] = (0, f["failed"], "<=")
    found["handoff: events lost or doubled"] = (0, results[DRAINED]["lost"] + results[DRAINED]["doubled"], "<=")
    return found

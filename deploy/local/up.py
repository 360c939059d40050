#!/usr/bin/env python3
"""up.py - ./dev up: a whole Guildbus on this machine until Ctrl-C, with a line that tells how it is."""
import argparse
import fcntl
import json
import os
import pathlib
import signal
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/smoke"))
from cluster import Cluster, Options, StartError  # noqa: E402
from portal import Wrong, save_settings  # noqa: E402
from processes import http_json  # noqa: E402

REAL = ("DISCORD_TOKEN", "DISCORD_PUBLIC_KEY", "DISCORD_APPLICATION_ID")
OPTIONAL = ("DISCORD_CLIENT_SECRET", "DISCORD_API_URL")
# Gentle: to be seen, not to be measured.
TRAFFIC = {"events": 10**12, "interactions": 10**12, "events_per_s": 20, "interactions_per_s": 2,
           "interactions_in_flight": 4}


def arguments():
    p = argparse.ArgumentParser(
        prog="./dev up", description="Starts NATS, the coordinator, two gateways, an edge and a simulated Discord on "
        "this machine. With DISCORD_TOKEN, DISCORD_PUBLIC_KEY and DISCORD_APPLICATION_ID set it talks to the real "
        "Discord instead. Data stays in .run from run to run.")
    p.add_argument("--guilds", type=int, default=10, metavar="N", help="of the simulator (10)")
    p.add_argument("--for", type=float, default=0, metavar="SECONDS", dest="seconds", help="end by itself after this time")
    p.add_argument("--no-traffic", action="store_true", help="let the simulator be silent")
    p.add_argument("--postgres", action="store_true", help="keep the coordinator's tables in a PostgreSQL of its own "
                   "(DATABASE_URL: in that one) instead of SQLite")
    p.add_argument("--run-dir", default=str(ROOT / ".run"), help="data, logs and secrets (.run)")
    p.add_argument("--fresh", action="store_true", help="forget the data of earlier runs")
    return p.parse_args()


def real_discord():
    """The DISCORD_* of the environment; None without them, an error when only some are there."""
    given = [name for name in REAL if os.environ.get(name)]
    if not given:
        return None
    missing = [name for name in REAL if name not in given]
    if missing:
        sys.exit(f"{', '.join(given)} is set but not {', '.join(missing)}: set all three for the real Discord, "
                 "or none for the simulated one")
    return {name: os.environ[name] for name in REAL + OPTIONAL if os.environ.get(name)}


def lock(run_dir):
    """Keeps a second ./dev up out of the same folder for as long as this process lives."""
    run_dir.mkdir(parents=True, exist_ok=True)
    handle = open(run_dir / "lock", "w")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sys.exit(f"another ./dev up runs in {run_dir}; stop it first, or take another --run-dir")
    return handle


def forget(run_dir):
    import shutil
    for folder in ("data", "log"):
        shutil.rmtree(run_dir / folder, ignore_errors=True)


def table(cluster):
    c, rows = cluster, []
    where = {"nats": c.nats_url, "coordinator": c.coordinator_url, "edge": c.portal_url, "sim": c.sim_api,
             "postgres": c.options.database_url}
    for name, p in c.processes.items():
        admin = f"{c.admin_url(name)}" if f"{name} admin" in c.ports else ""
        rows.append((name, p.what, where.get(name, ""), admin, str(p.pid), os.path.relpath(p.log_path)))
    head = ("process", "what it does", "address", "admin (/metrics /readyz)", "pid", "log")
    widths = [max(len(r[i]) for r in [head, *rows]) for i in range(len(head))]
    return "\n".join("  " + "  ".join(cell.ljust(w) for cell, w in zip(r, widths)).rstrip() for r in [head, *rows])


def write_context(cluster):
    """What makes the nats command the operator."""
    path = cluster.run_dir / "nats.json"
    path.write_text(json.dumps({"description": "./dev up", "url": cluster.nats_url, "inbox_prefix": "_INBOX.operator",
                                "nkey": str(cluster.auth.seed_file("operator"))}, indent=2) + "\n")
    return path


def write_env(cluster):
    """A file to source in another terminal; it names secrets, so nobody else may read it."""
    path = cluster.run_dir / "env"
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
        f.write(f"export NATS_CONTEXT={write_context(cluster)}\nexport CONFIG_SERVICE_URL={cluster.coordinator_url}\n"
                f"export COORDINATOR_TOKEN={cluster.secret('coordinator_token')}\n"
                f"export PATH={cluster.options.bin_dir}:$PATH\n")
    return os.path.relpath(path)


def welcome(cluster):
    c = cluster
    text = f"\n  Portal   {c.portal_url}/\n"
    guild = next(iter(sorted(c.assignments())), "GUILD")
    if c.options.discord:
        text += f"  Discord's Interactions Endpoint URL must lead to {c.interactions_url}\n"
    text += f"\n{table(c)}\n\n  In another terminal:\n"
    text += f"    . ./{write_env(c)}\n"
    text += "    guildbusctl status                         # the cluster in one look\n"
    text += "    guildbusctl guilds                         # which pod owns which guild\n"
    text += f"    guildbusctl reassign {guild} gw-2   # move one while it is in use; gw-1 brings it back\n"
    text += "    nats sub 'feed.>' --translate 'guildbusctl decode'   # events as they pass; nats is natscli\n"
    text += f"    kill -9 {c.processes[c.pods[0]].pid}".ljust(47) + "# a pod dies: watch the others take over\n"
    return text


class Rates:
    """Differences a second of counters that only grow."""

    def __init__(self):
        self.last, self.at = {}, time.monotonic()

    def of(self, counters):
        now = time.monotonic()
        took = max(now - self.at, 0.001)
        rates = {k: max(0.0, (v - self.last.get(k, v)) / took) for k, v in counters.items()}
        self.last, self.at = counters, now
        return rates


def live_line(cluster, rates):
    status = cluster.status()
    applied = answered = 0
    for pod in cluster.pods:
        m = cluster.metrics(pod)
        applied += m.get("guildbus_events_applied_total", 0)
        answered += m.get("guildbus_interactions_total", 0)
    r = rates.of({"events": applied, "interactions": answered})
    line = (f"guilds {status.get('guilds_owned', '?')}/{status.get('guilds', '?')}  "
            f"pods {status.get('pods_active', '?')}  events/s {r['events']:.0f}  "
            f"interactions/s {r['interactions']:.0f}  handoffs {status.get('moves_done', '?')}"
            f" ({status.get('moves_open', '?')} open, {status.get('moves_failed', '?')} failed)")
    dead = [f"{p.name} {p.exit_text()}" for p in cluster.processes.values() if not p.is_alive()]
    return line + ("  | " + ", ".join(dead) if dead else "")


def start_traffic(cluster):
    status, answer = http_json("POST", cluster.sim_admin + "/traffic", TRAFFIC)
    if status not in (200, 202):
        raise StartError(f"the simulator refused the traffic: {status} {answer}")


def stop_traffic(cluster):
    sim = cluster.processes.get("sim")
    if sim and sim.is_alive():
        try:
            http_json("POST", cluster.sim_admin + "/traffic/stop")
        except OSError:
            pass  # it is about to be stopped anyway


def watch(cluster, seconds, stopping):
    """The live line: rewritten in place each second on a terminal, a line every five seconds elsewhere."""
    terminal, rates, dead = sys.stdout.isatty(), Rates(), set()
    end = time.monotonic() + seconds if seconds else None
    while not stopping and (end is None or time.monotonic() < end):
        line = live_line(cluster, rates)
        for p in cluster.processes.values():
            if not p.is_alive() and p.name not in dead:
                dead.add(p.name)
                lead = "\r\033[K" if terminal else ""
                print(f"{lead}{p.name} {p.exit_text()}; the others go on. Its last lines:\n{p.tail(5)}", flush=True)
        print(f"\r\033[K{line}" if terminal else line, end="" if terminal else "\n", flush=True)
        pause = 1.0 if terminal else 5.0
        until = time.monotonic() + pause
        while not stopping and time.monotonic() < min(until, end or until):
            time.sleep(0.1)
    print("", flush=True)


def main():
    args = arguments()
    run_dir = pathlib.Path(args.run_dir).resolve()
    held = lock(run_dir)
    if args.fresh:
        forget(run_dir)
    stopping = []
    cluster = Cluster(Options(run_dir=run_dir, guilds=args.guilds, postgres=args.postgres, usual_ports=True,
                              database_url=os.environ.get("DATABASE_URL", ""), discord=real_discord()),
                      say=lambda text: print(f"  {text}", flush=True))

    def on_signal(*_):
        stopping.append(1)
        if len(stopping) > 1:
            cluster.kill()
            os._exit(130)
        if not ready:
            raise KeyboardInterrupt
    ready = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    code = 0
    try:
        cluster.start()
        if not cluster.options.discord:
            cluster.wait_until_owned()
            print("  telling the bot each guild's channels, in the portal", flush=True)
            save_settings(cluster)
            if not args.no_traffic:
                start_traffic(cluster)
        print(welcome(cluster), flush=True)
        ready.append(1)
        watch(cluster, args.seconds, stopping)
    except (StartError, Wrong, OSError) as e:
        print(f"./dev up: {e}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        print("", flush=True)
    ready.append(1)
    stop_traffic(cluster)
    if not cluster.stop():
        print(f"had to be killed: {', '.join(cluster.killed)}; see their logs in {run_dir}/log", file=sys.stderr)
        code = 1
    held.close()
    return code


if __name__ == "__main__":
    sys.exit(main())

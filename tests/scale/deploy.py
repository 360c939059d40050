#!/usr/bin/env python3
"""deploy.py - every process is replaced one by one under load: nothing is lost, doubled, refused or identified anew.

    start ─▶ settings ─▶ steady events and interactions ─▶ gateways, edges, coordinators: SIGTERM, a new process, ready
          ─▶ all applied ─▶ the simulator's record against the owners' databases ─▶ one JSON line

Latency is from Discord sending a message to the log having its row, in some of the guilds; what waited for a pod to come
back is in it. Exit 1 as well when Discord could not send as much as --rate.

usage: ./dev scale deploy [--rate N] [--guilds N] [--pods N] [--interactions N] [--postgres]
"""
import json
import pathlib
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "smoke"), str(HERE.parent / "flow"), str(HERE.parent / "chaos")]
from compare import doubled_threads  # noqa: E402
from flow import (Bus, Wrong, compare_stock, expect, guilds_of, run, say, take_stock,  # noqa: E402
                  wait_until_settled)
from portal import save_settings  # noqa: E402
from processes import http_json, http_request  # noqa: E402
from rolling import Traffic, ends_of, restart_coordinators, restart_edges, restart_gateways  # noqa: E402
from wire import decode, value_of  # noqa: E402

LEAST = 0.98    # of the rate: it is an average over a minute, and what could not be sent in time is sent later
WATCHED = 10    # guilds whose logs are read along


class Watch(threading.Thread):
    """When the logs of some guilds had each message's row, as a standby sees it."""

    def __init__(self, nats_url, guilds):
        super().__init__(daemon=True)
        self.bus, self.guilds, self.seen_ms, self.ending = Bus(nats_url), guilds, {}, False
        for guild in guilds:
            self.bus.subscribe(f"tail.*.{guild}")
        self.start()

    def run(self):
        while not self.ending:
            try:
                body = self.bus.next(0.5).body
            except TimeoutError:
                continue
            now = time.time() * 1000
            for row in decode(body)[1].get("change", {}).get("rows", ()):
                if row["table"] == "message_stats" and not row.get("remove"):
                    self.seen_ms.setdefault(value_of(row["values"][1]), now)

    def latencies_ms(self, cluster):
        """Sorted; ends the watch."""
        self.ending = True
        self.join()
        self.bus.close()
        found = []
        for guild in self.guilds:
            url = f"{cluster.sim_admin}/record?kind=MESSAGE_CREATE&guild={guild}"
            for line in http_request("GET", url, timeout_s=60)[2].splitlines():
                event = json.loads(line)
                if int(event["message_id"]) in self.seen_ms:
                    found.append(self.seen_ms[int(event["message_id"])] - event["at_ms"])
        return sorted(found)


def start(flow):
    args = flow.args
    cluster = flow.cluster(guilds=args.guilds, shards=args.shards, gateways=args.pods, edges=2,
                           coordinators=2 if args.postgres else 1, postgres=args.postgres)
    save_settings(cluster)
    return cluster


def replace_all(cluster, traffic, rate):
    """How many processes are new now."""
    traffic.flows(rate * 2, 10)
    restart_gateways(cluster, traffic)
    told = restart_edges(cluster, traffic)
    restart_coordinators(cluster, traffic)
    told += [ends_of(cluster, name) for name in cluster.edge_names]
    replaced = [p.name for p in cluster.processes.values() if p.starts == 2]
    say(f"replaced: {', '.join(replaced)}")
    return len(replaced), sum(ends["failed"] + ends["error"] for ends in told)


def count_events(cluster):
    """{sent, applied, lost, duplicated}, and threads that two owners made."""
    guilds = [int(g["id"]) for g in guilds_of(cluster)]
    try:
        stock = wait_until_settled(cluster, guilds)
    except Wrong as e:
        say(str(e))
        stock = take_stock(cluster, guilds)
    total, notes, sent = compare_stock(cluster, stock)
    for note in notes:
        say(note)
    return total, doubled_threads(sent, {g: held for g, (_, _, held) in stock.items()})


def quantile(values, share):
    return round(values[int((len(values) - 1) * share)], 1) if values else None


def verdict(figures, rate):
    wrong = {name: figures[name] for name in ("lost", "duplicated", "failed", "threads_doubled", "identifies")
             if figures[name]}
    expect(not wrong, f"{wrong} ought to be 0")
    expect(figures["answered"] == figures["interactions"], "not every interaction was answered")
    expect(figures["sent"] == figures["applied"] > 0, "not everything sent was applied once")
    reached = figures["events_per_s"]
    expect(reached >= rate * LEAST, f"{reached} events/s were reached, not {rate}: the figures are those of {reached}/s")


def body(flow):
    args = flow.args
    cluster = start(flow)
    watch = Watch(cluster.nats_url, [g["id"] for g in guilds_of(cluster)][:WATCHED])
    traffic = Traffic(cluster, args.rate, args.interactions)
    replaced, refused = replace_all(cluster, traffic, args.rate)
    state = http_json("GET", cluster.sim_admin + "/traffic")[1]
    told = traffic.stop()
    total, threads = count_events(cluster)
    now, waits = traffic.sessions(), watch.latencies_ms(cluster)
    flow.figures = {**total, "events_per_s": round(state["events_sent"] * 1000 / state["elapsed_ms"]),
                    "seconds": round(state["elapsed_ms"] / 1000, 1), "interactions": told["sent"],
                    "answered": told["answered"], "failed": told["failed"] + refused, "deferred": told["deferred"],
                    "interaction_p99_ms": told["p99_ms"], "interaction_max_ms": told["max_ms"],
                    "replaced": replaced, "identifies": now["identifies"] - traffic.counts["identifies"],
                    "resumes": now["resumes"] - traffic.counts["resumes"], "threads_doubled": threads,
                    "latency_ms": {"p50": quantile(waits, 0.5), "p99": quantile(waits, 0.99), "max": quantile(waits, 1),
                                   "messages": len(waits)}}
    verdict(flow.figures, args.rate)


def options(parser):
    parser.add_argument("--rate", type=int, default=2000, metavar="N", help="events a second (2000)")
    parser.add_argument("--interactions", type=int, default=8, metavar="N", help="interactions a second (8)")
    parser.add_argument("--guilds", type=int, default=200, metavar="N")
    parser.add_argument("--pods", type=int, default=3, metavar="N", help="gateways (3)")
    parser.add_argument("--shards", type=int, default=4, metavar="N")
    parser.add_argument("--postgres", action="store_true", help="two coordinators with a PostgreSQL of their own")


if __name__ == "__main__":
    run(body, options)

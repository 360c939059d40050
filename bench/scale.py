#!/usr/bin/env python3
"""scale.py - what a bot of a given size needs, computed from what a result of ./dev bench says that things cost.

    python3 bench/scale.py bench/results/<file>.json            # Markdown, as in docs/scale.md
    python3 bench/scale.py bench/scale_input.json --guilds 300000 --events 20000
    python3 bench/scale.py bench/scale_input.json --into docs/scale.md

What a result does not hold is taken from bench/scale_input.json, and said. What is assumed stands in ASSUMED, with its
source; everything else is measured, or follows from both.
"""
import argparse
import json
import math
import pathlib
import sys

INPUT = pathlib.Path(__file__).resolve().parent / "scale_input.json"

# (guilds, events a second in the busiest hour, guilds a pod)
EVENTS_A_GUILD = 0.05
SIZES = ((10_000, 500, 1_000), (100_000, 5_000, 1_000), (1_000_000, 50_000, 1_000), (20_000_000, 100_000, 10_000))

# name: (value, why)
ASSUMED = {
    "busy_to_mean": (3, "the busiest hour by the day's mean"),
    "interactions_by_events": (0.02, "interactions an event: no public figure is known"),
    "rest_by_events": (0.005, "REST calls an event: answers to interactions are not limited and do not count"),
    "event_bytes": (1000, "a MESSAGE_CREATE as Discord sends it, in its envelope"),
    "record_bytes": (250, "an event's row in the guild's log, with its headers"),
    "replicas": (3, "of each stream"),
    "replica_cost": (2.7, "CPU of a publish to three replicas by that to one: 76-102,000/s against 31-35,000/s on the same "
                          "two cores"),
    "utilisation": (0.5, "of each core in the busiest hour"),
    "guilds_a_pod": (1000, "as in the simulation; 10,000 for the largest, as growth has them"),
    "guilds_a_shard": (1000, "Discord recommends about so many; 16 may identify each 5 s"),
    "servers": (3, "of NATS, at least"),
    "cores_a_server": (8, "of NATS"),
    "streams_gib_a_server": (32, "of memory for what streams hold, on each NATS server"),
    "subscription_bytes": (1254, "of nats-server where it is made, with a million of them"),
    "remote_subscription_bytes": (1110, "on each other server"),
    "dedupe_s": (120, "JetStream's window, as the streams are made"),
    "dedupe_bytes": (150, "of memory for each message id in it"),
    "events_hours": (168, "EVENTS_HOURS, its default"),
    "rest_limit": (50, "Discord's global limit, calls a second; raised for few"),
    "most_guilds": (4_000_000, "MOST_GUILDS of the coordinator"),
    "most_pods": (10_000, "MOST_PODS of the coordinator"),
    "stream_r3_per_s": (30_000, "publishes one stream of three replicas takes; measured on two cores for three servers and "
                                "the client, so a machine of one's own does more"),
    "sane_subscriptions": (1_000_000, "NATS's documentation: above, more than 1 GB a server"),
}


ROWS_A_MOVE = 8  # four states of the move, two of the guild with a line of history each


def assumed(name):
    return ASSUMED[name][0]


class Costs:
    """Measured unit costs, each with where it comes from."""

    def __init__(self, result, fallback):
        self.result, self.fallback, self.borrowed = result, fallback, []
        self.event_us = self.read("events", "ours", "cpu_us_each")
        self.event_nats_us = self.read("events", "ours", "cpu_us_each_by_process", "nats")
        self.pod_events = self.read("events", "ours", "per_s")
        self.interaction_us = self.read("interactions", "ours", "cpu_us_each")
        self.standby_factor = (self.read("growth", "1,000 guilds, 2 pods", "cpu_us_each")
                               / self.read("growth", "1,000 guilds, 1 pod", "cpu_us_each"))
        few, many = self.growth()
        self.pod_mib = few["idle_mib"]
        self.guild_kib = (many["idle_mib"] - few["idle_mib"]) * 1024 / (many["guilds"] - few["guilds"])
        self.nats_guild_kib = (many["nats_mib"] - few["nats_mib"]) * 1024 / (many["guilds"] - few["guilds"])
        self.stream_per_s = self.read("floors", "JetStream publish, 1,024 at a time", "per_s")
        self.placement = self.largest_simulation()

    def find(self, scenario, *keys):
        """In the result, else in the fallback; None: in neither."""
        for source in (self.result, self.fallback):
            found = source["scenarios"].get(scenario, {}).get("median")
            for key in keys:
                found = found.get(key) if isinstance(found, dict) else None
            if found is not None:
                if source is not self.result:
                    self.borrowed.append(" / ".join((scenario, *keys)))
                return found
        return None

    def largest_simulation(self):
        """What --quick simulates says little of a large bot."""
        own, other = (s["scenarios"].get("placement", {}).get("median") for s in (self.result, self.fallback))
        if other and (not own or own["the simulation"]["guilds"] < other["the simulation"]["guilds"]):
            self.borrowed += ["placement"] if self.result is not self.fallback else []
            return other
        return own or self.read("placement")

    def scenario(self, name):
        return self.read(name)

    def read(self, scenario, *keys):
        found = self.find(scenario, *keys)
        if found is None:
            raise SystemExit(f"scale.py: neither the result nor {INPUT.name} has {' / '.join((scenario, *keys))}")
        return found

    def growth(self):
        """The fewest and the most guilds on one pod."""
        pods = [f for f in self.scenario("growth").values() if f.get("pods") == 1 and "nats_mib" in f]
        if len(pods) < 2:
            raise SystemExit("scale.py: growth needs two sizes of one pod")
        return min(pods, key=lambda f: f["guilds"]), max(pods, key=lambda f: f["guilds"])


def needs(costs, guilds, events, guilds_a_pod):
    """{what: number}, in the order of the table."""
    n = {"guilds": guilds, "events": events}
    n["shards"] = math.ceil(guilds / assumed("guilds_a_shard"))
    n["identify_min"] = n["shards"] / 16 * 5 / 60
    n["interactions"] = events * assumed("interactions_by_events")
    n["rest"] = events * assumed("rest_by_events")
    event_us = costs.event_us * costs.standby_factor
    n["pod_cores"] = (events * event_us + n["interactions"] * costs.interaction_us) / 1e6 / assumed("utilisation")
    by_events = events / (costs.pod_events * assumed("utilisation"))
    n["pods"] = max(3, math.ceil(by_events), math.ceil(guilds / guilds_a_pod))
    n["pods_memory_gib"] = (n["pods"] * costs.pod_mib + 2 * guilds * costs.guild_kib / 1024) / 1024
    n["nats_cores"] = events * costs.event_nats_us / 1e6 * assumed("replica_cost") / assumed("utilisation")
    streams_gib = guilds * costs.nats_guild_kib / 2**20 * assumed("replicas")
    dedupe_gib = events * assumed("dedupe_s") * assumed("dedupe_bytes") * assumed("replicas") / 2**30
    n["servers"] = max(assumed("servers"), math.ceil(n["nats_cores"] / assumed("cores_a_server")),
                       math.ceil((streams_gib + dedupe_gib) / assumed("streams_gib_a_server")))
    n["subscriptions"] = 4 * guilds
    share = 1 / n["servers"]
    n["subscription_gib"] = n["subscriptions"] * (share * assumed("subscription_bytes") + (1 - share)
                                                  * assumed("remote_subscription_bytes")) / 2**30
    n["nats_guild_gib"], n["dedupe_gib"] = streams_gib * share, dedupe_gib * share
    n["streams_needed"] = math.ceil(events / assumed("stream_r3_per_s"))
    mean = events / assumed("busy_to_mean")
    n["events_disk_tib"] = mean * 3600 * assumed("events_hours") * assumed("event_bytes") * assumed("replicas") / 2**40
    sizes = assumed("event_bytes"), assumed("record_bytes")
    # In once; out to the other replicas, to the owner, and of the record to the standby.
    n["network_mbit"] = events * sum(sizes) * (1 + assumed("replicas") - 1 + 1) * 8 / 1e6
    n["by_partition_gbit"] = events * assumed("event_bytes") * 8 / 1e9
    n["heartbeat_rows"] = n["pods"]
    n["rack_rows"] = rack_rows(costs, guilds)
    n["leader_percent"] = leader_percent(costs, n["pods"])
    return n


def phases(costs):
    return {name: f for name, f in costs.placement.items() if "stored" in f}


def simulated(costs):
    return costs.placement["the simulation"]


def written(phase):
    return sum(n for what, n in phase["stored"].items() if what not in ("heartbeats", "commits"))


def rack_rows(costs, guilds):
    """What is written when a twentieth of the pods is lost, until each guild has an owner and its standbys."""
    lost = [f for f in phases(costs).values() if f.get("heirs")][-1]
    rows = written(lost) - ROWS_A_MOVE * lost["changes"]["rebalanced"]
    return rows / simulated(costs)["guilds"] * guilds


def leader_percent(costs, pods):
    """CPU of the leading coordinator while nothing happens: heartbeats. In proportion to the simulation's pods, so too little
    for more pods than that: a few parts of a heartbeat look at all pods."""
    every = list(phases(costs).values())
    beats = sum(f["stored"]["heartbeats"] for f in every)
    seconds = sum(f["cpu_s"]["heartbeats, leases, shards"] for f in every)
    return seconds / beats * pods * 100


ROWS = (
    ("events a second, busiest hour", "events", ",.0f"), ("interactions a second", "interactions", ",.0f"),
    ("shards", "shards", ",.0f"), ("until all have identified, min", "identify_min", ",.1f"),
    ("pods", "pods", ",.0f"), ("cores for the pods and edges", "pod_cores", ",.1f"),
    ("memory of the pods, GiB", "pods_memory_gib", ",.1f"),
    ("NATS servers", "servers", ",.0f"), ("cores for NATS", "nats_cores", ",.1f"),
    ("streams that EVENTS would have to be", "streams_needed", ",.0f"),
    ("subscriptions, by guild", "subscriptions", ",.0f"),
    ("… memory for them on each server, GiB", "subscription_gib", ",.2f"),
    ("memory for guilds' logs on each server, GiB", "nats_guild_gib", ",.1f"),
    ("memory for message ids on each server, GiB", "dedupe_gib", ",.2f"),
    ("disk for EVENTS in all, TiB", "events_disk_tib", ",.2f"),
    ("network between NATS and the rest, Mbit/s", "network_mbit", ",.0f"),
    ("… to each pod, if pods subscribed by partition, Gbit/s", "by_partition_gbit", ",.3f"),
    ("PostgreSQL: heartbeat rows a second", "heartbeat_rows", ",.0f"),
    ("PostgreSQL: rows when a twentieth of the pods is lost", "rack_rows", ",.0f"),
    ("the leading coordinator's CPU at rest, % of a core, at least", "leader_percent", ",.1f"),
)


def limits(costs):
    """(guilds, what ends there, what helps)."""
    each = EVENTS_A_GUILD
    one = needs(costs, *SIZES[2])
    by_gib = 16 / (one["nats_guild_gib"] + one["subscription_gib"] + one["dedupe_gib"])
    found = [
        (assumed("rest_limit") / assumed("rest_by_events") / each, "Discord's 50 REST calls a second",
         "answer by interactions; ask Discord for more"),
        (assumed("stream_r3_per_s") / each, "the one stream EVENTS with three replicas",
         "a stream a partition, as LOG has"),
        (assumed("sane_subscriptions") / 4, "a million subscriptions", "servers with more memory; cells"),
        (1e6 / one["events_disk_tib"], "a TiB of EVENTS on disk", "EVENTS_HOURS of a few hours"),
        (1e6 * by_gib, "16 GiB of memory on each of three NATS servers", "more servers"),
        (assumed("most_guilds"), "the coordinator's MOST_GUILDS", "the constant, and 0.6 GiB a million"),
        (assumed("most_pods") * assumed("guilds_a_pod"), "the coordinator's MOST_PODS", "more guilds a pod"),
    ]
    return sorted(found)


def table(titles, lines):
    head = ["| " + " | ".join(titles) + " |", "|---|" + "---:|" * (len(titles) - 1)]
    return "\n".join(head + ["| " + " | ".join(line) + " |" for line in lines])


def of_sizes(costs, sizes):
    every = [needs(costs, *size) for size in sizes]
    lines = [[title, *(format(n[key], form) for n in every)] for title, key, form in ROWS]
    return table(["guilds", *(f"{n['guilds']:,}" for n in every)], lines)


def of_phases(costs):
    lines = []
    for name, f in phases(costs).items():
        changes = f["changes"]
        last = f"{f['settled_s']:,.0f}" if f["settled"] else f"not within {f['simulated_s']:,.0f}"
        lines.append([name, f"{f['served_s']:,.1f}", f"{f['standbys_s']:,.0f}", last if changes["rebalanced"] else "–",
                      f"{changes['drained'] + changes['rebalanced']:,}",
                      f"{f['before']['weight']['most']:.2f} → {f['after']['weight']['most']:.2f}",
                      f"{f['before']['weight']['least']:.2f} → {f['after']['weight']['least']:.2f}",
                      f"{written(f):,}", f"{f['leader_cpu_s']:,.1f} of {f['simulated_s']:,.0f}",
                      f"{f['longest_turn_ms']:,.0f}"])
    return table(["what happens", "served, s", "standbys, s", "last move, s", "planned moves", "heaviest pod by mean",
                  "lightest", "rows", "leader's CPU, s", "longest turn, ms"], lines)


def of_costs(costs):
    lines = [["an event, CPU of the pod", f"{costs.event_us:,.1f} µs"],
             ["… with a standby and another holder, factor", f"{costs.standby_factor:.2f}"],
             ["… of NATS, one replica", f"{costs.event_nats_us:,.1f} µs"],
             ["an interaction, CPU of pod and edge", f"{costs.interaction_us:,.0f} µs"],
             ["events a second of one pod on two cores, with NATS and the simulator", f"{costs.pod_events:,.0f}"],
             ["a pod without guilds, memory", f"{costs.pod_mib:,.1f} MiB"],
             ["an idle guild, memory of its pod", f"{costs.guild_kib:,.1f} KiB"],
             ["… of NATS, with what its log and events hold", f"{costs.nats_guild_kib:,.1f} KiB"],
             ["JetStream publishes a second, one stream, one replica", f"{costs.stream_per_s:,.0f}"],
             ["a pod's heartbeat, CPU of the leading coordinator", f"{leader_percent(costs, 1) * 1e4:,.0f} µs"],
             ["a guild, memory of the leading coordinator",
              f"{memory_of_guild(costs):,.2f} KiB"]]
    return table(["measured", "cost"], lines)


def memory_of_guild(costs):
    s = simulated(costs)
    return (s["peak_memory_mib"] - s["simulation_memory_mib"]) * 1024 / s["guilds"]


def of_limits(costs):
    lines = [[what, f"{guilds:,.0f}", way] for guilds, what, way in limits(costs)]
    return table(["what ends", "at so many guilds", "what helps"], lines)


def of_assumptions():
    return table(["assumed", "value", "why"], [[name, f"{value:,}", why] for name, (value, why) in ASSUMED.items()])


def arguments():
    p = argparse.ArgumentParser(prog="bench/scale.py", description=__doc__.splitlines()[0])
    p.add_argument("result", type=pathlib.Path, help="a JSON file of ./dev bench, or bench/scale_input.json")
    p.add_argument("--guilds", type=int, help="only a bot of this size")
    p.add_argument("--events", type=float, help="… and so many events a second in the busiest hour (0.05 a guild)")
    p.add_argument("--into", type=pathlib.Path, metavar="FILE", help="put the tables there, between the lines BEGIN and END")
    args = p.parse_args()
    if args.events is not None and not args.guilds:
        p.error("--events needs --guilds")
    if (args.guilds is not None and args.guilds < 1) or (args.events is not None and args.events <= 0):
        p.error("--guilds and --events must be above 0")
    return args


def load(path):
    try:
        result = json.loads(path.read_text())
    except (OSError, ValueError) as e:
        raise SystemExit(f"scale.py: {path}: {e}") from e
    if not isinstance(result, dict) or not isinstance(result.get("scenarios"), dict):
        raise SystemExit(f"scale.py: {path} is no result of ./dev bench: it has no scenarios")
    return result


def put_into(path, parts):
    """Replaces what stands between <!-- BEGIN name --> and <!-- END name -->."""
    text = path.read_text()
    for name, part in parts.items():
        before, begin, rest = text.partition(f"<!-- BEGIN {name} -->\n")
        _old, end, after = rest.partition(f"<!-- END {name} -->")
        if not begin or not end:
            raise SystemExit(f"scale.py: {path} has no lines BEGIN and END of {name}")
        text = f"{before}{begin}{part}\n{end}{after}"
    path.write_text(text)


def main():
    args = arguments()
    fallback = load(INPUT)
    result = fallback if args.result.resolve() == INPUT else load(args.result)
    costs = Costs(result, fallback)
    each = assumed("guilds_a_pod")
    sizes = [(args.guilds, args.events or args.guilds * EVENTS_A_GUILD, each)] if args.guilds else SIZES
    parts = {"costs": of_costs(costs), "sizes": of_sizes(costs, sizes), "limits": of_limits(costs),
             "placement": of_phases(costs), "assumed": of_assumptions()}
    if costs.borrowed:
        parts["costs"] += f"\n\nNot in the result, so from {INPUT.name}: {', '.join(sorted(set(costs.borrowed)))}."
    if args.into:
        put_into(args.into, parts)
    else:
        print("\n\n".join(parts.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())

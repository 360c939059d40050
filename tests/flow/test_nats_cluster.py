#!/usr/bin/env python3
"""Three NATS servers with every stream three times: one after the other is killed, and nobody needs to do anything."""
import threading
import time

from flow import (LIMIT_S, Bus, Missing, Skipped, Wrong, expect, expect_exactly_once, http_json, run, say, serving_pod,
                  sim, start_traffic, wait_all_served, wait_for, wait_for_traffic)

STREAMS = {"EVENTS", "SNAPSHOTS", "ASSIGNMENTS", "KV_SHARDS", *(f"LOG_{n}" for n in range(16))}
GUILDS = 24
OPEN = ("wished", "warming", "ready", "cutover")
OUTCOMES = ("answered", "deferred", "error", "failed")


class Mover(threading.Thread):
    """Moves one guild after the other; while a server is away a move may fail, but each one ends."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.cluster, self.ending = cluster, threading.Event()
        self.done, self.failed, self.wrong = 0, 0, None

    def run(self):
        try:
            while not self.ending.is_set():
                for guild, pod in sorted(self.cluster.assignments().items()):
                    if self.ending.is_set():
                        return
                    self._move(guild, next(p for p in self.cluster.pods if p != pod))
        except Exception as e:  # told by check()
            self.wrong = e

    def _move(self, guild, target):
        status, answer = self.cluster.reassign(guild, target)
        if status != 202:
            time.sleep(0.2)
            return
        state = wait_for(f"the move of {guild} to {target} ends", lambda: self._end(answer["move_id"]), LIMIT_S)
        self.done += state == "done"
        self.failed += state != "done"

    def _end(self, move_id):
        state = http_json("GET", f"{self.cluster.coordinator_url}/moves/{move_id}")[1]["state"]
        return state not in OPEN and state

    def check(self):
        if self.wrong:
            raise Wrong(f"moves: {self.wrong}") from self.wrong

    def more(self, count):
        seen = self.done

        def enough():
            self.check()
            return self.done >= seen + count
        wait_for(f"{count} more moves are done", enough, LIMIT_S)

    def end(self):
        self.ending.set()
        self.join(LIMIT_S)
        self.check()


def progress(cluster):
    state = http_json("GET", cluster.sim_admin + "/traffic")[1]
    return state["events_sent"], state["interactions_sent"]


def wait_for_progress(cluster, events, interactions):
    before = progress(cluster)

    def moved_on():
        now = progress(cluster)
        return now[0] >= before[0] + events and now[1] >= before[1] + interactions
    wait_for(f"{events} more events and {interactions} more interactions", moved_on, LIMIT_S)


def outcomes(cluster):
    """How the edge ended its interactions."""
    values = cluster.metrics("edge")
    return {o: int(values.get(f'guildbus_edge_interactions_total{{outcome="{o}"}}', 0)) for o in OUTCOMES}


def check_streams(cluster):
    """Every stream three times."""
    streams = cluster.nats.streams()
    expect(set(streams) == STREAMS, f"other streams than there should be: {sorted(set(streams) ^ STREAMS)}")
    for name, s in streams.items():
        expect(s["replicas"] == 3 and len(s["others"]) == 2, f"stream {name} is not there three times: {s}")


def leads_most_logs(cluster, but):
    streams = cluster.nats.streams()
    counts = {i: sum(s["leader"] == i for name, s in streams.items() if name.startswith("LOG_"))
              for i in cluster.nats.alive if i != but}
    return max(counts, key=counts.get)


def connected_to(cluster, name):
    """The server that the program is connected to."""
    for i in cluster.nats.alive:
        connections = http_json("GET", cluster.nats.monitor_url(i) + "/connz?limit=4096")[1]["connections"]
        if any(c.get("name", "").startswith(name) for c in connections):
            return i
    raise Wrong(f"{name} has no connection to NATS")


def lose_server(flow, cluster, mover, i, why):
    """kill -9, life goes on with two, the server comes back."""
    before = outcomes(cluster)
    say(f"killing {cluster.nats.name(i)}, {why}")
    flow.kill(cluster.nats.processes[i])
    began = time.monotonic()
    with Bus(cluster.nats_url) as bus:
        wait_all_served(cluster, bus)
    say(f"all guilds answer {time.monotonic() - began:.1f} s after the kill")
    wait_for_progress(cluster, 500, 50)
    mover.more(3)
    flow.may_fail.discard(cluster.nats.processes[i])
    cluster.nats.restart(i)
    cluster.nats.wait_until_whole()
    check_streams(cluster)
    wait_for_progress(cluster, 200, 20)
    mover.more(3)
    after = outcomes(cluster)
    say(f"interactions meanwhile: { {o: after[o] - before[o] for o in OUTCOMES} }; "
        f"moves: {mover.done} done, {mover.failed} failed")


def hang_server(cluster, mover, i, why):
    """Its sockets stay open and nothing comes from them: everyone has to notice by himself."""
    before = outcomes(cluster)
    say(f"freezing {cluster.nats.name(i)}, {why}")
    cluster.nats.freeze(i)
    try:
        began = time.monotonic()
        others = ",".join(cluster.nats.url(n) for n in cluster.nats.alive if n != i)
        with Bus(others) as bus:
            wait_all_served(cluster, bus)
        say(f"all guilds answer {time.monotonic() - began:.1f} s after that")
        wait_for_progress(cluster, 500, 50)
        mover.more(3)
    finally:
        cluster.nats.thaw(i)
    cluster.nats.wait_until_whole()
    wait_for_progress(cluster, 200, 20)
    mover.more(3)
    after = outcomes(cluster)
    say(f"interactions meanwhile: { {o: after[o] - before[o] for o in OUTCOMES} }; "
        f"moves: {mover.done} done, {mover.failed} failed")


def check_interactions(cluster):
    def settled():
        told = http_json("GET", cluster.sim_admin + "/report")[1]["interactions"]
        return told["deferred"] == told["completed"] and not told["in_flight"] and told
    told = wait_for("each deferred interaction is finished", settled, LIMIT_S)
    expect(told["failed"] == 0 and told["sent"] == told["answered"], f"interactions: {told}")
    ends = outcomes(cluster)
    say(f"interactions: {ends}, simulator: {told}")
    expect(ends["failed"] == 0 and ends["error"] == 0, f"the edge could only tell people to try again: {ends}")


def agree(cluster):
    with Bus(cluster.nats_url) as bus:
        def same():
            owners = cluster.assignments()
            return len(owners) >= GUILDS and all(serving_pod(bus, g) == pod for g, pod in owners.items())
        wait_for("the coordinator and the pods agree who owns what", same, LIMIT_S)


def body(flow):
    try:
        cluster = flow.cluster(guilds=GUILDS, shards=2, gateways=2, nats_servers=3)
    except Missing as e:
        raise Skipped(f"no cluster of NATS servers: {e}") from e
    check_streams(cluster)
    mover = Mover(cluster)
    mover.start()
    start_traffic(cluster, {"events": 10_000_000, "events_per_s": 150, "interactions": 1_000_000,
                            "interactions_per_s": 15})
    wait_for_progress(cluster, 300, 30)
    mover.more(3)

    first = cluster.nats.leader("EVENTS")
    lose_server(flow, cluster, mover, first, "which leads EVENTS")
    second = leads_most_logs(cluster, but=first)
    lose_server(flow, cluster, mover, second, "which leads most logs")
    third = connected_to(cluster, "guildbus-edge")
    lose_server(flow, cluster, mover, third, "which the edge is connected to")

    hang_server(cluster, mover, connected_to(cluster, "guildbus-gateway/gw-1"), "which gw-1 is connected to")
    hang_server(cluster, mover, connected_to(cluster, "guildbus-coordinator"), "which the coordinator is connected to")

    mover.end()
    sim(cluster, "/traffic/stop", {})
    wait_for_traffic(cluster)
    check_interactions(cluster)
    expect_exactly_once(cluster)
    agree(cluster)


if __name__ == "__main__":
    run(body)

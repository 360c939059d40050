#!/usr/bin/env python3
"""The coordinator is killed while guilds move: they are served all the while, and each move ends one way or the other."""
import contextlib
import sqlite3
import threading

from flow import (LIMIT_S, Bus, NoResponders, Wrong, answers, ask_once, expect, expect_exactly_once, guilds_of,
                  http_json, run, say, serving_pod, start_traffic, wait_for, wait_for_traffic)

ENDS = ("done", "aborted", "failed")
GUILDS = 30


class Visitor(threading.Thread):
    """Asks every guild again and again, as the edge does: whoever does not answer is asked once more."""

    def __init__(self, url, guilds, pause_s=0):
        super().__init__(daemon=True)
        self.url, self.guilds, self.pause_s = url, guilds, pause_s
        self.ending = threading.Event()
        self.rounds, self.repeats, self.swallowed, self.failure = 0, 0, [], None

    def run(self):
        try:
            with Bus(self.url, "visitor") as bus:
                while not self.ending.is_set():
                    for guild in self.guilds:
                        wait_for(f"guild {guild} answers", lambda: self._asked(bus, guild), LIMIT_S)
                    self.rounds += 1
                    self.ending.wait(self.pause_s)
        except Exception as e:  # told by check()
            self.failure = e

    def _asked(self, bus, guild):
        """Only the coordinator is killed: each request gets an answer, be it that this pod is the wrong one."""
        try:
            answered = ask_once(bus, guild, {"overview": {}})
        except TimeoutError:
            self.swallowed.append(guild)
            return None
        except NoResponders:
            answered = None
        self.repeats += answered is None
        return answered

    def check(self):
        if self.failure:
            raise Wrong(f"a guild was not served: {self.failure}") from self.failure
        expect(not self.swallowed, f"requests that nobody answered, not even with an error: guilds {self.swallowed}")

    def more_rounds(self, count):
        seen = self.rounds

        def enough():
            self.check()
            return self.rounds >= seen + count
        wait_for(f"{count} rounds of answers", enough, LIMIT_S)

    def end(self):
        self.ending.set()
        self.join(LIMIT_S)
        self.check()


def wish(cluster, guild, target):
    """The id of the move. A coordinator that has just begun takes none to a pod that it has not heard yet."""
    latest = []

    def taken():
        latest[:] = cluster.reassign(guild, target)
        return latest[0] == 202
    try:
        wait_for("the move is taken", taken, LIMIT_S)
    except Wrong as e:
        raise Wrong(f"POST /reassign-guild of {guild} to {target}: {latest}") from e
    return int(latest[1]["move_id"])


def move_all(cluster, most=GUILDS):
    """Every guild, or some, to the other pod: {move id: guild}"""
    moves = {}
    for guild, pod in sorted(cluster.assignments().items())[:most]:
        target = next(p for p in cluster.pods if p != pod)
        moves[wish(cluster, guild, target)] = guild
    return moves


def states(cluster):
    """{move id: state} of the latest moves; {} while the coordinator is away."""
    try:
        return {int(m["id"]): m["state"] for m in http_json("GET", cluster.coordinator_url + "/moves?limit=500")[1]["moves"]}
    except (OSError, TypeError, KeyError):
        return {}


def wait_for_moves(cluster, moves):
    coordinator = [cluster.processes["coordinator"]]
    latest = {}

    def ended():
        latest.update(states(cluster))
        return all(latest.get(m) in ENDS for m in moves)
    wait_for("every move has ended", ended, LIMIT_S, coordinator)
    return {state: sum(latest[m] == state for m in moves) for state in ENDS}


def reasons(cluster):
    """Why moves ended early, for whoever reads a failure."""
    return [(m["id"], m["state"], m.get("error")) for m in
            http_json("GET", cluster.coordinator_url + "/moves?limit=500")[1]["moves"] if m["state"] in ENDS[1:]]


def open_moves(cluster):
    """By the tables of the coordinator, which is dead."""
    with contextlib.closing(sqlite3.connect(cluster.data_dir("coordinator") / "coordinator.sqlite3")) as db:
        marks = ",".join("?" * len(ENDS))
        return db.execute(f"SELECT count(*) FROM moves WHERE state NOT IN ({marks})", ENDS).fetchone()[0]


def one_round(flow, cluster, visitor, wishes):
    """Kills the coordinator when it has just taken so many wishes: a move takes longer than that."""
    process = cluster.processes["coordinator"]
    moves = move_all(cluster, wishes)
    flow.kill(process)
    under_way = open_moves(cluster)
    visitor.more_rounds(2)
    flow.restart(process)
    wait_for("the coordinator is ready", answers(cluster.admin_url("coordinator") + "/readyz"), LIMIT_S, [process])
    ended = wait_for_moves(cluster, moves)
    say(f"killed while {under_way} of {len(moves)} moves were under way: {ended}, {reasons(cluster)}")
    with Bus(cluster.nats_url) as bus:
        def agree():
            try:
                owners = cluster.assignments()
            except (OSError, TypeError, KeyError):  # it has stopped leading for a moment
                return False
            return len(owners) >= cluster.options.guilds and all(serving_pod(bus, g) == p for g, p in owners.items() if g)
        wait_for("the coordinator and the pods agree who owns what", agree, LIMIT_S, [process])
    return under_way


def body(flow):
    # few moves at a time, so that the kill comes into the middle
    cluster = flow.cluster(guilds=GUILDS, shards=2, gateways=2, extra_env={"guildbus-coordinator": {"MAX_MOVES": "2"}})
    visitor = Visitor(cluster.nats_url, [g["id"] for g in guilds_of(cluster)])
    visitor.start()
    start_traffic(cluster, {"events": 4000, "events_per_s": 400, "interactions": 150, "interactions_per_s": 15})
    under_way = [one_round(flow, cluster, visitor, n) for n in (1, 4, 11, GUILDS)]
    expect(any(under_way), f"no kill came while guilds moved: {under_way}")
    ended = wait_for_moves(cluster, move_all(cluster))
    expect(ended["done"] == GUILDS, f"without a kill every move is to be done: {ended}, {reasons(cluster)}")
    wait_for_traffic(cluster)
    visitor.end()
    say(f"{visitor.rounds} rounds of portal requests, {visitor.repeats} were repeated")
    expect_exactly_once(cluster)
    told = http_json("GET", cluster.sim_admin + "/report")[1]["interactions"]
    expect(told["failed"] == 0 and told["sent"] == told["answered"], f"interactions: {told}")
    expect(told["deferred"] == told["completed"], f"deferred and not completed: {told}")


if __name__ == "__main__":
    run(body)

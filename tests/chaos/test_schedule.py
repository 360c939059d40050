#!/usr/bin/env python3
"""A schedule is a function of its seed, deals every kind, and never breaks more than the design promises to survive."""
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from schedule import NATS_REST_S, PROMISE_S, VICTIM_S, World, failpoints_in, schedule  # noqa: E402

PODS, EDGES = ["gw-1", "gw-2", "gw-3"], ["edge-1", "edge-2"]
POINTS = ["source_5_sealed", "owner_3_committed", "failover_f_claimed", "coordinator_4_take_sent",
          "coordinator_f_expired"]


def world(**more):
    return World(**{"pods": PODS, "coordinators": ["coordinator-1", "coordinator-2"], "edges": EDGES, "nats": ["nats"],
                    "postgres": True, "disks": True, "clocks": True, "failpoints": POINTS, **more})


def lines(*args):
    return [fault.line() for fault in schedule(*args)]


def overlaps(faults, names):
    """The most of these that are broken at a time."""
    times = []
    for f in (f for f in faults if f.kind != "clock_step"):  # which breaks nothing
        for name in {f.on, f.more.get("victim")} & set(names):
            seconds = f.seconds if name == f.on else VICTIM_S
            times += [(f.at, 1, name), (f.at + seconds, -1, name)]
    most, broken = 0, {}
    for _, change, name in sorted(times):
        broken[name] = broken.get(name, 0) + change
        most = max(most, sum(n > 0 for n in broken.values()))
    return most


class Schedule(unittest.TestCase):
    def test_the_same_seed_is_the_same_schedule(self):
        self.assertEqual(lines(7, 300, world()), lines(7, 300, world()))
        self.assertNotEqual(lines(7, 300, world()), lines(8, 300, world()))

    def test_every_kind_has_its_turn(self):
        kinds = {f.kind for f in schedule(1, 600, world(nats=["nats-0", "nats-1", "nats-2"]))}
        self.assertEqual(kinds, {
            "gateway_kill", "disk_loss", "gateway_stop", "edge_kill", "coordinator_kill", "nats_kill", "nats_hang",
            "link_cut", "link_stall", "link_drop", "link_slow", "terminate", "rolling", "discord_drop", "failpoint",
            "zombie", "postgres_stop", "disk_full", "clock_step"})

    def test_every_failpoint_has_its_turn(self):
        fired = {f.more["name"] for f in schedule(1, 600, world()) if f.kind == "failpoint"}
        self.assertEqual(fired, set(POINTS))

    def test_what_is_not_there_is_not_broken(self):
        kinds = {f.kind for f in schedule(1, 600, world(postgres=False, disks=False, clocks=False, failpoints=[]))}
        self.assertFalse(kinds & {"postgres_stop", "disk_full", "clock_step", "failpoint", "zombie", "nats_hang"})

    def test_no_edge_dies_while_it_may_have_promises_that_nobody_else_knows(self):
        for seed in range(20):
            faults = schedule(seed, 600, world(nats=["nats-0", "nats-1", "nats-2"]))
            trouble = [(f.at, f.at + f.seconds + PROMISE_S) for f in faults
                       if f.kind in ("nats_kill", "nats_hang") or (f.kind.startswith("link") and f.on in EDGES)]
            for f in (f for f in faults if f.kind == "edge_kill"):
                self.assertFalse([t for t in trouble if t[0] <= f.at <= t[1]], f.line())

    def test_one_gateway_and_one_edge_are_always_whole(self):
        for seed in range(20):
            faults = schedule(seed, 600, world())
            self.assertLessEqual(overlaps(faults, PODS), 2, seed)
            self.assertLessEqual(overlaps(faults, EDGES), 1, seed)

    def test_one_nats_server_at_a_time_and_the_next_one_later(self):
        for seed in range(20):
            faults = [f for f in schedule(seed, 600, world(nats=["nats-0", "nats-1", "nats-2"]))
                      if f.kind.startswith("nats_")]
            for last, f in zip(faults, faults[1:]):
                self.assertGreaterEqual(f.at, last.at + last.seconds + NATS_REST_S - 0.1, seed)

    def test_it_ends_in_time(self):
        for seconds in (10, 40, 600):
            for f in schedule(3, seconds, world()):
                self.assertLess(f.at, seconds)

    def test_the_sources_name_their_failpoints(self):
        self.assertIn("owner_3_committed", failpoints_in())


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
"""A process is killed, or stopped for longer than its lease, at a failpoint: all goes on as if nothing had been.

usage: test_failpoint.py NAME kill|stop [options of flow.py]       names: grep -r 'FAILPOINT("' in the sources

    small cluster under traffic ─▶ arm at the role's process ─▶ provoke what passes there, until it has fired
      ─▶ kill: start it again · stop: go on after the lease has ended ─▶ all guilds served, each event once,
         each interaction answered, each record where it is due, no epoch with two writers
"""
import contextlib
import pathlib
import signal
import sys
import time

from flow import (HERE, LIMIT_S, Bus, Cluster, Options, answers, expect, expect_exactly_once, guilds_of,
                  http_json, run, say, start_traffic, traffic_is_over, wait_all_served, wait_for)

sys.path.insert(1, str(HERE.parent / "chaos"))
from check_log import check_chain, check_writers  # noqa: E402
from history import History, to_record  # noqa: E402
from nats_link import Link, read_stream, stream_names  # noqa: E402
from verdict import Verdict  # noqa: E402

LEASE_MS, UNSEAL_MS = 1000, 300
BACK_S = 3.0             # a guild's rows go 1.5 s after it was moved
STOPPED_S = 2.0          # longer than the lease and what the coordinator adds to it
BIG_GUILD = 8000         # messages: its snapshot needs chunks
NEED_CHUNKS = ("snapshot_chunk", "target_1_restoring")


class Stage(Cluster):
    """Every process has a folder of failpoints of its own."""

    def failpoint(self, process, name=""):
        return self.run_dir / "failpoints" / process / name

    def _program(self, name, program, env, what):
        self.failpoint(name).mkdir(parents=True, exist_ok=True)
        return super()._program(name, program, {**env, "FAILPOINT_DIR": self.failpoint(name)}, what)


def state_of(process):
    """As ps shows it: T is stopped."""
    try:
        return pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


class Play:
    def __init__(self, flow, cluster, name, action):
        self.flow, self.cluster, self.name, self.action = flow, cluster, name, action
        self.role = name.split("_")[0]
        owners = cluster.assignments()
        self.guilds = sorted(owners)
        self.source = owners[int(guilds_of(cluster)[0]["id"])]  # the guild that fill() makes large
        self.target = next(pod for pod in cluster.pods if pod != self.source)
        self.helpers = []  # stopped so that the failpoint is reached
        self.next_at, self.moved = 0, False

    # ---- who passes there ----

    def process_name(self):
        """Moves go from the source to the target; the target survives the source."""
        return {"source": self.source, "owner": self.source, "snapshot": self.source, "target": self.target,
                "failover": self.target, "coordinator": "coordinator"}[self.role]

    def arm(self, process, name, action):
        path = self.cluster.failpoint(process, name)
        draft = path.with_suffix(".draft")
        draft.write_text(action + "\n")
        draft.rename(path)
        return path

    def provoke(self):
        """Once more what passes there; called until the failpoint has fired."""
        if self.role in ("owner", "snapshot"):
            return  # the traffic does it
        with contextlib.suppress(OSError):  # the coordinator may be what has just been killed
            if self.role == "failover" or self.name.startswith("coordinator_f_"):
                self.lose_source()
            else:
                self.move()

    def move(self):
        """One guild from source to target; when the source has none left, some go back, and after a while come again:
        a guild that returns at once is not forgotten by who had it."""
        if time.monotonic() < self.next_at:
            return
        for guild, pod in self.cluster.assignments().items():
            if pod == self.source:
                self.reassign(guild, self.target)
                self.moved = True
                return
        self.next_at = time.monotonic() + BACK_S
        for guild in [] if self.moved else self.guilds[:3]:
            self.reassign(guild, self.source)
        self.moved = False

    def reassign(self, guild, pod):
        http_json("POST", self.cluster.coordinator_url + "/reassign-guild", {"guild_id": str(guild), "pod_id": pod},
                  {"Authorization": "Bearer " + self.cluster.secret("coordinator_token")}, timeout_s=1)

    def lose_source(self):
        """The target is to take what the source had."""
        if self.cluster.processes[self.source].is_alive() and self.source in self.cluster.assignments().values():
            self.flow.kill(self.cluster.processes[self.source])

    def prepare(self):
        if self.name.startswith("source_9_"):  # the target is silent: the source takes the guild back
            self.helpers.append((self.target, self.arm(self.target, "target_6_seal_seen", "stop")))
        if self.name in NEED_CHUNKS:
            fill(self.cluster)

    # ---- the play ----

    def run(self):
        name = self.process_name()
        process = self.cluster.processes[name]
        self.prepare()
        start_traffic(self.cluster, {"events": 10**6, "events_per_s": 150, "interactions": 10**6,
                                     "interactions_per_s": 15, "interactions_in_flight": 64})
        armed = self.arm(name, self.name, self.action)

        def fired():
            if armed.exists():
                self.provoke()
                return False
            return True
        wait_for(f"somebody comes by {self.name}", fired, LIMIT_S, interval_s=0.1)
        say(f"{self.name} has fired: {self.action} on {name}")
        self.recover(process)
        self.come_back()

    def recover(self, process):
        if self.action == "kill":
            wait_for(f"{process.name} is dead", lambda: not process.is_alive(), LIMIT_S)
            self.flow.may_fail.add(process)
            self.flow.restart(process)
            return
        wait_for(f"{process.name} is stopped", lambda: state_of(process) == "T", LIMIT_S)
        time.sleep(STOPPED_S)  # not a wait for something: others are to go on without it for so long
        process.send(signal.SIGCONT)

    def come_back(self):
        """Helpers go on, what was lost is started again."""
        for name, armed in self.helpers:
            armed.unlink(missing_ok=True)
            self.cluster.processes[name].send(signal.SIGCONT)
        for name in (self.source, self.target, "coordinator"):
            process = self.cluster.processes[name]
            if not process.is_alive():
                self.flow.restart(process)
            wait_for(f"{name} is ready", answers(self.cluster.admin_url(name) + "/readyz"), LIMIT_S, [process])

    # ---- the end ----

    def settle(self):
        with Bus(self.cluster.nats_url) as bus:
            wait_all_served(self.cluster, bus)
        http_json("POST", self.cluster.sim_admin + "/traffic/stop")
        self.expect_answers()
        expect_exactly_once(self.cluster)
        self.expect_good_logs()

    def expect_answers(self):
        def settled():
            told = http_json("GET", self.cluster.sim_admin + "/report")[1]["interactions"]
            expect(not told["failed"], f"interactions failed: {told}")
            return not told["in_flight"] and told["deferred"] == told["completed"] and told
        told = wait_for("every interaction is answered and every deferral finished", settled, LIMIT_S)
        expect(traffic_is_over(self.cluster), "the traffic goes on")
        say(f"interactions: {told['sent']} sent, {told['answered']} answered, {told['deferred']} of them deferred")

    def expect_good_logs(self):
        history, verdict = History(), Verdict()
        with Link(self.cluster.nats_url) as link:
            streams = [name for name in stream_names(link) if name.startswith("LOG_")]
        for stream in streams:
            for m in read_stream(self.cluster.nats_url, stream):
                r = to_record(m.body, m.seq)
                history.records.setdefault(r.guild, []).append(r)
        for guild, records in history.records.items():
            if records[0].kind == "snapshot":  # it stands for those before it
                history.holes[guild] = set(range(1, records[0].seq))
            check_chain(history, verdict, guild, records)
            check_writers(verdict, guild, records)
        expect(verdict.figures["records"] > 0, "the logs are empty")
        expect(not verdict.violations, "\n".join(v.line() for v in verdict.violations))
        say(f"logs: {verdict.figures['records']} records, {verdict.figures['epochs']} epochs, each with one writer")


def fill(cluster):
    """The first guild becomes large."""
    mix = {kind: 0 for kind in ("update", "delete", "react", "unreact", "join", "typing")}
    start_traffic(cluster, {"events": BIG_GUILD, "interactions": 0, "guilds": 1, "mix": mix})
    wait_for("the guild is filled", lambda: traffic_is_over(cluster), LIMIT_S)


def body(flow):
    cluster = Stage(Options(run_dir=flow.folder / "cluster", bin_dir=flow.bin_dir, guilds=6, shards=1, gateways=2,
                            lease_ms=LEASE_MS, extra_env={
                                "guildbus-gateway": {"UNSEAL_MS": UNSEAL_MS, "SNAPSHOT_RECORDS": 10},
                                "guildbus-coordinator": {"GUILDBUS_STANDBYS": 0}}))  # so that rows come and go
    flow.clusters.append(cluster)
    flow.start(cluster)
    play = Play(flow, cluster, flow.args.name, flow.args.action)
    play.run()
    play.settle()


def options(parser):
    parser.add_argument("name", help="a failpoint")
    parser.add_argument("action", choices=("kill", "stop"))


if __name__ == "__main__":
    run(body, options)

#!/usr/bin/env python3
"""Every process is restarted one by one under traffic, and one pod of many guilds is drained: nobody notices.

Gateways, edges and coordinators end by SIGTERM and come back, as a rolling update does it. No interaction fails, no
shard is identified anew, every event is applied once. --guilds and --drained choose the size, --only one of the two
parts.
"""
import time

from flow import (Bus, answers, expect, expect_exactly_once, http_json, run, say, serving_pod, sim, start_traffic,
                  wait_for, wait_for_traffic)

LIMIT_S = 600
GATEWAYS = 3


class Traffic:
    """Events and interactions all the while."""

    def __init__(self, cluster, events_per_s=200, interactions_per_s=20):
        self.cluster = cluster
        self.counts = self._sessions()
        start_traffic(cluster, {"events": 100_000_000, "events_per_s": events_per_s, "interactions": 10_000_000,
                                "interactions_per_s": interactions_per_s})

    def _sessions(self):
        return http_json("GET", self.cluster.sim_admin + "/gateway")[1]["counts"]

    def _sent(self):
        state = http_json("GET", self.cluster.sim_admin + "/traffic")[1]
        return state["events_sent"], state["interactions_sent"]

    def flows(self, events, interactions):
        before = self._sent()

        def moved_on():
            now = self._sent()
            return now[0] >= before[0] + events and now[1] >= before[1] + interactions
        wait_for(f"{events} more events and {interactions} more interactions", moved_on, LIMIT_S)

    def end(self):
        sim(self.cluster, "/traffic/stop", {})
        wait_for_traffic(self.cluster, LIMIT_S)

        def finished():
            told = http_json("GET", self.cluster.sim_admin + "/report")[1]["interactions"]
            return told["deferred"] == told["completed"] and not told["in_flight"] and told
        told = wait_for("each interaction has its answer, and each deferred interaction is finished", finished, LIMIT_S)
        shown = ("sent", "answered", "deferred", "failed", "p50_ms", "p99_ms", "max_ms")
        say(f"interactions: { {k: told[k] for k in shown} }")
        expect(told["failed"] == 0 and told["sent"] == told["answered"], f"interactions failed: {told}")
        expect_exactly_once(self.cluster)
        now = self._sessions()
        say(f"IDENTIFYs {self.counts['identifies']} before and {now['identifies']} after, "
            f"RESUMEs {self.counts['resumes']} and {now['resumes']}")
        expect(now["identifies"] == self.counts["identifies"], f"identified anew: {self.counts}, then {now}")


def expect_nobody_was_told_to_try_again(told):
    """Edges that ended told their last numbers before."""
    expect(all(ends["failed"] == ends["error"] == 0 for ends in told), f"interactions that could not be done: {told}")


def ends_of(cluster, edge):
    values = cluster.metrics(edge)
    return {o: int(values.get(f'guildbus_edge_interactions_total{{outcome="{o}"}}', 0))
            for o in ("answered", "deferred", "error", "failed")}


def terminate(process):
    """Its end by SIGTERM, in seconds."""
    began = time.monotonic()
    expect(process.stop(timeout_s=120), f"{process.name} does not end:\n{process.tail()}")
    expect(process.popen.returncode == 0, f"{process.name} {process.exit_text()} after SIGTERM:\n{process.tail()}")
    return time.monotonic() - began


def start_again(cluster, process):
    process.start()
    wait_for(f"{process.name} is ready", answers(cluster.admin_url(process.name) + "/readyz"), LIMIT_S, [process])


def owned(cluster):
    """{pod: guilds} by the coordinator's tables"""
    owners = list(cluster.assignments().values())
    return {pod: owners.count(pod) for pod in cluster.pods}


def held(process, word):
    return sum(f"event={word}" in line for line in process.log_text().splitlines())


def restart_gateways(cluster, traffic):
    for pod in cluster.pods:
        process, guilds = cluster.processes[pod], owned(cluster)[pod]
        took = terminate(process)
        late = held(process, "drain_deadline")
        say(f"{pod} with {guilds} guilds ended after {took:.1f} s, {'late' if late else 'drained'}")
        expect(owned(cluster)[pod] == 0, f"{pod} has gone and owns {owned(cluster)[pod]} guilds")
        traffic.flows(100, 10)
        start_again(cluster, process)
        traffic.flows(100, 10)


def restart_edges(cluster, traffic):
    """A load balancer sends nothing to an edge that is about to go."""
    told = []
    for name in cluster.edge_names:
        other = next(e for e in cluster.edge_names if e != name)
        cluster.send_interactions_to(other)
        traffic.flows(10, 5)
        told.append(ends_of(cluster, name))
        say(f"{name} ended after {terminate(cluster.processes[name]):.1f} s")
        start_again(cluster, cluster.processes[name])
        traffic.flows(100, 10)
    return told


def leader(cluster):
    for name in cluster.coordinator_names:
        url = f"http://127.0.0.1:{cluster.ports[name]}/status"
        try:
            if (http_json("GET", url, timeout_s=3)[1] or {}).get("leader"):
                return True
        except OSError:
            continue
    return False


def restart_coordinators(cluster, traffic):
    for name in cluster.coordinator_names:
        process = cluster.processes[name]
        say(f"{name} ended after {terminate(process):.1f} s")
        began = time.monotonic()
        wait_for("another one leads", lambda: leader(cluster), LIMIT_S)
        say(f"another one leads {time.monotonic() - began:.1f} s later")
        traffic.flows(100, 10)
        start_again(cluster, process)
        traffic.flows(100, 10)


def roll(flow):
    cluster = flow.cluster(guilds=flow.args.guilds, shards=4, gateways=GATEWAYS, edges=2, coordinators=2,
                           postgres=True)
    traffic = Traffic(cluster)
    traffic.flows(200, 20)
    restart_gateways(cluster, traffic)
    told = restart_edges(cluster, traffic)
    restart_coordinators(cluster, traffic)
    told += [ends_of(cluster, name) for name in cluster.edge_names]
    traffic.end()
    expect_nobody_was_told_to_try_again(told)


def drain(flow):
    """The pod with the most guilds leaves."""
    guilds = flow.args.drained * 2
    cluster = flow.cluster(guilds=guilds, members=8, shards=2, gateways=2, capacity=guilds * 2,
                           postgres=flow.args.postgres, extra_env={"guildbus-gateway": {"DRAIN_MS": 300_000}})
    traffic = Traffic(cluster, events_per_s=600, interactions_per_s=60)
    traffic.flows(600, 60)
    counts = owned(cluster)
    pod = max(counts, key=counts.get)
    process = cluster.processes[pod]
    took = terminate(process)
    expect(not held(process, "drain_deadline"), f"{pod} left guilds behind:\n{process.tail()}")
    say(f"{pod} handed {counts[pod]} guilds over in {took:.1f} s, {counts[pod] / took:.0f}/s")
    other = next(p for p in cluster.pods if p != pod)
    expect(owned(cluster) == {pod: 0, other: guilds}, f"owners afterwards: {owned(cluster)}")
    traffic.flows(200, 20)
    with Bus(cluster.nats_url) as bus:
        for guild in cluster.assignments():
            expect(serving_pod(bus, guild) == other, f"guild {guild} is not served by {other}")
    told = [ends_of(cluster, "edge")]
    traffic.end()
    expect_nobody_was_told_to_try_again(told)
    forgive(flow, cluster)


def forgive(flow, cluster):
    """The gateway that was drained has ended already."""
    for p in cluster.processes.values():
        if not p.is_alive():
            flow.may_fail.add(p)


def body(flow):
    if flow.args.only in ("", "roll"):
        roll(flow)
    if flow.args.only in ("", "drain"):
        drain(flow)


def options(parser):
    parser.add_argument("--guilds", type=int, default=60, help="of the rolling restart (60)")
    parser.add_argument("--drained", type=int, default=150, help="guilds of the pod that is drained (150)")
    parser.add_argument("--postgres", action="store_true", help="the drain too with a PostgreSQL")
    parser.add_argument("--only", choices=("roll", "drain"), default="", help="one of the two parts")


if __name__ == "__main__":
    run(body, options)

"""rolling.py - every process of a cluster is replaced under traffic, one after the other, as a rolling update does it.

A pod ends by SIGTERM and a new process is started with its name and disk; the next one waits until that is ready.
"""
import time

from flow import answers, expect, expect_exactly_once, http_json, say, sim, start_traffic, wait_for, wait_for_traffic

LIMIT_S = 600


class Traffic:
    """Events and interactions all the while."""

    def __init__(self, cluster, events_per_s=200, interactions_per_s=20):
        self.cluster = cluster
        self.counts = self.sessions()
        start_traffic(cluster, {"events": 100_000_000, "events_per_s": events_per_s, "interactions": 10_000_000,
                                "interactions_per_s": interactions_per_s})

    def sessions(self):
        """IDENTIFYs, RESUMEs and so on until now"""
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

    def stop(self):
        """What became of the interactions, once each is answered and each deferred one is finished."""
        sim(self.cluster, "/traffic/stop", {})
        wait_for_traffic(self.cluster, LIMIT_S)

        def finished():
            told = http_json("GET", self.cluster.sim_admin + "/report")[1]["interactions"]
            return told["deferred"] == told["completed"] and not told["in_flight"] and told
        told = wait_for("each interaction has its answer, and each deferred interaction is finished", finished, LIMIT_S)
        shown = ("sent", "answered", "deferred", "failed", "p50_ms", "p99_ms", "max_ms")
        say(f"interactions: { {k: told[k] for k in shown} }")
        return told

    def end(self):
        told = self.stop()
        expect(told["failed"] == 0 and told["sent"] == told["answered"], f"interactions failed: {told}")
        expect_exactly_once(self.cluster)
        now = self.sessions()
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
        if len(cluster.coordinator_names) == 1:
            start_again(cluster, process)
        began = time.monotonic()
        wait_for("one leads", lambda: leader(cluster), LIMIT_S)
        say(f"one leads {time.monotonic() - began:.1f} s later")
        traffic.flows(100, 10)
        if not process.is_alive():
            start_again(cluster, process)
        traffic.flows(100, 10)

#!/usr/bin/env python3
"""The bot goes over to other counts of shards under traffic: nothing is lost, nothing takes effect twice.

2 to 5 shards as an operator asks for it, with interactions by the endpoint; 5 to 3 with interactions over the gateway; 3
to 4 with a pod killed in the middle; 4 to 6 because Discord recommends it, with the coordinator killed in the middle; 6 to
4 while each gateway is restarted. Each costs as many IDENTIFYs as there are new shards. What stands in EVENTS is read as
it comes: of each guild, one set of shards after the other, each going on where the one before ended or a little before.
"""
import json
import os
import subprocess
import sys
import threading
import time

from flow import (LIMIT_S, Bus, HERE, Held, Sent, Wrong, compare_rows, expect, http_json, read_owners, read_record,
                  record, run, say, sim, start_traffic, stored_events, wait_for, wait_for_traffic)
from rolling import start_again, terminate

sys.path.insert(0, str(HERE.parent / "chaos"))
from wire import PROTO, Schema  # noqa: E402

GUILDS, EVENTS_PER_S, INTERACTIONS_PER_S = 20, 200, 20
PAYLOAD_ID = {"MESSAGE_REACTION_ADD": "message_id", "MESSAGE_REACTION_REMOVE": "message_id"}


def is_compared(kind):
    return kind.startswith("MESSAGE_") or kind == "GUILD_MEMBER_ADD"


class Listener(threading.Thread):
    """What EVENTS stores, in its order: {guild: [(session, type, message or user)]}"""

    def __init__(self, url):
        super().__init__(daemon=True)
        self.bus = Bus(url, "listener")
        self.bus.subscribe("feed.>")
        self.schema = Schema(PROTO.read_text())
        self.guilds, self.ending, self.failure = {}, threading.Event(), None

    def run(self):
        try:
            while not self.ending.is_set():
                try:
                    self.take(self.bus.next(0.5))
                except TimeoutError:
                    continue
        except Exception as e:  # told by end()
            self.failure = e

    def take(self, message):
        event = self.schema.decode("Envelope", message.body)["event"]
        if not is_compared(event["type"]):
            return
        d = json.loads(event["payload_json"])
        about = d["user"]["id"] if event["type"] == "GUILD_MEMBER_ADD" else d[PAYLOAD_ID.get(event["type"], "id")]
        line = event.get("session"), event["type"], about
        self.guilds.setdefault(int(event["guild_id"]), []).append(line)

    def end(self):
        self.ending.set()
        self.join(LIMIT_S)
        self.bus.close()
        if self.failure:
            raise Wrong(f"the listener failed: {self.failure}") from self.failure


def segments(lines):
    """[(session, [what])]: one after the other."""
    found = []
    for session, *what in lines:
        if not found or found[-1][0] != session:
            found.append((session, []))
        found[-1][1].append(tuple(what))
    return found


def check_order(guild, sent, lines):
    """How many came twice."""
    found = segments(lines)
    names = [session for session, _ in found]
    expect(len(set(names)) == len(names), f"guild {guild}: sessions come back: {names}")
    at = twice = 0
    for session, said in found:
        begin = next((b for b in range(at, -1, -1) if sent[b:b + len(said)] == said and b + len(said) >= at), None)
        if begin is None:
            raise Wrong(f"guild {guild}: session {session} does not go on where the one before ended: {len(said)} events "
                        f"after {at} of {len(sent)}\nsent {sent[max(0, at - 40):]}\nsaid {said}")
        twice += at - begin
        at = begin + len(said)
    expect(at == len(sent), f"guild {guild}: {len(sent) - at} of {len(sent)} events are missing at the end")
    return twice


def sent_lines(lines):
    guilds = {}
    for line in lines:
        d = json.loads(line)
        if is_compared(d["type"]):
            about = d["user_id"] if d["type"] == "GUILD_MEMBER_ADD" else d["message_id"]
            guilds.setdefault(int(d["guild_id"]), []).append((d["type"], about))
    return guilds


def settle(cluster):
    """All that is stored is applied, no call to Discord waits: {guild: Held}"""
    held = {}

    def settled():
        stored = stored_events(cluster)
        held.clear()
        held.update(read_owners(cluster.assignments(), cluster.data_dir))
        return all(guild in held and held[guild].applied == n and not held[guild].waiting
                   for guild, n in stored.items() if guild)
    wait_for("all that is stored is applied", settled, LIMIT_S, interval_s=0.5)
    return held


def differences(sent, held):
    """[(message, reactions that it should have, that it has)]; None: no row"""
    messages = sorted(set(sent.rows) | sent.gone | set(held.rows))
    return [(m, sent.rows.get(m), held.rows.get(m)) for m in messages if sent.rows.get(m) != held.rows.get(m)][:10]


def judge(cluster, listener):
    lines = record(cluster)
    sent = sent_lines(lines)
    twice = sum(check_order(guild, sent[guild], listener.guilds.get(guild, [])) for guild in sent if guild)
    held = settle(cluster)
    for guild, of in read_record(lines).items():
        if guild:
            lost, doubled = compare_rows(of, held.get(guild, Held()))
            expect(not lost and not doubled, f"guild {guild}: effects lost {lost}, doubled {doubled} (message, reactions that "
                   f"it should have, that it has): {differences(of, held.get(guild, Held()))}")
            threads = of.threads - held[guild].threads if guild in held else 0
            expect(threads <= 0, f"guild {guild}: {threads} threads were made twice")
    total = sum(len(of) for of in sent.values())
    expect(total, "no events were sent")
    say(f"{total} events sent, {twice} came twice, each took effect once")


def compare(cluster, listener):
    """All is as it should be in the end.

    What the simulator still repeats is in its record and here at different moments. A pod may hear late that it may publish
    what it keeps: until it has, a message that was deleted may be back for a moment, or not all is there.
    """
    for left in range(20, -1, -1):
        try:
            judge(cluster, listener)
            return
        except Wrong as e:
            if not left:
                raise
            say(f"not yet: {str(e)[:300]}")
            time.sleep(0.5)


def guildbusctl(flow, cluster, *words, code=0):
    env = {**os.environ, "CONFIG_SERVICE_URL": cluster.coordinator_url,
           "COORDINATOR_TOKEN_FILE": str(cluster.secret_file("coordinator_token"))}
    done = subprocess.run([flow.program("guildbusctl"), *words], env=env, capture_output=True, text=True, timeout=60,
                          check=False)
    expect(done.returncode == code, f"guildbusctl {words}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def counts(cluster):
    return http_json("GET", cluster.sim_admin + "/gateway")[1]["counts"]


def stage(cluster):
    return cluster.status().get("reshard") or ""


def wait_for_shards(cluster, count):
    """The coordinator's word, and each new shard's connection; the former ones are gone."""
    wait_for(f"there are {count} shards", lambda: cluster.status().get("shard_count") == count, LIMIT_S)

    def alone():
        found = http_json("GET", cluster.sim_admin + "/gateway")[1]["sessions"]
        return sorted(s["shard"] for s in found if s["connected"]) == [[i, count] for i in range(count)]
    wait_for(f"only the {count} shards are connected", alone, LIMIT_S)


class Load:
    """Events and interactions all the while."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.began = counts(cluster)["identifies"]
        start_traffic(cluster, {"events": 10_000_000, "events_per_s": EVENTS_PER_S, "interactions": 1_000_000,
                                "interactions_per_s": INTERACTIONS_PER_S})
        self.flows()

    def flows(self):
        before = http_json("GET", self.cluster.sim_admin + "/traffic")[1]["events_sent"]
        wait_for("events flow", lambda: http_json("GET", self.cluster.sim_admin + "/traffic")[1]["events_sent"]
                 > before + 2 * EVENTS_PER_S, LIMIT_S)

    def end(self, listener, identifies):
        self.flows()
        sim(self.cluster, "/traffic/stop", {})
        wait_for_traffic(self.cluster)

        def finished():
            told = http_json("GET", self.cluster.sim_admin + "/report")[1]["interactions"]
            return told["deferred"] == told["completed"] and not told["in_flight"] and told
        told = wait_for("each interaction is finished", finished, LIMIT_S)
        shown = ("sent", "answered", "deferred", "failed", "by_gateway", "p50_ms", "p99_ms", "max_ms")
        say(f"interactions: { {k: told[k] for k in shown if k in told} }")
        expect(told["failed"] == 0 and told["sent"] == told["answered"], f"interactions failed: {told}")
        used = counts(self.cluster)["identifies"] - self.began
        expect(used == identifies, f"{used} IDENTIFYs for {identifies} new shards")
        compare(self.cluster, listener)
        return told


def by_operator(flow, cluster, listener):
    said = guildbusctl(flow, cluster, "reshard", "5", "--dry-run")
    expect("from 2 to 5 shards: it could begin now" in said, said)
    expect("2000 shards need as many session starts" in guildbusctl(flow, cluster, "reshard", "2000", code=5), "budget")
    load = Load(cluster)
    guildbusctl(flow, cluster, "reshard", "5")
    wait_for_shards(cluster, 5)
    told = load.end(listener, 5)
    executed = sum(cluster.metrics(pod).get("guildbus_interactions_total", 0) for pod in cluster.pods)
    expect(executed <= told["sent"], f"{executed} interactions executed of {told['sent']}")
    expect("resharded" in guildbusctl(flow, cluster, "history", "0"), "history")


def over_the_gateway(flow, cluster, listener):
    sim(cluster, "/interactions-url", {"url": None}, "PUT")
    load = Load(cluster)
    guildbusctl(flow, cluster, "reshard", "3")
    wait_for_shards(cluster, 3)
    told = load.end(listener, 3)
    expect(told["by_gateway"] > 0, f"none came over the gateway: {told}")
    cluster.send_interactions_to("edge")


def with_a_pod_killed(flow, cluster, listener):
    load = Load(cluster)
    guildbusctl(flow, cluster, "reshard", "4")
    wait_for("all next shards are ready", lambda: "4 of 4 ready" in stage(cluster), LIMIT_S, interval_s=0.05)
    pods = http_json("GET", cluster.coordinator_url + "/pod-health")[1]["pods"]
    pod = next(p["pod_id"] for p in pods if p["next_shards"] and p["shards"])
    say(f"killing {pod}: {stage(cluster)}")
    flow.kill(cluster.processes[pod])
    wait_for_shards(cluster, 4)
    flow.restart(cluster.processes[pod])
    load.end(listener, 4)


def with_the_coordinator_killed(flow, cluster, listener):
    """Discord recommends half as many more, and says so to the pod that asks next."""
    load = Load(cluster)
    sim(cluster, "/gateway", {"shards": 6})
    pod = cluster.processes[cluster.pods[-1]]
    flow.kill(pod)
    flow.restart(pod)
    wait_for("it goes over", lambda: "keeping" in stage(cluster) or "retiring" in stage(cluster), LIMIT_S,
             interval_s=0.01)
    say(f"killing the coordinator: {stage(cluster)}")
    flow.kill(cluster.processes["coordinator"])
    time.sleep(3)  # the shards keep what comes, or have retired
    flow.restart(cluster.processes["coordinator"])
    wait_for_shards(cluster, 6)
    load.end(listener, 6)


def with_a_rolling_restart(flow, cluster, listener):
    """From the moment when all could begin to keep, so that no session is lost before it is known."""
    load = Load(cluster)
    guildbusctl(flow, cluster, "reshard", "4")
    wait_for("all next shards are ready", lambda: "4 of 4 ready" in stage(cluster), LIMIT_S, interval_s=0.05)
    for pod in cluster.pods:
        terminate(cluster.processes[pod])
        say(f"{pod} has ended: {stage(cluster) or 'over'}")
        start_again(cluster, cluster.processes[pod])
    wait_for_shards(cluster, 4)
    load.end(listener, 4)


def body(flow):
    cluster = flow.cluster(gateways=3, guilds=GUILDS, shards=2, capacity=100)
    sim(cluster, "/mischief", {"seed": 3, "repeat_permille": 30})  # Discord may say a thing twice, too
    listener = Listener(cluster.nats_url)
    listener.start()
    for part in (by_operator, over_the_gateway, with_a_pod_killed, with_the_coordinator_killed,
                 with_a_rolling_restart):
        part(flow, cluster, listener)
    listener.end()
    expect(counts(cluster)["closed_1000_by_client"] == 0, "a session was closed with 1000 or 1001")


if __name__ == "__main__":
    run(body)

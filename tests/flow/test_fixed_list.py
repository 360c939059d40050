#!/usr/bin/env python3
"""A gateway with ASSIGNED_GUILDS and no coordinator owns those guilds, serves them and applies their events.

It makes the streams itself. Where NATS has users (--users) a gateway may not: a coordinator has run once.
"""
import shutil

from flow import (LIMIT_S, Bus, Cluster, NoResponders, Options, answers, ask, expect, expect_exactly_once, free_port, guilds_of, interact,
                  run, say, say_in, start_traffic, wait_for, wait_for_traffic)

POD = "gw-1"


class FixedCluster(Cluster):
    """All but a coordinator; the guilds are those of the simulator, less the last one."""

    def _start_coordinator(self, name):
        if self.auth:
            super()._start_coordinator(name)
            expect(self.processes.pop(name).stop(), "the coordinator had to be killed")
        self.ports["coordinator"] = free_port()  # nobody listens there

    def start_gateway(self, pod):
        self.listed = [g["id"] for g in guilds_of(self)][:-1]
        self.options.extra_env["guildbus-gateway"] = {"ASSIGNED_GUILDS": ",".join(self.listed)}
        super().start_gateway(pod)

    def assignments(self):
        return {int(guild): POD for guild in self.listed}


def counts(bus, cluster):
    """{guild: (epoch, events, messages)}"""
    found = {}
    for guild in cluster.listed:
        a = wait_for(f"guild {guild} answers", lambda: ask(bus, guild, {"overview": {}}), LIMIT_S,
                     [cluster.processes[POD]])
        expect(a["pod"] == POD, f"guild {guild} is served by {a['pod']}")
        found[guild] = int(a["epoch"]), int(a["overview"].get("messages", 0)), a["overview"]["name"]
    return found


def start_again(flow, cluster, bus, with_disk):
    """The same guilds with the same rows, one epoch on."""
    before = counts(bus, cluster)
    process = cluster.processes[POD]
    flow.kill(process)
    if not with_disk:
        shutil.rmtree(cluster.data_dir(POD))
        cluster.data_dir(POD).mkdir()
    flow.restart(process)
    wait_for(f"{POD} is ready", answers(cluster.admin_url(POD) + "/readyz"), LIMIT_S, [process])
    after = counts(bus, cluster)
    for guild, (epoch, *rows) in before.items():
        expect(after[guild][0] > epoch and list(after[guild][1:]) == rows, f"guild {guild}: {before[guild]}, then "
                                                                           f"{after[guild]}")
    say(f"started again {'with' if with_disk else 'without'} its disk: the same rows")


def more(cluster, events):
    start_traffic(cluster, {"events": events, "events_per_s": 1000, "interactions": 20, "interactions_per_s": 20,
                            "guilds": len(cluster.listed)})
    wait_for_traffic(cluster)
    expect_exactly_once(cluster, cluster.listed)


def body(flow):
    cluster = FixedCluster(Options(run_dir=flow.folder / "cluster", bin_dir=flow.bin_dir, gateways=1, guilds=5,
                                   shards=2, nats_users=flow.args.users))
    flow.clusters.append(cluster)
    cluster.start()
    bus = Bus(cluster.nats_url)
    *owned, other = guilds_of(cluster)
    counts(bus, cluster)
    more(cluster, 1000)
    done = interact(cluster, "modreport", owned[0], owned[0]["moderator_id"], target=owned[0]["member_ids"][0])
    expect(done["fate"] == "answered", f"/modreport: {done}")
    start_again(flow, cluster, bus, with_disk=True)
    start_again(flow, cluster, bus, with_disk=False)
    more(cluster, 300)

    say_in(cluster, other, "nobody owns us")
    try:
        answer = bus.request(f"guild.{other['id']}.portal", b"{}", {"Content-Type": "application/json"})
        expect(False, f"a guild that is not on the list answers: {answer}")
    except NoResponders:
        say("a guild that is not on the list has no owner")
    bus.close()


run(body, lambda parser: parser.add_argument("--users", action="store_true", help="NATS has users"))

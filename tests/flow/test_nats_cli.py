#!/usr/bin/env python3
"""What an operator sees with the nats command: readable bodies, and requests by hand."""
import json
import os
import shutil
import subprocess
import time

from flow import (LIMIT_S, Bus, Missing, Skipped, expect, go_tool, guilds_of, interact, run, say, start_traffic,
                  wait_for, wait_for_traffic)

MODULE = "github.com/nats-io/natscli/nats@latest"
JSON = "Content-Type:application/json"
UNKNOWN_GUILD = "1"
# what must be readable: the subject's first and last word, the body's name
BODIES = {("event", ""): "event", ("feed", ""): "event", ("log", ""): "record", ("tail", ""): "record",
          ("guild", "interaction"): "interaction", ("guild", "portal"): "portal", ("pod", "heartbeat"): "heartbeat",
          ("pod", "control"): "control", ("assignment", ""): "assignment", ("coordinator", "claimed"): "claimed",
          ("coordinator", "move"): "moveReport"}


def nats_command():
    """The path of the nats command: installed, cached, or built once with Go."""
    try:
        return shutil.which("nats") or go_tool("nats", MODULE)
    except Missing as e:
        raise Skipped(f"nobody can look with the nats command: {e}") from e


class Operator:
    def __init__(self, flow, cluster):
        self.command, self.cluster = nats_command(), cluster
        home = flow.folder / "home"  # of contexts and the like
        home.mkdir()
        self.env = {"PATH": f"{flow.bin_dir.resolve()}:{os.environ['PATH']}", "HOME": str(home), "NO_COLOR": "1"}

    def argv(self, *words):
        return [str(self.command), "--no-context", "-s", self.cluster.nats_url,
                "--nkey", str(self.cluster.auth.seed_file("operator")), "--inbox-prefix", "_INBOX.operator", *words]

    def call(self, *words):
        """(exit code, all it said)"""
        done = subprocess.run(self.argv(*words), env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=LIMIT_S)
        return done.returncode, done.stdout

    def request(self, subject, body, *more):
        """The answer's body as JSON."""
        code, told = self.call("req", subject, body, "--raw", *more)
        expect(code == 0, f"nats req {subject} {body}: exit {code}\n{told}")
        try:
            return json.loads(told)
        except ValueError:
            expect(False, f"nats req {subject} {body} is not answered in JSON:\n{told}")


def watch(operator, cluster):
    """nats sub shows interactions in words while the simulator sends some."""
    log = cluster.run_dir / "log" / "nats-sub.log"
    with open(log, "w") as out:
        words = operator.argv("sub", "guild.>", "--translate", "guildbusctl decode", "--count", "4")
        sub = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *words], env=operator.env,
                               stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
    try:
        wait_for("nats sub listens", lambda: "Subscribing on guild.>" in log.read_text(), LIMIT_S)
        guild = guilds_of(cluster)[0]
        for n in range(4):
            interact(cluster, "modreport", guild, guild["moderator_id"], target=guild["member_ids"][n])
        wait_for("nats sub has seen four", lambda: sub.poll() is not None, LIMIT_S)
    finally:
        sub.kill()
        sub.wait()
    told = log.read_text()
    expect(sub.returncode == 0, f"nats sub: exit {sub.returncode}\n{told}")
    for word in ('"interaction": {', '"payloadJson": {', f'"guildId": "{guild["id"]}"', '"name": "modreport"',
                 f"guild.{guild['id']}.interaction"):
        expect(word in told, f"nats sub --translate does not show {word}:\n{told[:4000]}")
    expect(told.count('"name": "modreport"') >= 4, f"not four interactions are readable:\n{told[:4000]}")
    say("nats sub shows interactions in words")


def by_hand(operator, cluster):
    guild = guilds_of(cluster)[0]["id"]
    subject = f"guild.{guild}.portal"
    answer = operator.request(subject, '{"portal":{"overview":{}}}', "-H", JSON)
    expect(answer["portalReply"]["guildId"] == guild and answer["portalReply"]["pod"] in cluster.pods
           and answer["portalReply"]["overview"]["name"], f"the overview: {answer}")
    for wrong, word in (('{"portal":{"overview":{}}', ""), ('{"portal":{"overview":{"colour":1}}}', "colour"),
                        ('{"portal":{}}', ""), ("[]", ""), ('{"heartbeat":{}}', ""), ("", "")):
        answer = operator.request(subject, wrong, "-H", JSON)
        expect(answer.get("error", {}).get("status") and word in answer["error"]["text"],
               f"{wrong!r} should be an error that names {word!r}: {answer}")
        say(f"{wrong or 'an empty body'}: {answer['error']['text']}")
    code, told = operator.call("req", f"guild.{UNKNOWN_GUILD}.portal", "{}", "-H", JSON)
    expect("no responders" in told.lower(), f"a guild that nobody owns: exit {code}\n{told}")


def kind_of(subject):
    words = subject.split(".")
    return words[0], "" if words[-1].isdigit() else words[-1]


def collect(cluster, wanted):
    """{(first word, last word): (subject, body)} of one message for each kind that is wanted."""
    seen = {}
    with Bus(cluster.nats_url) as bus:
        for first in {first for first, _ in wanted}:
            bus.subscribe(first + ".>")
        start_traffic(cluster, {"events": 200, "events_per_s": 200, "interactions": 20, "interactions_per_s": 20})
        guild, pod = sorted(cluster.assignments().items())[0]
        cluster.reassign(guild, next(p for p in cluster.pods if p != pod))
        with Bus(cluster.nats_url) as other:  # a portal request in protobuf, as the edge sends it
            other.publish(f"guild.{guild}.portal", b"\x2a\x02\x52\x00", reply="_INBOX.operator.nobody")
        end = time.monotonic() + LIMIT_S
        while missing := set(wanted) - set(seen):
            expect(time.monotonic() < end, f"nothing came of {missing}")
            m = bus.next(LIMIT_S)  # heartbeats always come
            if m.body and kind_of(m.subject) in wanted:
                seen.setdefault(kind_of(m.subject), (m.subject, m.body))
    wait_for_traffic(cluster)
    return seen


def decode(flow, cluster):
    """guildbusctl decode shows the bodies of each kind of subject."""
    for kind, (subject, body) in sorted(collect(cluster, BODIES).items()):
        for more in ([], ["--subject", subject]):
            done = subprocess.run([flow.program("guildbusctl"), "decode", *more], input=body, capture_output=True,
                                  timeout=LIMIT_S)
            expect(done.returncode == 0, f"decode of {subject}: exit {done.returncode}")
            shown = json.loads(done.stdout)
            expect(list(shown) == [BODIES[kind]], f"{subject} is shown as {done.stdout[:400]}, not as {BODIES[kind]}")
            # cut and garbled bodies are shown, too
            for broken in (body[:len(body) // 2], body[1:], os.urandom(64)):
                done = subprocess.run([flow.program("guildbusctl"), "decode", *more], input=broken,
                                      capture_output=True, timeout=LIMIT_S)
                expect(done.returncode == 0 and done.stdout, f"decode of {broken!r}: exit {done.returncode}")
    say(f"readable: {', '.join(sorted({k[0] for k in BODIES}))}")


def body(flow):
    nats_command()  # before anything starts
    cluster = flow.cluster(guilds=4, shards=1, gateways=2)
    operator = Operator(flow, cluster)
    watch(operator, cluster)
    by_hand(operator, cluster)
    decode(flow, cluster)


run(body)

#!/usr/bin/env python3
"""deploy/nats/auth.conf: each user may do what its programs do, all else is refused; a hole would be seen."""
import itertools
import json

from flow import (HOST, LIMIT_S, Bus, NatsAuth, answers, expect, free_port, http_request, run, say, wait_for)
from nats_auth import AUTH_CONF
from nkey import nkey_login
from processes import metrics

USERS = ("edge", "gateway", "coordinator", "operator")
GUILD = "613425648685547541"
LOGS = {f"LOG_{n}" for n in range(16)}
OTHERS = {"EVENTS", "SNAPSHOTS", "ASSIGNMENTS", "KV_SHARDS"}
STREAMS = LOGS | OTHERS | {"SOMEBODY_ELSES"}
OURS = LOGS | OTHERS
VIOLATIONS = "guildbus_nats_permission_violations_total"

# subject: who may publish there
PUBLISH = {
    f"event.3.{GUILD}": "edge gateway",
    f"feed.3.{GUILD}": "",
    f"guild.{GUILD}.interaction": "edge gateway",
    f"guild.{GUILD}.portal": "edge operator",
    f"guild.{GUILD}.other": "",
    f"log.3.{GUILD}": "gateway",
    f"tail.3.{GUILD}": "",
    f"snapshot.3.{GUILD}": "gateway",
    "pod.gw-1.heartbeat": "gateway",
    "pod.gw-1.control": "gateway coordinator",
    "pod.gw-1.forward": "gateway",
    "pod.gw-1.other": "",
    f"assignment.{GUILD}": "coordinator",
    **{f"coordinator.{verb}": "gateway operator"
       for verb in ("register", "leave", "guilds-seen", "claimed", "move", "identify")},
    "coordinator.api": "coordinator operator",
    "coordinator.who": "coordinator operator",
    "coordinator.other": "operator",
    "$KV.SHARDS.shard-0": "gateway operator",
    "$KV.OTHER.key": "",
    "_INBOX.edge.x.1": "gateway",
    "_INBOX.gateway.x.1": "gateway coordinator",
    "_INBOX.coordinator.x.1": "gateway coordinator",
    "_INBOX.operator.x.1": "gateway coordinator",
    "_INBOX.x.1": "",
    "anything": "",
    "$SYS.REQ.SERVER.PING": "",
    "$SRV.PING": "operator",
    "$JS.ACK.EVENTS.c.1.2.3.4.5": "operator",
    "$JS.EVENT.ADVISORY.x": "",
    "$JS.API.INFO": "operator",
    "$JS.API.STREAM.NAMES": "operator",
    "$JS.API.STREAM.LIST": "operator",
    "$JS.API.ACCOUNT.PURGE.X": "operator",
}

# subject [queue group]: who may subscribe to it
SUBSCRIBE = {
    ">": "",
    "*.>": "",
    "_INBOX.>": "",
    "_INBOX.*.>": "",
    **{f"_INBOX.{user}.>": user for user in USERS},
    **{f"_INBOX.{user}.flow1.*": user for user in USERS},
    "_INBOX.other.x": "",
    "event.>": "operator",
    f"event.3.{GUILD}": "operator",
    f"feed.3.{GUILD}": "gateway operator",
    f"tail.3.{GUILD}": "gateway operator",
    "log.>": "operator",
    f"log.3.{GUILD}": "operator",
    "snapshot.>": "operator",
    f"guild.{GUILD}.interaction": "operator",
    f"guild.{GUILD}.portal": "operator",
    f"guild.{GUILD}.interaction owner": "gateway operator",
    f"guild.{GUILD}.portal owner": "gateway operator",
    f"guild.{GUILD}.portal other": "operator",
    "guild.>": "operator",
    "pod.*.heartbeat": "coordinator operator",
    "pod.*.heartbeat coordinator-0123": "coordinator operator",
    "pod.gw-1.control": "gateway operator",
    "pod.gw-1.forward": "gateway operator",
    "pod.>": "operator",
    "assignment.>": "operator",
    "coordinator.*": "coordinator operator",
    "coordinator.claimed coordinator-0123": "coordinator operator",
    "$KV.SHARDS.>": "operator",
    "$SYS.>": "",
    "$JS.API.>": "",
    "$JS.EVENT.ADVISORY.>": "operator",
    "anything": "",
}

# JetStream's API: what the programs may do, and with which streams; the operator may do all of it
STREAM_API = {
    "STREAM.INFO": {"gateway": OURS, "coordinator": OURS},
    "STREAM.CREATE": {"coordinator": OURS},
    "STREAM.UPDATE": {"coordinator": OURS},
    "STREAM.DELETE": {},
    "STREAM.PURGE": {"gateway": {"SNAPSHOTS"}},
    "STREAM.SNAPSHOT": {},
    "STREAM.RESTORE": {},
    "STREAM.MSG.GET": {"gateway": LOGS | {"EVENTS", "SNAPSHOTS", "KV_SHARDS"}, "coordinator": LOGS},
    "STREAM.MSG.DELETE": {},
    "STREAM.PEER.REMOVE": {},
    "STREAM.LEADER.STEPDOWN": {},
    "DIRECT.GET": {"gateway": LOGS | {"EVENTS", "SNAPSHOTS"}},
    "CONSUMER.CREATE": {"gateway": LOGS | {"EVENTS"}},
    "CONSUMER.NAMES": {},
    "CONSUMER.LIST": {},
}
CONSUMER_API = {
    "CONSUMER.MSG.NEXT": {"gateway": LOGS | {"EVENTS"}},
    "CONSUMER.CREATE": {},
    "CONSUMER.DURABLE.CREATE": {},
    "CONSUMER.DELETE": {},
    "CONSUMER.INFO": {},
    "CONSUMER.LEADER.STEPDOWN": {},
}

# Holes and gaps that the table must see: (in auth.conf, instead of it, what the table then says)
PLANTED = (
    ('["_INBOX.edge.>"]', '["_INBOX.>"]', "edge may subscribe _INBOX.>"),
    ('"guild.*.interaction", "guild.*.portal"\n', '"guild.*.interaction", "guild.*.portal", "log.*.*"\n',
     f"edge may publish log.3.{GUILD}"),
    ('"$JS.API.STREAM.PURGE.SNAPSHOTS"', '"$JS.API.STREAM.PURGE.*"', "gateway may publish $JS.API.STREAM.PURGE.EVENTS"),
    ('"guild.*.portal owner"', '"guild.*.portal"', f"gateway may subscribe guild.{GUILD}.portal"),
    ('"pod.*.control", "assignment.*"', '"pod.*.control"', f"coordinator may not publish assignment.{GUILD}"),
    ('"$JS.API.STREAM.CREATE.EVENTS"', '"$JS.API.STREAM.*.EVENTS"',
     "coordinator may publish $JS.API.STREAM.DELETE.EVENTS"),
    ('"$JS.API.>"', '"$JS.API.STREAM.>"', "operator may not publish $JS.API.INFO"),
)


class Session(Bus):
    """One user's connection, which outlives what it is refused."""

    def __init__(self, url, auth, user, seed="", public=""):
        self.refusals = []
        public = public or auth.server_env[user.upper() + "_NKEY"]
        login = nkey_login(auth.seed_file(seed or user), public)
        super().__init__(url, f"as {user}", login, f"_INBOX.{user}")

    def _refused(self, line):
        if "Permissions Violation" not in line:
            raise OSError(f"NATS says {line}")
        self.refusals.append(line)

    def may(self, kind, what):
        """Whether the server takes it. Answers to what was published go nowhere."""
        self.refusals.clear()
        if kind == "publish":
            self.publish(what)
        else:
            self.subscribe(*what.split())
        self.flush()
        return not self.refusals


def table():
    """(publish or subscribe, what, who may)"""
    for what, who in PUBLISH.items():
        yield "publish", what, who.split()
    for what, who in SUBSCRIBE.items():
        yield "subscribe", what, who.split()
    for stream in sorted(STREAMS):
        for verb, may in STREAM_API.items():
            yield "publish", f"$JS.API.{verb}.{stream}", [u for u in may if stream in may[u]] + ["operator"]
        for verb, may in CONSUMER_API.items():
            yield "publish", f"$JS.API.{verb}.{stream}.c", [u for u in may if stream in may[u]] + ["operator"]


def differences(url, auth):
    """(how many were tried, where NATS and the table differ)"""
    tried, found = 0, []
    for user in USERS:
        with Session(url, auth, user) as session:
            for kind, what, who in table():
                may = session.may(kind, what)
                tried += 1
                if may != (user in who):
                    found.append(f"{user} {'may' if may else 'may not'} {kind} {what}")
    return tried, found


class Server:
    """A nats-server with users, of auth.conf or of a text like it."""

    def __init__(self, flow, name, conf=None):
        self.auth = NatsAuth(flow.folder / f"{name}-auth", flow.bin_dir, conf)
        port, monitor = free_port(), free_port()
        self.url = f"nats://{HOST}:{port}"
        self.process = flow.spawn(name, ["nats-server", "-a", HOST, "-p", port, "-m", monitor, "-js", "-sd",
                                         flow.folder / name, "-c", self.auth.config], self.auth.server_env)
        wait_for("nats-server answers", answers(f"http://{HOST}:{monitor}/healthz"), LIMIT_S, [self.process])


def the_table_holds(server):
    tried, found = differences(server.url, server.auth)
    expect(not found, "auth.conf is not what the table says:\n  " + "\n  ".join(found))
    say(f"{tried} actions of {len(USERS)} users: each allowed or refused as the table says")


def holes_are_seen(flow):
    conf = AUTH_CONF.read_text()
    for n, (there, instead, said) in enumerate(PLANTED):
        expect(conf.count(there) == 1, f"{there} is not once in auth.conf")
        server = Server(flow, f"hole{n}", conf.replace(there, instead))
        _, found = differences(server.url, server.auth)
        expect(said in found, f"with {instead} the table should say \"{said}\", it says {found}")
        flow.kill(server.process)
    say(f"{len(PLANTED)} planted holes and gaps are seen")


def keys(server):
    """Both keys of a user are let in, nobody else is."""
    for user in USERS:
        spare = server.auth.server_env[f"{user.upper()}_NKEY_SPARE"]
        Session(server.url, server.auth, user, f"{user}.spare", spare).close()
    strange = {"no key": lambda info: {}, "a wrong password": lambda info: {"user": "tests", "pass": "guess"},
               "another's public key": nkey_login(server.auth.seed_file("edge"),
                                                  server.auth.server_env["OPERATOR_NKEY"])}
    for what, login in strange.items():
        try:
            Bus(server.url, login=login).close()
        except OSError as e:
            expect("Authorization Violation" in str(e) or "closed" in str(e), f"{what}: {e}")
        else:
            expect(False, f"{what} is let in")
    say("each user's two keys are let in, nobody else is")


# ---- programs ----

def coordinator(flow, server, name, seed):
    (flow.folder / name).mkdir()
    return flow.spawn(name, ["guildbus-coordinator"], {
        "NATS_URL": server.url, "DATA_DIR": flow.folder / name, "API_PORT": free_port(), "ADMIN_PORT": free_port(),
        "NATS_NKEY_SEED_FILE": seed})


def admin(process, path):
    return f"http://{HOST}:{process.env['ADMIN_PORT']}{path}"


def what_is_allowed_works(flow, server):
    """Not only is nothing refused: what is allowed is done."""
    process = coordinator(flow, server, "right", server.auth.seed_file("coordinator"))
    wait_for("the coordinator has made the streams", answers(admin(process, "/readyz")), LIMIT_S, [process])
    expect(metrics(admin(process, "/metrics"))[VIOLATIONS] == 0, "the coordinator was refused something")
    with Session(server.url, server.auth, "edge") as edge, Session(server.url, server.auth, "gateway") as gateway, \
            Session(server.url, server.auth, "operator") as operator:
        ack = json.loads(edge.request(f"event.3.{GUILD}", b"deferred").body)
        expect(ack["stream"] == "EVENTS", f"an edge's event: {ack}")
        ack = json.loads(gateway.request(f"log.3.{GUILD}", b"record").body)
        expect(ack["stream"] == "LOG_3", f"a gateway's record: {ack}")
        got = gateway.request("$JS.API.DIRECT.GET.EVENTS", json.dumps({"last_by_subj": f"event.3.{GUILD}"}))
        expect(got.body == b"deferred", f"a gateway reads an event: {got}")
        gateway.subscribe(f"guild.{GUILD}.portal", "owner")
        answered(edge, gateway, f"guild.{GUILD}.portal")
        answered(operator, gateway, f"guild.{GUILD}.portal")
        gone = json.loads(operator.request("$JS.API.STREAM.DELETE.EVENTS").body)
        expect(gone.get("success"), f"the operator deletes a stream: {gone}")
    say("what is allowed is done")


def answered(asker, owner, subject):
    """As a forwarded request is: the answer comes from whoever knows the inbox."""
    inbox = f"{asker.inbox}.by-hand"
    asker.subscribe(inbox)
    asker.publish(subject, b"?", reply=inbox)
    asker.flush()
    asked = owner.next(LIMIT_S)
    expect(asked.subject == subject, f"something else came: {asked}")
    owner.publish(inbox, b"!")
    owner.flush()
    asker.replies[inbox] = None
    wait_for("the answer comes", lambda: asker.flush() or asker.replies[inbox], LIMIT_S)


def refusals_are_told(flow, server):
    """A program with another's key says what it may not do; one with a key that nobody knows, that it is refused."""
    wrong = coordinator(flow, server, "as-edge", server.auth.seed_file("edge"))
    for told in ('action=subscribe subject="_INBOX.coordinator.',
                 'action=publish subject="$JS.API.STREAM.INFO.EVENTS"'):
        wait_for(f"the coordinator says {told}", lambda told=told: told in wrong.log_text(), LIMIT_S, [wrong])
        line = next(line for line in wrong.log_text().splitlines() if told in line)
        for word in ("level=error", "event=nats_permission_violation", "NATS_NKEY_SEED"):
            expect(word in line, f"{word} is missing: {line}")
    expect(metrics(admin(wrong, "/metrics"))[VIOLATIONS] >= 1, f"{VIOLATIONS} does not count")

    others = NatsAuth(flow.folder / "others-auth", flow.bin_dir)
    stranger = flow.spawn("stranger", ["guildbus-edge"], {
        "NATS_URL": server.url, "NATS_NKEY_SEED_FILE": others.seed_file("edge"), "DISCORD_PUBLIC_KEY": "ab" * 32,
        "DISCORD_APPLICATION_ID": "1000000000000000001", "HTTP_PORT": free_port(), "ADMIN_PORT": free_port()})
    wait_for("the edge says that it is refused", lambda: "nats_key_refused" in stranger.log_text(), LIMIT_S, [stranger])
    wait_for("/readyz says so", lambda: "refuses this program's key" in ready(stranger), LIMIT_S, [stranger])
    for p in (wrong, stranger):
        seeds = [server.auth.seed_file("edge").read_text().strip(), others.seed_file("edge").read_text().strip()]
        expect(not any(seed in p.log_text() for seed in seeds), f"{p.name} shows its seed")
        flow.kill(p)
    say("programs tell what they are refused")


def ready(process):
    try:
        return http_request("GET", admin(process, "/readyz"), timeout_s=2)[2]
    except OSError:
        return ""


def body(flow):
    flow.may_be_refused = True
    server = Server(flow, "nats")
    the_table_holds(server)
    keys(server)
    what_is_allowed_works(flow, server)
    refusals_are_told(flow, server)
    holes_are_seen(flow)


run(body)

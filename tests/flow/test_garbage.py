#!/usr/bin/env python3
"""Garbage on every subject of subjects.def: nobody dies, whoever asks gets an error, and all guilds serve as before.

With "log" as the last argument: in guilds' logs, else everywhere but there.
"""
import json
import random
import re
import sys

from flow import (JSON_TYPE, LIMIT_S, ROOT, Bus, NoResponders, StartError, Wrong, ask, compare_rows, expect,
                  expect_exactly_once, guilds_of, http_json, interact, read_owners, read_record, record, run, say, say_in,
                  start_traffic, wait_all_served, wait_for, wait_for_traffic)

UNKNOWN_GUILD = "419430400000000001"
VERBS = ("register", "leave", "guilds-seen", "claimed", "move", "identify", "who", "nonsense")
ANSWERED = {"INTERACTION", "PORTAL", "HEARTBEAT", "CONTROL", "COORDINATOR"}  # requests: an error comes back
MEGABYTE = 1024 * 1024  # nats-server's max_payload
# an Envelope's field number and an empty body: each of the 22 kinds
KINDS = {number: bytes([(number << 3 | 2) & 0x7F | (0x80 if number > 15 else 0)])
         + (bytes([number >> 4]) if number > 15 else b"") + b"\0" for number in range(1, 23)}


SESSIONS = {"SHARD", "SHARD_OF"}


def subjects(cluster):
    """[(NAME, subject)] of each row of the table, with each hole filled in some ways."""
    table = (ROOT / "messages/subjects.def").read_text().replace('%" PRIu64 "', "%u").replace('%" PRIu64', '%u"')
    rows = re.findall(r'^SUBJECT\((\w+), *\w+, *(\w+), *"([^"]*)",', table, re.M)
    expect(len(rows) == table.count("\nSUBJECT(") >= 12, f"subjects.def is not understood: {rows}")
    own = sorted(g["id"] for g in guilds_of(cluster))
    parts = part_of_guilds(cluster)
    found = []
    for name, holes, form in rows:
        for values in holes_of(holes, own, parts, cluster.pods):
            filled = iter(values)
            found.append((name, re.sub(r"%[us]", lambda _: str(next(filled)), form)))
    expect(not [s for _, s in found if re.search(r"[^$\w.-]", s)], f"no subjects: {found}")
    return found


def part_of_guilds(cluster):
    """{guild: its partition}, as the log's subjects have it."""
    with Bus(cluster.nats_url) as bus:
        parts = {}
        for part in range(16):
            info = json.loads(bus.request(f"$JS.API.STREAM.INFO.LOG_{part}", '{"subjects_filter":">"}').body)
            parts.update((s.split(".")[2], s.split(".")[1]) for s in info.get("state", {}).get("subjects") or {})
    return parts


def holes_of(holes, own, parts, pods):
    return {"PART_GUILD": [(parts[g], g) for g in own[:2]] + [(3, UNKNOWN_GUILD)],
            "GUILD": [(g,) for g in own[:2]] + [(UNKNOWN_GUILD,)],
            "POD": [(p,) for p in pods] + [("nobody",)],
            "VERB": [(v,) for v in VERBS], "SHARD": [(0,), (1,), (65535,)],
            "SHARD_OF": [(2, 0), (2, 1), (3, 2), (65535, 65535)]}[holes]


def bodies(rng):
    """(what it is, the bytes)"""
    yield "empty", b""
    yield "random", rng.randbytes(200)
    yield "text", b"hello?"
    # Event{guild_id 1, type "MESSAGE_CREATE"}, cut in the middle of its type
    yield "truncated", b"\x12\x12\x08\x01\x12\x0eMESSAGE"
    yield "deep", b"\x12\x7f" * 60
    yield "a long varint", b"\x08" + b"\xff" * 20
    yield "JSON", b'{"event":{"guildId":"1"}}'
    yield "one megabyte", rng.randbytes(MEGABYTE)
    for number, kind in KINDS.items():
        yield f"an empty body of kind {number}", kind


def throw(bus, name, subject, what, body, headers=None):
    """Publishes it; a request must be answered by an error where somebody listens."""
    if name not in ANSWERED:
        bus.publish(subject, body, headers)
        return 0
    try:
        answer = bus.request(subject, body, headers, 10)
    except NoResponders:
        return 0
    except TimeoutError:
        expect(False, f"{what} on {subject} is not answered")
    # In protobuf the answer's first field is 1, an Error. What is of the right form may get another answer that refuses.
    well_formed = what.startswith("an empty body of kind") and name not in ("PORTAL", "INTERACTION")
    expect(well_formed or answer.body[:1] == b"\x0a" or b'"error"' in answer.body,
           f"{what} on {subject} is answered with {answer.body[:200]!r}")
    return 1


def throw_all(cluster, rng, names):
    """At the subjects of these names: how many answers came back."""
    answered = thrown = 0
    with Bus(cluster.nats_url) as bus:
        for name, subject in subjects(cluster):
            if name not in names:
                continue
            for what, body in bodies(rng):
                if is_meant(subject, body):
                    continue
                answered += throw(bus, name, subject, what, body)
                if name in ("INTERACTION", "PORTAL"):
                    answered += throw(bus, name, subject, what, body[:MEGABYTE - 100], JSON_TYPE)
                thrown += 1
            look_alive(cluster, f"after garbage on {subject}")
        bus.flush()
    say(f"{thrown} bodies on {', '.join(sorted(names))}; {answered} answers")
    return answered


def is_meant(subject, body):
    """A well-formed order that a pod or the coordinator may well obey is no garbage."""
    return subject.startswith("coordinator.who")


def look_alive(cluster, when):
    for p in cluster.processes.values():
        expect(p.is_alive(), f"{p.name} {p.exit_text()} {when}:\n{p.tail(40)}")


def rows_agree(cluster):
    """{guild: (lost, doubled)} of what is not as the simulator's record says."""
    sent = read_record(record(cluster))
    held = read_owners(cluster.assignments(), cluster.data_dir)
    guilds = [int(g["id"]) for g in guilds_of(cluster)]
    wrong = {g: compare_rows(sent[g], held[g]) if g in held else "no owner" for g in guilds}
    return {g: w for g, w in wrong.items() if w != (0, 0)}


def check_rows(cluster):
    wrong = {}

    def right():
        wrong.clear()
        wrong.update(rows_agree(cluster))
        return not wrong
    try:
        wait_for("each guild's rows are as the simulator's record says", right, LIMIT_S)
    except StartError as e:
        raise Wrong(f"(lost, doubled) rows of guilds: {wrong}") from e


def check_serving(cluster):
    with Bus(cluster.nats_url) as bus:
        wait_all_served(cluster, bus)
    for guild in guilds_of(cluster):
        say_in(cluster, guild, "still here")
        done = interact(cluster, "modreport", guild, guild["moderator_id"], target=guild["member_ids"][0])
        expect(done["fate"] == "answered", f"/modreport afterwards: {done}")
    say("all guilds serve")


def check_events(cluster):
    """What is said from now on gets to every guild, sooner or later."""
    with Bus(cluster.nats_url) as bus:
        for guild in guilds_of(cluster):
            def messages():
                return int((ask(bus, guild["id"], {"overview": {}}) or {"overview": {}})["overview"].get("messages", 0))
            before = messages()

            def heard():
                say_in(cluster, guild, "does anybody hear us?")
                return messages() > before
            wait_for(f"guild {guild['id']} gets events again", heard, LIMIT_S, interval_s=0.2)
    say("all guilds get events")


def check_move(cluster):
    guild, pod = sorted(cluster.assignments().items())[-1]
    status, answer = cluster.reassign(guild, next(p for p in cluster.pods if p != pod))
    expect(status == 202, f"a move afterwards: {status} {answer}")
    url = f"{cluster.coordinator_url}/moves/{answer['move_id']}"
    wait_for("a guild moves afterwards", lambda: http_json("GET", url)[1]["state"] == "done", LIMIT_S)


def everywhere_but_logs(flow):
    rng = random.Random(20261123)
    cluster = flow.cluster(guilds=4, shards=2, gateways=2)
    names = {name for name, _ in subjects(cluster)} - {"LOG"}
    start_traffic(cluster, {"events": 2000, "events_per_s": 200, "interactions": 0})
    answered = throw_all(cluster, rng, names - SESSIONS)
    expect(answered > 100, f"only {answered} answers")
    wait_for_traffic(cluster)
    check_serving(cluster)
    check_rows(cluster)
    check_move(cluster)
    throw_all(cluster, rng, SESSIONS)  # a session whose record is spoilt may have to begin anew
    check_serving(cluster)
    check_events(cluster)


def logs(flow):
    """Whoever reads a log passes over what is no record, and the owner goes on appending."""
    cluster = flow.cluster(guilds=4, shards=2, gateways=2)
    start_traffic(cluster, {"events": 1000, "events_per_s": 200, "interactions": 0})
    throw_all(cluster, random.Random(20261123), {"LOG"})
    wait_for_traffic(cluster)
    check_serving(cluster)
    expect_exactly_once(cluster)
    check_move(cluster)
    check_serving(cluster)


if sys.argv[-1] == "log":
    sys.argv.pop()
    run(logs)
run(everywhere_but_logs)

"""history.py - what a run left in its folder, as the checker wants it: plain lists, nothing decided.

    bus.bin (recorder) + LOG_*.stored, EVENTS.stored (streams at the end)  ─▶ records, events, answers, sessions
    events.ndjson, interactions.ndjson, calls.ndjson (simulator)           ─▶ what Discord sent and got
    ops.ndjson, timeline.ndjson, tables.json, facts.json, dbs/             ─▶ reads and writes, faults, tables

A record or event has an order when the recorder heard it live: the place among all that it heard. What was stored while
its link was down has none, and says nothing about what came first.
"""
import dataclasses
import json
import pathlib

from nats_link import parse_head
from recorder import entries
from stored import read_stored
from timeline import read_timeline
from wire import Malformed, decode

KINDS = ("claim", "change", "seal", "snapshot")


@dataclasses.dataclass
class Record:
    """Of a guild's log."""
    guild: int
    seq: int
    idx: int
    epoch: int
    pod: str
    incarnation: int
    kind: str                 # of KINDS
    event_seq: int = 0
    applied: int = 0          # events applied with it
    rows: list = dataclasses.field(default_factory=list)  # RowOps; of a snapshot those outside its chunks
    reason: int = 0           # of a claim
    chunks: int = 0           # of a snapshot
    chunks_hash: bytes = b""
    order: int = None
    at: float = None          # wall clock s, when the recorder heard it; else when the stream stored it
    is_stored: bool = True    # in the stream at the end


@dataclasses.dataclass
class Event:
    """In EVENTS."""
    guild: int
    seq: int
    session: str
    number: int               # within the session; 0: it is not Discord's (a deferred interaction)
    type: str = ""
    order: int = None
    at: float = None


@dataclasses.dataclass
class Answer:
    """Of an owner, to whoever asked over the bus."""
    order: int
    at: float
    kind: str                 # interaction_reply, portal_reply
    message: dict


@dataclasses.dataclass
class Saved:
    """A shard's session, as somebody wrote it into SHARDS."""
    order: int
    at: float
    shard: str
    session: str
    number: int
    pod: str = ""


@dataclasses.dataclass
class History:
    records: dict = dataclasses.field(default_factory=dict)    # guild: [Record], by sequence
    holes: dict = dataclasses.field(default_factory=dict)      # partition: sequences that nobody has seen
    events: dict = dataclasses.field(default_factory=dict)     # guild: [Event], by sequence
    answers: list = dataclasses.field(default_factory=list)
    sessions: list = dataclasses.field(default_factory=list)
    chunks: dict = dataclasses.field(default_factory=dict)     # guild: [(order, body)]
    sent: list = dataclasses.field(default_factory=list)       # lines of the simulator's events
    interactions: list = dataclasses.field(default_factory=list)
    calls: list = dataclasses.field(default_factory=list)
    ops: list = dataclasses.field(default_factory=list)
    timeline: list = dataclasses.field(default_factory=list)
    tables: dict = dataclasses.field(default_factory=dict)
    facts: dict = dataclasses.field(default_factory=dict)
    databases: list = dataclasses.field(default_factory=list)  # [(pod, "final" or the incarnation, path)]
    broken: list = dataclasses.field(default_factory=list)     # when connections of Discord to an edge broke
    rewritten: list = dataclasses.field(default_factory=list)  # (stream, seq): heard one body, stored another
    is_ordered: bool = True   # one server: the recorder's order is the order of causes


def _lines(path):
    if not path.exists():
        return []
    with open(path, encoding="utf-8", errors="replace") as f:
        return [json.loads(line) for line in f if line.strip()]


def to_record(body, seq):
    """None: it is none."""
    try:
        kind, m = decode(body)
    except Malformed:
        return None
    if kind != "record":
        return None
    what = next((k for k in KINDS if k in m), "")
    inner = m.get(what, {})
    return Record(guild=m.get("guild_id", 0), seq=seq, idx=m.get("idx", 0), epoch=m.get("epoch", 0),
                  pod=m.get("pod", ""), incarnation=m.get("incarnation", 0), kind=what, event_seq=m.get("event_seq", 0),
                  applied=m.get("events_applied", 0), rows=inner.get("rows", []), reason=inner.get("reason", 0),
                  chunks=len(inner.get("chunks", [])), chunks_hash=inner.get("hash", b""))


def to_event(body, seq, guild):
    try:
        kind, m = decode(body)
    except Malformed:
        return None
    if kind != "event":
        return None
    return Event(guild=guild, seq=seq, session=m.get("session", ""), number=m.get("seq", 0), type=m.get("type", ""))


class Loader:
    def __init__(self, folder):
        self.folder, self.history = pathlib.Path(folder), History()
        self.heard = {}  # (subject's first word, partition, seq): (order, at, body)

    def load(self):
        h, folder = self.history, self.folder
        h.facts = json.loads((folder / "facts.json").read_text())
        h.is_ordered = h.facts["nats_servers"] == 1
        h.tables = json.loads((folder / "tables.json").read_text())
        h.timeline = read_timeline(folder / "timeline.ndjson")
        h.sent, h.interactions = _lines(folder / "events.ndjson"), _lines(folder / "interactions.ndjson")
        h.calls, h.ops = _lines(folder / "calls.ndjson"), _lines(folder / "ops.ndjson")
        for path in sorted((folder / "log").glob("proxy.*.log")):
            h.broken += [line["at"] for line in _lines(path) if "broken" in line]
        self._databases()
        self._bus()
        self._streams()
        for found in (h.records, h.events):
            for items in found.values():
                items.sort(key=lambda item: item.seq)
        return h

    def _databases(self):
        for path in sorted((self.folder / "dbs").glob("*")):
            pod, _, which = path.name.rpartition(".")
            if (path / "guilds.sqlite3").exists():
                self.history.databases.append((pod, which, path / "guilds.sqlite3"))

    # ---- what the recorder heard ----

    def _bus(self):
        for number, at, subject, head, body in entries(self.folder / "bus.bin"):
            words = subject.split(".")
            if words[0] in ("tail", "feed"):
                seq = int(parse_head(head)["Nats-Sequence"])
                known = self.heard.get((words[0], words[1], seq))
                if not known or known[0] is None:
                    self.heard[words[0], words[1], seq] = (number, at, subject, body)
            elif words[0] == "=log":
                told = json.loads(head)
                self.heard.setdefault(("tail", words[1], told["seq"]), (None, told["at_ms"] / 1000, subject, body))
            elif words[0] == "_INBOX":
                self._answer(number, at, body)
            elif words[0] == "snapshot":
                self.history.chunks.setdefault(int(words[2]), []).append((number, body))
            elif words[0] == "$KV":
                self._session(number, at, words[-1], body)

    def _answer(self, number, at, body):
        try:
            kind, message = decode(body)
        except Malformed:
            return
        self.history.answers.append(Answer(number, at, kind, message))

    def _session(self, number, at, shard, body):
        try:
            told = json.loads(body)
            self.history.sessions.append(Saved(number, at, shard, told["session_id"], told["seq"], told.get("pod", "")))
        except (ValueError, KeyError, TypeError):
            return  # a deletion, or a marker

    # ---- together with the streams ----

    def _streams(self):
        for path in sorted(self.folder.glob("LOG_*.stored")):
            self._log(path.stem.split("_")[1], {m.seq: m for m in read_stored(path)})
        stored = {m.seq: m for m in read_stored(self.folder / "EVENTS.stored")}
        for (word, _, seq), (order, at, subject, body) in self.heard.items():
            if word == "feed":
                self._add_event(subject, seq, body, order, at)
                if seq in stored and stored[seq].body != body:
                    self.history.rewritten.append(("EVENTS", seq))
                stored.pop(seq, None)
        for m in stored.values():
            self._add_event(m.subject, m.seq, m.body, None, m.at_ms / 1000)

    def _add_event(self, subject, seq, body, order, at):
        guild = int(subject.rsplit(".", 1)[1])
        e = to_event(body, seq, guild)
        if e:
            e.order, e.at = order, at
            self.history.events.setdefault(guild, []).append(e)

    def _log(self, part, stored):
        seen = set(stored)
        for (word, partition, seq), (order, at, _, body) in self.heard.items():
            if word != "tail" or partition != part:
                continue
            seen.add(seq)
            self._add_record(seq, body, order, at, seq in stored)
            if seq in stored and stored.pop(seq).body != body:
                self.history.rewritten.append((f"LOG_{part}", seq))
        for m in stored.values():
            self._add_record(m.seq, m.body, None, m.at_ms / 1000, True)
        if seen:
            self.history.holes[int(part)] = set(range(1, max(seen) + 1)) - seen

    def _add_record(self, seq, body, order, at, is_stored):
        r = to_record(body, seq)
        if r:
            r.order, r.at, r.is_stored = order, at, is_stored
            self.history.records.setdefault(r.guild, []).append(r)


def load(folder):
    return Loader(folder).load()

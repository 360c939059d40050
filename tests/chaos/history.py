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
import sys

from nats_link import parse_head
from recorder import entries
from stored import read_stored
from timeline import read_timeline
from wire import Malformed, decode, value_of

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
    rows: tuple = ()          # of a change: (table, is it removed, values)
    body: bytes = b""         # of a snapshot, whose rows are many: ops() reads them
    reason: int = 0           # of a claim
    chunks: int = 0           # of a snapshot
    chunks_hash: bytes = b""
    order: int = None
    at: float = None          # wall clock s, when the recorder heard it; else when the stream stored it
    is_stored: bool = True    # in the stream at the end

    def ops(self):
        """Its rows; of a snapshot those outside its chunks."""
        return rows_of(decode(self.body)[1]["snapshot"]) if self.body else self.rows


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
    to: str = ""              # the subject


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


def rows_of(message):
    """The rows of a Change or a Snapshot, as small as Python can have them."""
    for op in message.get("rows", []):
        values = tuple(value_of(v) for v in op.get("values", []))
        yield sys.intern(op.get("table", "")), op.get("remove", False), values


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
    is_snapshot = what == "snapshot"
    return Record(guild=m.get("guild_id", 0), seq=seq, idx=m.get("idx", 0), epoch=m.get("epoch", 0),
                  pod=m.get("pod", ""), incarnation=m.get("incarnation", 0), kind=what, event_seq=m.get("event_seq", 0),
                  applied=m.get("events_applied", 0), rows=() if is_snapshot else tuple(rows_of(inner)),
                  body=body if is_snapshot else b"", reason=inner.get("reason", 0),
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
        self.heard = {}  # (stream, seq): (the Record or Event, hash of its body)

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
        self._gather()
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
                stream = "EVENTS" if words[0] == "feed" else f"LOG_{words[1]}"
                self._hear(stream, int(parse_head(head)["Nats-Sequence"]), subject, body, number, at)
            elif words[0] == "=log":
                told = json.loads(head)
                self._hear(f"LOG_{words[1]}", told["seq"], subject, body, None, told["at_ms"] / 1000)
            elif words[0] == "_INBOX":
                self._answer(number, at, subject, body)
            elif words[0] == "snapshot":
                self.history.chunks.setdefault(int(words[2]), []).append((number, body))
            elif words[0] == "$KV":
                self._session(number, at, words[-1], body)

    def _hear(self, stream, seq, subject, body, order, at, is_stored=False):
        known = self.heard.get((stream, seq))
        if known and (known[0].order is not None or order is None):
            return
        item = to_event(body, seq, int(subject.rsplit(".", 1)[1])) if stream == "EVENTS" else to_record(body, seq)
        if item:
            item.order, item.at = order, at
            if stream != "EVENTS":
                item.is_stored = is_stored
            self.heard[stream, seq] = item, hash(body)

    def _answer(self, number, at, subject, body):
        try:
            kind, message = decode(body)
        except Malformed:
            return
        self.history.answers.append(Answer(number, at, kind, message, subject))

    def _session(self, number, at, shard, body):
        try:
            told = json.loads(body)
            self.history.sessions.append(Saved(number, at, shard, told["session_id"], told["seq"], told.get("pod", "")))
        except (ValueError, KeyError, TypeError):
            return  # a deletion, or a marker

    # ---- together with the streams ----

    def _streams(self):
        for path in sorted(self.folder.glob("*.stored")):
            stream = path.stem
            for m in read_stored(path) if stream == "EVENTS" or stream.startswith("LOG_") else ():
                known = self.heard.get((stream, m.seq))
                if not known:
                    self._hear(stream, m.seq, m.subject, m.body, None, m.at_ms / 1000, True)
                    continue
                if known[1] != hash(m.body):
                    self.history.rewritten.append((stream, m.seq))
                if stream != "EVENTS":
                    known[0].is_stored = True

    def _gather(self):
        seen = {}
        for (stream, seq), (item, _) in sorted(self.heard.items()):
            if stream == "EVENTS":
                self.history.events.setdefault(item.guild, []).append(item)
            else:
                self.history.records.setdefault(item.guild, []).append(item)
                seen.setdefault(stream, set()).add(seq)
        self.heard.clear()
        for stream, seqs in seen.items():
            self.history.holes[int(stream.split("_")[1])] = set(range(1, max(seqs) + 1)) - seqs


def load(folder):
    return Loader(folder).load()

"""load.py - what goes on while faults happen: the simulator's traffic, guild moves, the portal, reads and writes.

    simulator ─▶ events, signed interactions          Mover ─▶ POST /reassign-guild
    Reader ─▶ overview and settings over the bus      Writer ─▶ a setting under a request id, repeated until answered
    Visitor ─▶ pages of the portal over HTTP

Reader and Writer note begin, end and answer of each request (ops.ndjson): the checker decides whether these fit.

THREAD: each its own.
"""
import collections
import json
import random
import threading
import time

from nats_link import INBOX, Link
from portal import log_in
from processes import http_json
from wire import Malformed, decode

ANSWER_S = 1.0
WRITE_S = 12.0  # so long the same change is asked for again


class Worker(threading.Thread):
    """Calls step() again and again until stop()."""

    def __init__(self, name, pause_s):
        super().__init__(name=name, daemon=True)
        self.pause_s, self.stopping = pause_s, threading.Event()
        self.counts = collections.Counter()

    def run(self):
        while not self.stopping.wait(self.pause_s):
            try:
                self.step()
            except (OSError, ValueError, KeyError, TypeError) as e:
                self.counts[f"error {type(e).__name__}"] += 1

    def stop(self):
        self.stopping.set()
        self.join(30)


class Mover(Worker):
    """Moves guilds from pod to pod, whether or not anybody can do it now."""

    def __init__(self, stage, guilds, seed, per_s=4):
        super().__init__("mover", 1 / per_s)
        self.stage, self.guilds, self.rng = stage, guilds, random.Random(f"mover {seed}")
        self.owners, self.asked_at = {}, 0.0

    def step(self):
        if time.monotonic() - self.asked_at > 1:
            self.owners, self.asked_at = self.stage.assignments(), time.monotonic()
        guild = self.rng.choice(self.guilds)
        target = self.rng.choice([pod for pod in self.stage.pods if pod != self.owners.get(guild)])
        status, _ = self.stage.ask_coordinators("POST", "/reassign-guild", {"guild_id": str(guild), "pod_id": target})
        self.counts[status] += 1


# ---- requests to owners over the bus ----

def _field(number, body):
    return bytes([number << 3 | 2]) + _number(len(body)) + body


def _number(n):
    out = bytearray()
    while n > 0x7f:
        out.append(n & 0x7f | 0x80)
        n >>= 7
    return bytes(out + bytes([n]))


def portal_request(guild, query, request_id="", patch=None):
    """An Envelope with a PortalRequest: fields of guildbus.proto."""
    numbers = {"overview": 10, "settings": 13, "change_settings": 14}
    inner = b"\x08" + _number(guild)
    inner += _field(4, request_id.encode()) if request_id else b""
    inner += _field(numbers[query], _field(1, json.dumps(patch).encode()) if patch is not None else b"")
    return _field(5, inner)


class Asker(Worker):
    """One connection to NATS, opened again when it breaks. Its inbox is one that the recorder hears."""

    def __init__(self, name, stage, ops, pause_s):
        super().__init__(name, pause_s)
        self.stage, self.ops, self.link = stage, ops, None

    def ask(self, guild, query, **more):
        """(begin, end, kind, answer, body); kind "" without an answer. What comes too late the recorder hears."""
        begin = time.time()
        try:
            if not self.link:
                self.link = Link(self.stage.nats_url, self.name, 1, inbox=f"{INBOX}.{self.name}")
            reply = self.link.next_inbox()
            begin = time.time()
            self.ops.put({"op": "asked", "query": query, "guild": guild, "begin": begin, "reply": reply})
            answer = self.link.request(f"guild.{guild}.portal", portal_request(guild, query, **more), ANSWER_S, reply)
            kind, reply = decode(answer.body)
            return begin, time.time(), kind, reply, answer.body
        except (TimeoutError, ConnectionError) as e:
            if not isinstance(e, TimeoutError) and "nobody is there" not in str(e):
                self.link = None
            return begin, time.time(), "", {}, b""
        except (OSError, Malformed):
            self.link = None
            return begin, time.time(), "", {}, b""

    def note(self, op, guild, begin, end, **more):
        self.ops.put({"op": op, "by": self.name, "guild": guild, "begin": begin, "end": end, **more})


class Ops:
    """ops.ndjson"""

    def __init__(self, path):
        self.file, self.lock = open(path, "w"), threading.Lock()

    def put(self, entry):
        with self.lock:
            self.file.write(json.dumps(entry) + "\n")

    def close(self):
        with self.lock:
            self.file.close()


class Reader(Asker):
    def __init__(self, stage, guilds, ops, seed, number, per_s=15):
        super().__init__(f"reader{number}", stage, ops, 1 / per_s)
        self.guilds, self.rng = guilds, random.Random(f"reader {number} {seed}")

    def step(self):
        guild, query = self.rng.choice(self.guilds), self.rng.choice(("overview", "settings"))
        begin, end, kind, reply, _ = self.ask(guild, query)
        self.counts[kind or "unanswered"] += 1
        if kind != "portal_reply":
            return
        told = reply.get(query, {})
        more = {"applied": told.get("events_applied", 0), "event_seq": told.get("event_seq", 0)}
        if query == "settings":
            more = {"value": json.loads(told.get("settings_json", "{}")).get("restricted")}
        self.note(query, guild, begin, end, pod=reply.get("pod"), epoch=reply.get("epoch", 0), **more)


class Writer(Asker):
    """A register for each guild: one value after the other, under a request id that is used until it is answered."""

    def __init__(self, stage, guilds, ops, seed, per_s=5):
        super().__init__("writer", stage, ops, 1 / per_s)
        self.guilds, self.rng, self.value = guilds, random.Random(f"writer {seed}"), 10**17

    def step(self):
        guild, self.value = self.rng.choice(self.guilds), self.value + 1
        value, request_id = str(self.value), f"chaos-{self.value}"
        first, begin, tries = None, time.time(), 0
        while not first and time.time() - begin < WRITE_S:
            _, end, kind, reply, body = self._change(guild, request_id, value)
            tries += 1
            if kind == "portal_reply":
                first = body
            elif kind == "error":
                self.counts[f"error {reply.get('status')}"] += 1
            if not first and self.stopping.wait(0.1):
                break
        self.note("write", guild, begin, end, value=value, request=request_id, answered=first is not None, tries=tries)
        self.counts["answered" if first else "unanswered"] += 1
        if first and self.rng.random() < 0.3:
            _, end, kind, _, body = self._change(guild, request_id, value)
            if kind == "portal_reply":
                self.note("repeat", guild, begin, end, request=request_id, same=body == first)

    def _change(self, guild, request_id, value):
        return self.ask(guild, "change_settings", request_id=request_id, patch={"restricted": value})


class Visitor(Worker):
    """Owners look at their guild's page."""

    def __init__(self, stage, seed, per_s=2):
        super().__init__("visitor", 1 / per_s)
        self.stage, self.rng, self.browsers = stage, random.Random(f"visitor {seed}"), {}
        self.people = http_json("GET", stage.sim_admin + "/guilds")[1]

    def step(self):
        guild = self.rng.choice(self.people)
        owner = guild["owner_id"]
        if owner not in self.browsers:
            self.browsers[owner] = log_in(self.stage, owner)
        page = self.browsers[owner].get(f"{self.stage.portal_url}/guilds/{guild['id']}")
        self.counts[page.status] += 1


# ---- all of it ----

class Load:
    def __init__(self, stage, guilds, settings, seed):
        self.stage, self.settings = stage, settings
        self.ops = Ops(stage.run_dir / "ops.ndjson")
        self.workers = [Mover(stage, guilds, seed, settings.moves_per_s), Writer(stage, guilds, self.ops, seed),
                        Visitor(stage, seed)]
        self.workers += [Reader(stage, guilds, self.ops, seed, n) for n in range(2)]

    def fill(self):
        """The first guild grows so large that its snapshots need chunks."""
        mix = {kind: 0 for kind in ("update", "delete", "react", "unreact", "join", "typing")}
        self._order({"events": self.settings.big_guild, "interactions": 0, "guilds": 1, "mix": mix})
        while http_json("GET", self.stage.sim_admin + "/traffic")[1]["running"]:
            time.sleep(0.1)

    def start(self):
        wanted = {"events": 10**9, "interactions": 10**9, "events_per_s": self.settings.events_per_s,
                  "interactions_per_s": self.settings.interactions_per_s, "interactions_in_flight": 64}
        self._order(wanted)
        for worker in self.workers:
            worker.start()

    def _order(self, wanted):
        status, told = http_json("POST", self.stage.sim_admin + "/traffic", wanted)
        if status != 200:
            raise OSError(f"the simulator refused the traffic: {status} {told}")

    def stop(self):
        http_json("POST", self.stage.sim_admin + "/traffic/stop")
        for worker in self.workers:
            worker.stop()
        self.ops.close()

    def counts(self):
        return {worker.name: dict(worker.counts) for worker in self.workers}

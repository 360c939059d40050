"""settle.py - after the last fault is healed: waiting until everything is as if nothing had been.

Settled is: all our processes run, every guild answers from the pod that the coordinator names, no move is open, what
Discord has sent is stored and applied, no call to Discord waits, no interaction is on its way or promised. What is not
within the time limit is a violation of I6: nobody helps.
"""
import contextlib
import json
import sqlite3
import time

from load import portal_request
from nats_link import INBOX, Link
from processes import http_json
from wire import decode

OPEN_MOVES = ("wished", "warming", "ready", "cutover")


class Settling:
    def __init__(self, stage, guilds):
        self.stage, self.guilds = stage, guilds
        self.link = None

    def wait(self, limit_s, tell):
        """{"settled": bool, "seconds": how long it took, "wrong": [text, …]}"""
        begin = told = time.monotonic()
        while True:
            wrong = self.what_is_wrong()
            now = time.monotonic()
            if not wrong or now - begin > limit_s:
                return {"settled": not wrong, "seconds": round(now - begin, 2), "wrong": wrong}
            if now - told > 5:
                told = now
                tell(f"not settled yet, {len(wrong)}: {'; '.join(wrong[:3])}")
            time.sleep(0.25)

    def what_is_wrong(self):
        wrong = [f"{name} does not run" for name in self.stage.looked_after
                 if not self.stage.processes[name].is_alive()]
        if wrong:
            return wrong
        try:
            self.link = self.link or Link(self.stage.nats_url, "settling", 2, inbox=f"{INBOX}.settling")
            owners = self.stage.assignments()
            wrong += [f"guild {g} has no owner" for g in self.guilds if g not in owners]
            wrong += self._open_moves()
            wrong += self._discord()
            wrong += self._guilds(owners)
            wrong += self._outboxes(owners)
        except (OSError, ValueError, KeyError, TypeError) as e:
            self.link = None
            wrong.append(f"cannot be asked: {e!r}")
        return wrong

    def _open_moves(self):
        _, page = self.stage.ask_coordinators("GET", "/moves?limit=500")
        return [f"move {m['id']} of guild {m['guild_id']} from {m['source']} to {m['target']} is {m['state']}"
                for m in (page or {}).get("moves", []) if m["state"] in OPEN_MOVES]

    def _discord(self):
        """What the simulator waits for: sessions, events that nobody has stored, interactions."""
        report = http_json("GET", self.stage.sim_admin + "/report", timeout_s=30)[1]
        told, sessions = report["interactions"], report["gateway"]
        wrong = [f"{told['in_flight']} interactions are on their way"] if told["in_flight"] else []
        if told["deferred"] > told["completed"]:
            wrong.append(f"{told['deferred'] - told['completed']} deferred interactions are not finished")
        if sessions["live"] < self.stage.options.shards:
            wrong.append(f"{sessions['live']} of {self.stage.options.shards} shards have a live session")
        stored = {int(subject.rsplit(".", 1)[1]): n for subject, n in self._subjects().items()}
        missing = {g["guild_id"]: g["events"] - stored.get(int(g["guild_id"]), 0) for g in report["guilds"]}
        return wrong + [f"{n} events of guild {guild} are not stored" for guild, n in missing.items() if n > 0]

    def _guilds(self, owners):
        last = self._last_events()
        wrong = []
        for guild in self.guilds:
            told = self._overview(guild)
            if not told:
                wrong.append(f"guild {guild} does not answer")
            elif told["pod"] != owners.get(guild):
                wrong.append(f"guild {guild} is answered by {told['pod']}, the coordinator names {owners.get(guild)}")
            elif told["overview"].get("event_seq", 0) < last.get(guild, 0):
                wrong.append(f"guild {guild} has applied events up to {told['overview'].get('event_seq', 0)} of "
                             f"{last[guild]}")
        return wrong

    def _overview(self, guild):
        with contextlib.suppress(TimeoutError, ConnectionError):
            kind, reply = decode(self.link.request(f"guild.{guild}.portal", portal_request(guild, "overview"), 2).body)
            if kind == "portal_reply":
                return {"overview": {}, **reply}
        return None

    def _last_events(self):
        """{guild: sequence of its last event in the stream}"""
        last = {}
        for subject in self._subjects():
            told = json.loads(self.link.request("$JS.API.STREAM.MSG.GET.EVENTS", {"last_by_subj": subject}).body)
            last[int(subject.rsplit(".", 1)[1])] = told["message"]["seq"]
        return last

    def _subjects(self):
        found = {}
        while True:
            info = self.link.ask("$JS.API.STREAM.INFO.EVENTS", {"subjects_filter": "event.>", "offset": len(found)})
            page = info["state"].get("subjects") or {}
            found.update(page)
            if not page or len(found) >= info.get("total", len(found)):
                return found

    def _outboxes(self, owners):
        wrong = []
        for pod in set(owners.values()):
            path = self.stage.data_dir(pod) / "guilds.sqlite3"
            with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as db:
                for guild, count in db.execute("SELECT guild_id, count(*) FROM outbox GROUP BY guild_id"):
                    if owners.get(guild) == pod:
                        wrong.append(f"{count} calls to Discord of guild {guild} wait at {pod}")
        return wrong

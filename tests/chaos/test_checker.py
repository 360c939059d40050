#!/usr/bin/env python3
"""The checker must see each kind of lie, or a run of chaos could not fail: a good history, and bad ones made of it."""
import copy
import hashlib
import json
import pathlib
import sqlite3
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from check import check, durations  # noqa: E402
from check_answers import fnv  # noqa: E402
from history import Answer, Event, History, Record, Saved  # noqa: E402

GUILD, MESSAGE, INTERACTION = 7 << 22, 11, 500
DDL = """
CREATE TABLE guild_state(guild_id INTEGER PRIMARY KEY, idx INTEGER, dirty INTEGER, deleting INTEGER,
                         events_applied INTEGER);
CREATE TABLE answered(guild_id INTEGER, request_id TEXT, reply BLOB, at_ms INTEGER, PRIMARY KEY(guild_id, request_id));
CREATE TABLE outbox(guild_id INTEGER, action_id INTEGER, method TEXT, path TEXT, body TEXT,
                    PRIMARY KEY(guild_id, action_id));
CREATE TABLE guilds(guild_id INTEGER, name TEXT, settings TEXT, PRIMARY KEY(guild_id));
CREATE TABLE message_stats(guild_id INTEGER, message_id INTEGER, react_count INTEGER,
                           PRIMARY KEY(guild_id, message_id));
CREATE TABLE user_threads(guild_id INTEGER, user_id INTEGER, thread_id INTEGER, PRIMARY KEY(guild_id, user_id));
"""
REPLY = b'{"type":4,"data":{"content":"Reported."}}'
CALL = b'{"content":"a report"}'


def put(table, *values):
    return table, False, values


def remove(table, *values):
    return table, True, values


ANSWERED = put("answered", GUILD, f"i:{INTERACTION}", REPLY, 1000)
WRITTEN = put("answered", GUILD, "p:chaos-1", b"kept", 1000)
STAT, REACTED = put("message_stats", GUILD, MESSAGE, 0), put("message_stats", GUILD, MESSAGE, 1)
CAUSE = put("outbox", GUILD, 1, "POST", "/channels/9/messages", CALL.decode())
NAMED = put("guilds", GUILD, "otters", "{}")
SET = put("guilds", GUILD, "otters", '{"restricted":"77"}')


def records():
    """idx: 1 claim e1 gw-1 · 2 event 1 · 3 interaction · 4 seal · 5 claim e2 gw-2 · 6 event 2 · 7 setting"""
    made = [
        ("claim", 1, 0, 0, [], 1), ("change", 1, 1, 1, [NAMED], 0), ("change", 1, 4, 2, [STAT, ANSWERED, CAUSE], 0),
        ("seal", 1, 4, 2, [], 0), ("claim", 2, 4, 2, [], 2), ("change", 2, 6, 3, [REACTED], 0),
        ("change", 2, 6, 3, [SET, WRITTEN, remove("outbox", GUILD, 1)], 0),
    ]
    return [Record(guild=GUILD, seq=idx * 3, idx=idx, epoch=epoch, pod=f"gw-{epoch}", incarnation=epoch * 16, kind=kind,
                   event_seq=event, applied=applied, rows=rows, reason=reason, order=idx * 100, at=float(idx))
            for idx, (kind, epoch, event, applied, rows, reason) in enumerate(made, 1)]


ROWS = {"answered": [(GUILD, f"i:{INTERACTION}", REPLY, 1000), (GUILD, "p:chaos-1", b"kept", 1000)], "outbox": [],
        "guilds": [(GUILD, "otters", '{"restricted":"77"}')], "message_stats": [(GUILD, MESSAGE, 1)]}
BEFORE = {"answered": [(GUILD, f"i:{INTERACTION}", REPLY, 1000)], "guilds": [(GUILD, "otters", "{}")],
          "outbox": [(GUILD, 1, "POST", "/channels/9/messages", CALL.decode())], "message_stats": [(GUILD, MESSAGE, 0)]}


def sent(kind, message=None, **fields):
    return {"kind": "event", "guild_id": str(GUILD), "type": kind, "message_id": message, "delta": 0,
            "has_content": True, "by_bot": False, **fields}


def overview(order, applied, epoch=2, pod="gw-2"):
    return Answer(order, order / 100, "portal_reply", {"guild_id": GUILD, "epoch": epoch, "pod": pod,
                                                       "overview": {"events_applied": applied}})


def read(op, begin, epoch=2, **more):
    return {"op": op, "guild": GUILD, "begin": begin, "end": begin + 0.1, "pod": f"gw-{epoch}", "epoch": epoch, **more}


class Bad(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.h = History(
            records={GUILD: records()},
            events={GUILD: [Event(GUILD, 1, "s", 1, order=110, at=1.1), Event(GUILD, 4, "s", 2, order=250, at=2.5),
                            Event(GUILD, 6, "s", 5, order=550, at=5.5)]},
            answers=[Answer(305, 3.05, "interaction_reply", {"id": INTERACTION, "callback_json": REPLY.decode()}),
                     overview(620, 3)],
            sessions=[Saved(260, 2.6, "shard-0", "s", 2), Saved(560, 5.6, "shard-0", "s", 5)],
            sent=[sent("GUILD_CREATE"), sent("MESSAGE_CREATE", str(MESSAGE)),
                  sent("MESSAGE_REACTION_ADD", str(MESSAGE), delta=1)],
            interactions=[{"id": str(INTERACTION), "type": 2, "name": "Report", "guild_id": str(GUILD),
                           "fate": "answered", "reason": None, "sent_at_ms": 2900, "answered_us": 90000,
                            "says": "Reported.", "answer_hash": f"{fnv(REPLY):016x}"}],
            calls=[{"method": "POST", "path": "/channels/9/messages", "body_hash": f"{fnv(CALL):016x}", "at_ms": 3100}],
            ops=[{"op": "write", "guild": GUILD, "begin": 6.5, "end": 7.2, "value": "77", "request": "chaos-1",
                  "answered": True, "tries": 1}, read("overview", 6.1, applied=3), read("settings", 7.5, value="77")],
            tables={"history": [{"guild_id": GUILD, "epoch": 1, "pod_id": "gw-1"}],
                    "moves": [{"id": 1, "guild_id": GUILD, "source": "gw-1", "target": "gw-2", "epoch": 2,
                               "unseal_epoch": 3, "state": "done"}],
                    "guild_assignments": [{"guild_id": GUILD, "pod_id": "gw-2", "epoch": 2, "state": "owned"}]},
            facts={"settled": {"settled": True, "seconds": 1, "wrong": []}, "guilds": [GUILD], "pods": ["gw-1", "gw-2"],
                   "edges": ["edge-1"]})
        self.database("gw-2", "final", 7, ROWS)
        self.database("gw-1", "1", 4, BEFORE)

    def database(self, pod, which, idx, rows, dirty=0, deleting=0):
        path = pathlib.Path(self.folder.name) / f"{pod}.{which}.sqlite3"
        path.unlink(missing_ok=True)
        db = sqlite3.connect(path, isolation_level=None)
        self.addCleanup(db.close)
        db.executescript(DDL)
        db.execute("INSERT INTO guild_state VALUES(?, ?, ?, ?, 3)", (GUILD, idx, dirty, deleting))
        for table, found in rows.items():
            for row in found:
                db.execute(f"INSERT INTO {table} VALUES({','.join('?' * len(row))})", row)
        self.h.databases = [d for d in self.h.databases if d[:2] != (pod, which)] + [(pod, which, path)]
        return db

    @property
    def log(self):
        return self.h.records[GUILD]

    def found(self):
        """{invariant: what} of the violations"""
        return {v.invariant: v.what for v in check(self.h).violations}

    def expect(self, invariant, words):
        found = self.found()
        self.assertIn(invariant, found, found)
        self.assertIn(words, " | ".join(v.what for v in check(self.h).violations if v.invariant == invariant))

    def test_a_good_history_is_good(self):
        self.assertEqual([v.line() for v in check(self.h).violations], [])
        self.assertEqual(check(self.h).figures["rows_compared"], 2)

    # ---- I1 ----

    def test_two_writers_in_one_epoch(self):
        self.log[2].pod, self.log[2].incarnation = "gw-2", 32
        self.expect("I1", "two writers")
        self.assertEqual(check(self.h).figures["epochs_with_two_writers"], 1)

    def test_another_incarnation_of_the_same_pod_is_another_writer(self):
        self.log[2].incarnation = 17
        self.expect("I1", "two writers")

    def test_a_record_is_lost_from_the_middle(self):
        del self.log[5]
        self.expect("I1", "idx 7 of epoch 2 where 6 is due")

    def test_a_record_that_nobody_could_hear_is_no_loss_when_a_snapshot_has_replaced_it(self):
        self.h.holes = {0: {18}}
        del self.log[5]
        self.assertNotIn("I1", self.found())

    def test_one_hole_excuses_one_record(self):
        self.h.holes = {0: {15}}
        del self.log[4:6]
        self.expect("I1", "idx 7")

    def test_an_idx_twice(self):
        twice = copy.copy(self.log[5])
        twice.seq += 1
        self.log.insert(6, twice)
        self.expect("I1", "idx 6 of epoch 2 where 7 is due")

    def test_an_earlier_epoch_behind_a_later_claim(self):
        self.log[5].epoch, self.log[5].pod, self.log[5].incarnation = 1, "gw-1", 16
        self.expect("I1", "a record of epoch 1 behind one of epoch 2")

    def test_a_change_behind_a_seal(self):
        self.log[4].kind = "change"
        self.expect("I1", "behind the seal")

    def test_an_epoch_without_a_claim(self):
        self.log[3].kind = self.log[4].kind = "change"
        self.expect("I1", "begins with a change")

    def test_a_claim_that_nobody_allowed(self):
        self.h.tables["moves"][0]["target"] = "gw-3"
        self.expect("I1", "was claimed by gw-2; the coordinator gave it to ['gw-3']")

    def test_a_stored_record_that_is_gone(self):
        self.log[1].is_stored = False
        self.expect("I1", "is gone")

    def test_a_body_that_changed_in_the_stream(self):
        self.h.rewritten = [("LOG_3", 9)]
        self.expect("I1", "another body")

    # ---- I2 ----

    def test_an_event_applied_twice(self):
        for r in self.log[2:]:
            r.applied += 1
        self.expect("I2", "3 events applied up to sequence 4, there are 2 there")
        self.assertEqual(check(self.h).figures["events_duplicated"], 1)

    def test_an_event_passed_over(self):
        for r in self.log[5:]:
            r.applied -= 1
        self.expect("I2", "2 events applied up to sequence 6, there are 3 there")
        self.assertEqual(check(self.h).figures["events_lost"], 1)

    def test_an_event_stored_twice_counts_once(self):
        self.h.events[GUILD].insert(2, Event(GUILD, 5, "s", 2, order=260, at=2.6))
        self.assertEqual(self.found(), {})

    def test_a_position_that_falls(self):
        self.log[5].event_seq, self.log[5].applied = 1, 1
        self.expect("I2", "the position falls")

    def test_the_last_event_was_not_applied(self):
        self.h.events[GUILD].append(Event(GUILD, 9, "s", 6))
        self.expect("I2", "1 stored events are not applied")

    def test_an_event_that_discord_sent_is_not_stored(self):
        self.h.sent.append(sent("TYPING_START"))
        self.expect("I2", "1 of 4 events that Discord sent are not in the stream")

    def test_an_event_without_effect(self):
        self.database("gw-2", "final", 7, {**ROWS, "message_stats": [(GUILD, MESSAGE, 0)]})
        self.expect("I2", "1 effects lost")

    def test_an_effect_twice(self):
        self.database("gw-2", "final", 7, {**ROWS, "message_stats": [(GUILD, MESSAGE, 2)]})
        self.expect("I2", "1 doubled")

    # ---- I3 ----

    def test_an_interaction_without_an_answer(self):
        self.h.interactions[0].update(fate="failed", reason="timeout")
        self.expect("I3", "was not answered: timeout")

    def test_a_broken_connection_is_an_excuse_only_with_a_killed_edge(self):
        self.h.interactions[0].update(fate="failed", reason="unreachable")
        self.expect("I3", "unreachable")
        self.h.timeline = [{"at": 3.0, "what": "death", "process": "edge-1", "why": "edge_kill", "code": -9}]
        self.expect("I3", "unreachable")
        self.h.broken = [3.0]
        self.assertEqual(self.found(), {})
        self.assertEqual(check(self.h).figures["interactions_excused"], 1)

    def test_a_time_out_is_not_excused_by_a_killed_edge_that_had_nothing(self):
        self.h.interactions[0].update(fate="failed", reason="timeout")
        self.h.timeline = [{"at": 3.0, "what": "death", "process": "edge-1", "why": "edge_kill", "code": -9}]
        self.h.broken = [4.5]
        self.expect("I3", "timeout")

    def test_a_broken_connection_is_an_excuse_once(self):
        self.h.interactions[0].update(fate="failed", reason="timeout")
        self.h.interactions.append({**self.h.interactions[0], "id": "99"})
        self.h.timeline = [{"at": 3.0, "what": "death", "process": "edge-1", "why": "edge_kill", "code": -9}]
        self.h.broken = [3.0]
        self.expect("I3", "timeout")

    def test_a_deferral_that_was_never_finished(self):
        self.h.interactions[0]["fate"] = "deferred"
        self.expect("I3", "never finished")

    def test_a_late_answer(self):
        self.h.interactions[0]["answered_us"] = 3_000_001
        self.expect("I3", "answered after 3.000 s")

    def test_an_interaction_that_took_effect_twice(self):
        self.log[5].rows = [REACTED, ANSWERED]
        self.expect("I3", "took effect 2 times")

    def test_two_answers_to_one_interaction(self):
        self.h.answers.append(Answer(400, 4.0, "interaction_reply", {"id": INTERACTION, "callback_json": '{"type":5}'}))
        self.expect("I3", "and then")

    def test_a_repeat_that_got_another_answer(self):
        self.h.ops.append({"op": "repeat", "guild": GUILD, "begin": 8, "end": 8.1, "request": "chaos-1", "same": False})
        self.expect("I3", "answered differently")

    # ---- I4 ----

    def test_rows_of_the_owner_that_the_log_does_not_have(self):
        self.database("gw-2", "final", 7, {**ROWS, "outbox": [(GUILD, 9, "POST", "/x", "{}")]})
        self.expect("I4", "1 rows too much: outbox(9,)")

    def test_rows_that_the_owner_lacks(self):
        self.database("gw-2", "final", 7, {**ROWS, "guilds": []})
        self.expect("I4", "1 rows missing: guilds()")

    def test_rows_of_a_killed_pod_that_differ_at_its_idx(self):
        self.database("gw-1", "1", 2, BEFORE)
        self.expect("I4", "the database of gw-1 (1) differs from the log")

    def test_rows_that_the_pod_itself_calls_dirty_are_not_compared(self):
        self.database("gw-1", "1", 2, BEFORE, dirty=1)
        self.assertEqual(self.found(), {})

    def test_a_database_beyond_the_end_of_the_log(self):
        self.database("gw-1", "1", 8, BEFORE)
        self.expect("I4", "is at idx 8, the log ends at 7")

    def test_an_owner_that_is_behind_in_the_end(self):
        self.database("gw-2", "final", 4, BEFORE)
        self.expect("I4", "the log ends at idx 7")

    def test_rows_without_a_position(self):
        self.database("gw-1", "1", 4, BEFORE).execute("DELETE FROM guild_state")
        self.expect("I4", "without a position")

    def test_a_removal_of_what_was_not_there(self):
        self.log[6].rows = self.log[6].rows + [remove("outbox", GUILD, 1)]
        self.expect("I4", "is removed and was not there")

    def snapshot(self, rows, **more):
        """In the place of record 7, which would have changed nothing."""
        self.log[6].rows = []
        self.database("gw-2", "final", 8, {**BEFORE, "message_stats": [(GUILD, MESSAGE, 1)]})
        self.h.ops, self.h.tables["moves"] = [], self.h.tables["moves"]
        self.log.append(Record(guild=GUILD, seq=24, idx=8, epoch=2, pod="gw-2", incarnation=32, kind="snapshot",
                               rows=rows, event_seq=6, applied=3, order=800, at=8.0, **more))

    def test_a_good_snapshot(self):
        self.snapshot([ANSWERED, NAMED, CAUSE, REACTED])
        self.assertEqual(self.found(), {})
        self.assertEqual(check(self.h).figures["snapshots_verified"], 1)

    def test_a_snapshot_that_forgot_a_row(self):
        self.snapshot([ANSWERED, NAMED, REACTED])
        self.expect("I4", "the snapshot is not what the log says: 1 rows missing: outbox(1,)")

    def test_a_snapshot_with_chunks_is_what_its_chunks_say(self):
        body = bytes([23 << 3 & 0x7f | 2 | 0x80, 1, 0])  # an Envelope with an empty snapshot_chunk
        self.h.chunks[GUILD] = [(700, body)]
        self.snapshot([ANSWERED, NAMED, REACTED], chunks=1, chunks_hash=hashlib.sha256(body).digest())
        self.expect("I4", "the snapshot is not what the log says")
        self.log[-1].rows = [ANSWERED, NAMED, CAUSE, REACTED]
        self.assertEqual(self.found(), {})

    def test_a_log_that_does_not_fit_itself_is_told_with_the_rows_that_differ(self):
        self.snapshot([ANSWERED, NAMED, CAUSE, REACTED])
        self.log[6].rows = (remove("outbox", GUILD, 7),)
        self.database("gw-2", "final", 8, BEFORE)
        self.expect("I4", "is removed and was not there")
        self.expect("I4", "and the log does not fit itself")

    def test_a_snapshot_replaces_what_was_stored_before(self):
        for r in self.log[:5]:
            r.is_stored = False
        self.expect("I1", "is gone")
        self.snapshot([ANSWERED, NAMED, CAUSE, REACTED])
        for r in self.log[5:7]:
            r.is_stored = False
        self.assertEqual(self.found(), {})

    # ---- I5 ----

    def test_a_reply_before_its_record(self):
        self.h.answers[0].order = 299
        self.expect("I5", "before its record was stored")

    def test_a_reply_that_no_log_has(self):
        self.h.answers.append(Answer(900, 9.0, "interaction_reply", {"id": 501, "callback_json": REPLY.decode()}))
        self.expect("I5", "no log has it")

    def test_an_answer_to_discord_that_no_log_has(self):
        self.log[2].rows = [STAT, CAUSE]
        self.expect("I5", "no log has its answer")

    def test_an_answer_to_discord_that_is_not_the_logs(self):
        self.h.interactions[0].update(answer_hash="0" * 16, says="Something else.")
        self.expect("I5", "'Something else.', the log has")

    def test_a_refusal_shows_nothing(self):
        self.log[2].rows = [STAT, CAUSE]
        self.h.interactions[0].update(answer_hash="0" * 16, says="That did not work. Nothing needs to be undone; …")
        self.h.answers = []
        self.database("gw-2", "final", 7, {**ROWS, "answered": ROWS["answered"][1:]})
        self.database("gw-1", "1", 4, {**BEFORE, "answered": []})
        self.assertEqual(self.found(), {})
        self.assertEqual(check(self.h).figures["interactions_refused"], 1)

    def test_a_call_without_a_cause(self):
        self.h.calls[0]["body_hash"] = "0" * 16
        self.expect("I5", "no log has its cause")

    def test_a_call_before_its_cause(self):
        self.h.calls[0]["at_ms"] = 1900
        self.expect("I5", "was called before its record was stored")

    def test_an_overview_that_shows_more_than_the_log(self):
        self.h.answers.append(overview(640, 4))
        self.expect("I5", "shows 4 events applied")

    def test_an_overview_before_its_record(self):
        self.h.answers[1].order = 590
        self.expect("I5", "shows 3 events applied")

    def test_an_answer_for_an_epoch_of_another(self):
        self.h.answers.append(overview(640, 3, epoch=2, pod="gw-1"))
        self.expect("I5", "not its own in the log")

    def test_an_answer_before_the_claim(self):
        self.h.answers.append(overview(490, 2))
        self.expect("I5", "answers for epoch 2, which is not its own")

    def test_a_stale_owner_answers(self):
        late = overview(900, 2, epoch=1, pod="gw-1")
        late.to = "_INBOX.operator.reader0.1"
        self.h.answers.append(late)
        self.h.ops.append({"op": "asked", "query": "overview", "guild": GUILD, "begin": 4.9, "reply": late.to})
        self.assertEqual(self.found(), {})  # it was asked before the claim
        self.h.ops[-1]["begin"] = 5.1
        self.h.ops[-1]["query"] = "change_settings"
        self.assertEqual(self.found(), {})  # what is stored with a change names the epoch of that change
        self.h.ops[-1]["query"] = "overview"
        self.expect("I5", "gw-1 answered for epoch 1 what was asked 0.100 s after gw-2 had claimed epoch 2")

    def test_an_overview_that_shows_less_than_an_earlier_one(self):
        self.h.ops.append(read("overview", 6.9, applied=2))
        self.expect("I5", "epoch 2 with 2 events was shown after epoch 2 with 3")

    def test_a_setting_that_was_confirmed_is_not_shown(self):
        self.h.ops[2]["value"] = None
        self.expect("I5", "the setting None was shown after 77 had been confirmed")

    def test_a_setting_that_nobody_confirmed_may_come_late(self):
        self.h.ops.insert(0, {"op": "write", "guild": GUILD, "begin": 6.0, "end": 6.4, "value": "76", "answered": False,
                              "request": "chaos-0", "tries": 3})
        self.h.ops[-1]["value"] = "76"
        self.assertEqual(self.found(), {})

    def test_a_setting_that_is_shown_before_it_is_in_the_log(self):
        self.h.answers.append(Answer(690, 6.9, "portal_reply", {
            "guild_id": GUILD, "epoch": 2, "pod": "gw-2",
            "settings": {"settings_json": json.dumps({"restricted": "77"})}}))
        self.expect("I5", "shows the setting 77")

    def test_a_change_that_was_confirmed_and_is_in_no_log(self):
        self.log[6].rows = [SET, remove("outbox", GUILD, 1)]
        self.expect("I5", "was confirmed, no log has it")

    def test_a_change_that_took_effect_twice(self):
        self.log[5].rows = [REACTED, WRITTEN]
        self.expect("I3", "chaos-1 took effect 2 times")

    # ---- I6, I7, exits ----

    def test_what_did_not_settle(self):
        self.h.facts["settled"] = {"settled": False, "seconds": 90, "wrong": ["guild 1 does not answer"]}
        self.expect("I6", "guild 1 does not answer")

    def test_a_move_that_is_stuck(self):
        self.h.tables["moves"][0]["state"] = "cutover"
        self.expect("I6", "stuck in cutover")

    def test_tables_and_log_name_different_owners(self):
        self.h.tables["guild_assignments"][0]["pod_id"] = "gw-1"
        self.expect("I6", "the coordinator names gw-1")

    def test_a_guild_that_nobody_owns(self):
        self.h.tables["guild_assignments"][0]["state"] = "unassigned"
        self.expect("I6", "the guild is unassigned")

    def test_a_seq_that_was_saved_ahead_of_the_stream(self):
        self.h.sessions[1].order = 549
        self.expect("I7", "event 5 of that session was stored later")

    def test_another_sessions_seq_says_nothing(self):
        self.h.sessions.append(Saved(100, 1.0, "shard-1", "t", 99))
        self.assertEqual(self.found(), {})

    def test_in_a_cluster_times_decide_with_some_slack(self):
        self.h.is_ordered = False
        self.h.sessions[1].order, self.h.sessions[1].at = 549, 5.4
        self.assertEqual(self.found(), {})
        self.h.sessions[1].at = 4.0
        self.expect("I7", "stored later")

    def test_a_crash(self):
        self.h.timeline = [{"at": 3.0, "what": "death", "process": "gw-1", "why": None, "code": -11,
                            "exit": "killed by SIGSEGV", "log": "gw-1.1.log", "last_line": "…"}]
        self.expect("exit", "SIGSEGV")

    # ---- figures ----

    def test_pauses_and_failovers(self):
        self.h.timeline = [{"at": 4.5, "what": "death", "process": "gw-2", "why": "gateway_kill", "code": -9}]
        self.log[5].kind, self.log[5].reason, self.log[5].pod, self.log[5].epoch = "claim", 3, "gw-3", 4
        pauses, failovers = durations(self.h)
        self.assertEqual((pauses, failovers), ([1.0], [1.5]))


if __name__ == "__main__":
    unittest.main()

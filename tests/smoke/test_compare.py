#!/usr/bin/env python3
"""The comparer must see what is lost and what is doubled, or the smoke test could not fail."""
import json
import pathlib
import sqlite3
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from compare import compare, doubled_threads, read_owners, read_record  # noqa: E402

GUILD, POD = 7 << 22, "gw-1"


def event(kind, message_id=None, **fields):
    return json.dumps({"kind": "event", "guild_id": str(GUILD), "type": kind, "message_id": message_id, "delta": 0,
                       "has_content": True, "by_bot": False, **fields})


RECORD = [
    event("GUILD_CREATE"),
    event("MESSAGE_CREATE", "11"),
    event("MESSAGE_CREATE", "12"),
    event("MESSAGE_CREATE", "13", has_content=False),
    event("MESSAGE_CREATE", "14", by_bot=True),
    event("MESSAGE_REACTION_ADD", "11", delta=1),
    event("MESSAGE_REACTION_ADD", "11", delta=1),
    event("MESSAGE_REACTION_REMOVE", "11", delta=-1),
    event("MESSAGE_DELETE", "12"),
]


class Comparer(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.db = self.pod(POD, len(RECORD), {11: 1})

    def pod(self, name, applied, rows):
        path = pathlib.Path(self.folder.name) / name
        path.mkdir()
        db = sqlite3.connect(path / "guilds.sqlite3", isolation_level=None)
        self.addCleanup(db.close)
        db.execute("CREATE TABLE guild_state(guild_id INTEGER PRIMARY KEY, events_applied INTEGER)")
        db.execute("CREATE TABLE message_stats(guild_id INTEGER, message_id INTEGER, react_count INTEGER)")
        db.execute("CREATE TABLE outbox(guild_id INTEGER)")
        db.execute("CREATE TABLE user_threads(guild_id INTEGER, thread_id INTEGER)")
        db.execute("INSERT INTO guild_state VALUES(?, ?)", (GUILD, applied))
        for message, reactions in rows.items():
            db.execute("INSERT INTO message_stats VALUES(?, ?, ?)", (GUILD, message, reactions))
        return db

    def verdict(self, record=RECORD, owner=POD, stored=None):
        held = read_owners({GUILD: owner}, lambda pod: pathlib.Path(self.folder.name) / pod)
        total, _ = compare(read_record(record), held, {GUILD: len(RECORD) if stored is None else stored})
        return total["lost"], total["duplicated"]

    def test_what_was_sent_and_is_there_is_neither_lost_nor_doubled(self):
        self.assertEqual(self.verdict(), (0, 0))

    def test_an_event_that_was_not_applied_is_lost(self):
        self.db.execute("UPDATE guild_state SET events_applied = events_applied - 1")
        self.assertEqual(self.verdict(), (1, 0))

    def test_an_event_that_was_applied_twice_is_doubled(self):
        self.db.execute("UPDATE guild_state SET events_applied = events_applied + 1")
        self.assertEqual(self.verdict(), (0, 1))

    def test_a_missing_row_is_lost_though_the_count_is_right(self):
        self.db.execute("DELETE FROM message_stats WHERE message_id = 11")
        self.assertEqual(self.verdict(), (1, 0))

    def test_a_deletion_without_effect_is_lost(self):
        self.db.execute("INSERT INTO message_stats VALUES(?, 12, 0)", (GUILD,))
        self.assertEqual(self.verdict(), (1, 0))

    def test_a_reaction_without_effect_is_lost(self):
        self.db.execute("UPDATE message_stats SET react_count = 0")
        self.assertEqual(self.verdict(), (1, 0))

    def test_a_reaction_counted_twice_is_doubled(self):
        self.db.execute("UPDATE message_stats SET react_count = 2")
        self.assertEqual(self.verdict(), (0, 1))

    def test_a_row_that_nobody_sent_is_doubled(self):
        self.db.execute("INSERT INTO message_stats VALUES(?, 99, 0)", (GUILD,))
        self.assertEqual(self.verdict(), (0, 1))

    def test_an_event_that_the_stream_never_got_is_lost(self):
        self.db.execute("UPDATE guild_state SET events_applied = events_applied - 1")
        self.assertEqual(self.verdict(stored=len(RECORD) - 1), (1, 0))

    def test_an_event_stored_twice_is_doubled(self):
        self.db.execute("UPDATE guild_state SET events_applied = events_applied + 1")
        self.assertEqual(self.verdict(stored=len(RECORD) + 1), (0, 1))

    def test_a_deferred_interaction_is_no_event_of_discord(self):
        self.db.execute("UPDATE guild_state SET events_applied = events_applied + 1")
        held = read_owners({GUILD: POD}, lambda pod: pathlib.Path(self.folder.name) / pod)
        total, _ = compare(read_record(RECORD), held, {GUILD: len(RECORD) + 1}, {GUILD: 1})
        self.assertEqual(total, {"sent": len(RECORD), "applied": len(RECORD), "lost": 0, "duplicated": 0})

    def test_a_guild_that_its_owner_does_not_hold_is_lost_whole(self):
        (pathlib.Path(self.folder.name) / "gw-2").mkdir()
        self.assertEqual(self.verdict(owner="gw-2"), (len(RECORD), 0))

    def test_rows_on_a_pod_that_is_not_the_owner_do_not_count(self):
        self.pod("gw-2", 3, {11: 9, 55: 1})
        self.assertEqual(self.verdict(), (0, 0))

    def test_a_thread_made_twice_is_doubled(self):
        self.db.execute("INSERT INTO user_threads VALUES(?, 77), (?, 0)", (GUILD, GUILD))
        made_twice = [event("THREAD_CREATE"), event("THREAD_CREATE")]
        held = read_owners({GUILD: POD}, lambda pod: pathlib.Path(self.folder.name) / pod)
        self.assertEqual(doubled_threads(read_record(made_twice), held), 1)
        self.assertEqual(doubled_threads(read_record(made_twice[:1]), held), 0)


if __name__ == "__main__":
    unittest.main()

"""compare.py - what the simulator sent against what the owners' databases hold.

    record (NDJSON) ─▶ Sent per guild ─┐
    EVENTS, messages per subject ──────┼─▶ compare ─▶ sent, applied, lost, duplicated, notes
    gw-*/guilds.sqlite3 of the owner ──┘

A guild's rows on a pod that does not own it do not count. An event that is counted but has no effect is as lost as one
that never came, so each guild is looked at both ways and the larger number counts.
"""
import contextlib
import dataclasses
import json
import pathlib
import sqlite3

NOTES = 20


@dataclasses.dataclass
class Sent:
    """Of one guild: what went out, and which rows of message_stats must be there after it."""
    events: int = 0
    rows: dict = dataclasses.field(default_factory=dict)  # message id: reactions
    gone: set = dataclasses.field(default_factory=set)    # ids of deleted messages
    threads: int = 0                                      # that the bot made, one for each reported user


@dataclasses.dataclass
class Held:
    """Of one guild: what its owner's database says."""
    applied: int = 0
    rows: dict = dataclasses.field(default_factory=dict)
    waiting: int = 0  # calls to Discord that are still to be made
    threads: int = 0  # users' threads that it knows of


def count_event(sent, d):
    sent.events += 1
    message_id = int(d["message_id"] or 0)
    if d.get("repeated"):  # by Discord, as an event of its own: nothing changes
        return
    if d["type"] == "MESSAGE_CREATE":
        if d["has_content"] and not d["by_bot"]:  # others have no row
            sent.rows[message_id] = 0
    elif d["type"] in ("MESSAGE_DELETE", "MESSAGE_DELETE_BULK"):
        sent.rows.pop(message_id, None)
        sent.gone.add(message_id)
    elif d["type"] == "THREAD_CREATE":
        sent.threads += 1
    elif message_id in sent.rows:
        sent.rows[message_id] += d["delta"]


def read_record(lines):
    """{guild: Sent} of the simulator's record: one JSON object a line, in the order in which they were sent."""
    guilds = {}
    for line in lines:
        d = json.loads(line)
        if d.get("kind") == "event":
            count_event(guilds.setdefault(int(d["guild_id"]), Sent()), d)
    return guilds


def read_pod(path, guilds):
    """{guild: Held} of those of these guilds that the database knows."""
    path = pathlib.Path(path)
    if not path.exists():
        return {}
    held = {}
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        for guild in guilds:
            row = db.execute("SELECT events_applied FROM guild_state WHERE guild_id = ?", (guild,)).fetchone()
            if row:
                rows = db.execute("SELECT message_id, react_count FROM message_stats WHERE guild_id = ?", (guild,))
                held[guild] = Held(row[0], dict(rows.fetchall()), _count(db, guild, "outbox"),
                                   _count(db, guild, "user_threads", "AND thread_id <> 0"))
    return held


def _count(db, guild, table, where=""):
    return db.execute(f"SELECT count(*) FROM {table} WHERE guild_id = ? {where}", (guild,)).fetchone()[0]


def read_owners(assignments, data_dir_of):
    """{guild: Held}, each guild from the pod that owns it."""
    by_pod = {}
    for guild, pod in assignments.items():
        by_pod.setdefault(pod, []).append(guild)
    held = {}
    for pod, guilds in by_pod.items():
        held.update(read_pod(pathlib.Path(data_dir_of(pod)) / "guilds.sqlite3", guilds))
    return held


def compare_rows(sent, held):
    """(lost effects, doubled effects)"""
    lost = doubled = 0
    for message_id, reactions in sent.rows.items():
        if message_id not in held.rows:
            lost += 1
        else:
            difference = held.rows[message_id] - reactions
            lost += max(0, -difference)
            doubled += max(0, difference)
    lost += sum(1 for message_id in sent.gone if message_id in held.rows)
    doubled += sum(1 for m in held.rows if m not in sent.rows and m not in sent.gone)
    return lost, doubled


def compare_guild(sent, held, stored, deferred):
    """(lost, duplicated): stored is the number of the guild's messages in EVENTS; so many of them are not Discord's
    events but interactions that an edge deferred."""
    lost_rows, doubled_rows = compare_rows(sent, held)
    lost = max(sent.events + deferred - held.applied, stored - held.applied, 0)
    duplicated = max(held.applied - stored, stored - deferred - sent.events, 0)
    return max(lost, lost_rows), max(duplicated, doubled_rows)


def compare(sent, held, stored, deferred=None):
    """The sum over all guilds that were sent something, or that hold something."""
    deferred = deferred or {}
    total = {"sent": 0, "applied": 0, "lost": 0, "duplicated": 0}
    notes = []
    for guild in sorted(set(sent) | set(held) | set(stored)):
        s, h = sent.get(guild, Sent()), held.get(guild, Held())
        aside = deferred.get(guild, 0)
        lost, duplicated = compare_guild(s, h, stored.get(guild, 0), aside)
        total["sent"] += s.events
        total["applied"] += h.applied - aside
        total["lost"] += lost
        total["duplicated"] += duplicated
        if lost or duplicated:
            notes.append(f"guild {guild}: sent {s.events}, stored {stored.get(guild, 0)} ({aside} deferred interactions), "
                         f"applied {h.applied}, rows expected {len(s.rows)}, rows held {len(h.rows)}: lost {lost}, duplicated {duplicated}")
    return total, notes[:NOTES]


def doubled_threads(sent, held):
    """Threads beyond the one that each reported user has: a call to Discord that two owners made."""
    return sum(max(0, s.threads - held[guild].threads) for guild, s in sent.items() if guild in held)

"""check_events.py - I2: each stored event is applied once, in stream order. I7: a saved seq is durably published.

Every record says up to which event it goes and how many have been applied: that must be the number of different events
of the guild up to there (one that was stored twice counts once). What the simulator sent must be stored, and have its
effect in the owner's rows, as the smoke test's comparer decides.
"""
import bisect

from compare import Sent, compare_rows, count_event, read_pod

CLUSTER_S = 1.0  # between servers what was stored may be heard later than what was said because of it


def check_events(history, verdict):
    guilds = set(history.records) | set(history.events)
    for guild in sorted(guilds):
        events = history.events.get(guild, [])
        seqs, counts = different(events)
        check_positions(verdict, guild, history.records.get(guild, []), seqs, counts)
    check_sent(history, verdict)


def different(events):
    """(sequences, how many different events there are up to each)"""
    seen, seqs, counts, n = set(), [], [], 0
    for e in events:
        ident = (e.session, e.number) if e.number else (None, e.seq)
        if ident not in seen:
            seen.add(ident)
            n += 1
        seqs.append(e.seq)
        counts.append(n)
    return seqs, counts


def count_at(seqs, counts, seq):
    at = bisect.bisect_right(seqs, seq)
    return counts[at - 1] if at else 0


def check_positions(verdict, guild, records, seqs, counts):
    last, told = None, False
    for r in records:
        if last and (r.event_seq < last.event_seq or r.applied < last.applied):
            verdict.add("I2", f"the position falls from event {last.event_seq} ({last.applied} applied) to "
                        f"{r.event_seq} ({r.applied})", record=r)
        expected = count_at(seqs, counts, r.event_seq)
        if r.applied != expected and not told:
            told = True  # what follows is off by as much
            verdict.count("events_duplicated" if r.applied > expected else "events_lost", abs(r.applied - expected))
            verdict.add("I2", f"{r.applied} events applied up to sequence {r.event_seq}, there are {expected} there",
                        record=r)
        last = r
    due = counts[-1] if counts else 0
    have = last.applied if last else 0
    if have < due and not told:
        verdict.count("events_lost", due - have)
        verdict.add("I2", f"{due - have} stored events are not applied (the last at sequence {seqs[-1]})", guild=guild,
                    idx=last.idx if last else None, pod=last.pod if last else None)


# ---- against what Discord sent ----

def check_sent(history, verdict):
    sent = {}
    for line in history.sent:
        count_event(sent.setdefault(int(line["guild_id"]), Sent()), line)
    owners = {guild: records[-1].pod for guild, records in history.records.items() if records}
    held = {pod: read_pod(path, list(owners)) for pod, which, path in history.databases if which == "final"}
    for guild, s in sorted(sent.items()):
        stored = len({(e.session, e.number) for e in history.events.get(guild, []) if e.number})
        verdict.count("events_sent", s.events)
        verdict.count("events_stored", stored)
        compare_counts(verdict, guild, s.events, stored)
        mine = held.get(owners.get(guild), {}).get(guild)
        if mine:
            compare_effects(verdict, guild, owners[guild], s, mine)


def compare_counts(verdict, guild, sent, stored):
    if stored < sent:
        verdict.count("events_lost", sent - stored)
        verdict.add("I2", f"{sent - stored} of {sent} events that Discord sent are not in the stream", guild=guild)
    elif stored > sent:
        verdict.count("events_duplicated", stored - sent)
        verdict.add("I2", f"the stream has {stored - sent} events more than the {sent} that Discord sent", guild=guild)


def compare_effects(verdict, guild, pod, sent, held):
    lost, doubled = compare_rows(sent, held)
    if lost or doubled:
        verdict.count("effects_lost", lost)
        verdict.count("effects_duplicated", doubled)
        verdict.add("I2", f"rows of messages and reactions: {lost} effects lost, {doubled} doubled", guild=guild,
                    pod=pod)
    verdict.count("threads_doubled", max(0, sent.threads - held.threads))  # see check_answers.py, calls


# ---- I7 ----

def check_sessions(history, verdict):
    """No event is stored for the first time after a seq at or above its own was saved for its session."""
    first = {}
    for events in history.events.values():
        for e in events:
            known = first.get((e.session, e.number))
            if e.number and (known is None or e.seq < known.seq):
                first[e.session, e.number] = e
    by_session = {}
    for (session, number), e in first.items():
        if e.order is not None:
            by_session.setdefault(session, []).append((number, e))
    latest = {session: latest_up_to(found, history.is_ordered) for session, found in by_session.items()}
    for saved in history.sessions:
        verdict.count("sessions_saved")
        numbers, events = latest.get(saved.session, ([], []))
        at = bisect.bisect_right(numbers, saved.number)
        e = events[at - 1] if at else None
        if e and (e.order > saved.order if history.is_ordered else e.at > saved.at + CLUSTER_S):
            verdict.add("I7", f"shard {saved.shard} was saved at {saved.number}, event {e.number} of that session was "
                        "stored later", guild=e.guild, pod=saved.pod, at=saved.at)


def latest_up_to(found, is_ordered):
    """(numbers, for each the event that was stored last of those up to it)"""
    numbers, events, latest = [], [], None
    for number, e in sorted(found, key=lambda pair: pair[0]):
        if latest is None or (e.order > latest.order if is_ordered else e.at > latest.at):
            latest = e
        numbers.append(number)
        events.append(latest)
    return numbers, events

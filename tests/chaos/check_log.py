"""check_log.py - I1: in one epoch one pod's appends succeed. And I4: rows are what the log says.

Of each guild's log: idx without a gap; epochs never fall; an epoch begins with a Claim, has one writer (pod and
incarnation), and was given to that pod by the coordinator; behind a Seal stands a Claim; what was once heard is still
stored, unless a snapshot has replaced it. The fold of the log is compared with each database that the run has left, at
the idx that it says it has: those of killed pods too.
"""
import bisect
import hashlib

from fold import Fold, Wrong, difference, digests, rows_of, tables_of
from history import rows_of as rows_of_message
from wire import Malformed, decode

CLAIM_NEW = 1


# ---- I1 ----

def check_logs(history, verdict):
    for stream, seq in history.rewritten:
        verdict.add("I1", f"{stream} holds another body at sequence {seq} than it handed out")
    given = epochs_given(history.tables) if history.tables.get("history") else None
    for guild, records in sorted(history.records.items()):
        check_chain(history, verdict, guild, records)
        check_writers(verdict, guild, records)
        check_kept(history, verdict, guild, records)
        if given is not None:
            check_given(verdict, guild, records, given)
    verdict.count("holes", sum(len(h) for h in history.holes.values()))


def partition_holes(history, records):
    """Sequences that may have been this guild's and that nobody has seen, sorted."""
    seqs = [r.seq for r in records]
    return [sorted(h for h in holes if h < seqs[-1]) for holes in history.holes.values() if holes] if seqs else []


def check_chain(history, verdict, guild, records):
    holes = partition_holes(history, records)
    last = None
    for r in records:
        verdict.count("records")
        expected = last.idx + 1 if last else 1
        if r.idx != expected and not _is_hole(holes, last, r, r.idx - expected):
            verdict.add("I1", f"idx {r.idx} of epoch {r.epoch} where {expected} is due", record=r)
        if last and r.epoch < last.epoch:
            verdict.add("I1", f"a record of epoch {r.epoch} behind one of epoch {last.epoch} by {last.pod}", record=r)
        if last and last.kind == "seal" and r.kind != "claim":
            verdict.add("I1", f"a {r.kind} behind the seal of epoch {last.epoch}", record=r)
        last = r


def _is_hole(holes, last, r, missing):
    """Whether so many records may be among those that were rolled up before anybody heard them."""
    if missing <= 0:
        return False
    first = last.seq if last else 0
    return any(bisect.bisect_left(h, r.seq) - bisect.bisect_right(h, first) >= missing for h in holes)


def check_writers(verdict, guild, records):
    writers, seen = {}, set()
    for r in records:
        writer = writers.setdefault(r.epoch, (r.pod, r.incarnation))
        if writer != (r.pod, r.incarnation) and r.epoch not in seen:
            seen.add(r.epoch)
            verdict.count("epochs_with_two_writers")
            verdict.add("I1", f"epoch {r.epoch} has two writers: {writer[0]} ({writer[1]:x}) and {r.pod} "
                        f"({r.incarnation:x})", record=r)
    verdict.count("epochs", len(writers))
    idx = epoch = 0
    for r in records:
        if r.idx == idx + 1 and r.epoch != epoch and r.kind != "claim":
            verdict.add("I1", f"epoch {r.epoch} begins with a {r.kind}, not with a claim", record=r)
        idx, epoch = r.idx, r.epoch


def check_kept(history, verdict, guild, records):
    """What was heard and is not stored any more was replaced: the log begins with a snapshot behind it."""
    first = next((r for r in records if r.is_stored), None)
    for r in records:
        if r.is_stored or (first and first.kind == "snapshot" and r.seq < first.seq):
            continue
        verdict.add("I1", f"record {r.idx} was stored and is gone, no snapshot stands for it", record=r)


def epochs_given(tables):
    """{(guild, epoch): pods}: which pods the coordinator has allowed to claim an epoch."""
    given = {}
    for row in tables["history"]:
        if row.get("pod_id"):
            given.setdefault((int(row["guild_id"]), int(row["epoch"])), set()).add(row["pod_id"])
    for row in tables["moves"]:
        given.setdefault((int(row["guild_id"]), int(row["epoch"])), set()).add(row["target"])
        given.setdefault((int(row["guild_id"]), int(row["unseal_epoch"])), set()).add(row["source"])
    return given


def check_given(verdict, guild, records, given):
    for r in records:
        if r.kind == "claim" and r.pod not in given.get((guild, r.epoch), ()):
            verdict.add("I1", f"epoch {r.epoch} was claimed by {r.pod}; the coordinator gave it to "
                        f"{sorted(given.get((guild, r.epoch), ())) or 'nobody'}", record=r)


# ---- I4 ----

def check_rows(history, verdict):
    """Every database against the fold of the logs; the folds come with the walk through the logs."""
    if not history.databases:
        return
    tables = next((t for t in (tables_of(path) for _, _, path in history.databases) if t), {})
    wanted, databases = {}, []
    for pod, which, path in history.databases:
        held, orphans = digests(path, tables)
        databases.append((pod, which, path, held))
        for guild in orphans:
            verdict.add("I4", f"rows of a guild without a position in the database of {pod} ({which})", guild=guild,
                        pod=pod)
        for guild, h in held.items():
            wanted.setdefault(guild, set()).add(h.idx)
    folds = {guild: fold_log(history, verdict, guild, tables, wanted.get(guild, set()))
             for guild in sorted(history.records)}
    for pod, which, path, held in databases:
        for guild, h in sorted(held.items()):
            compare(history, verdict, tables, folds, (pod, which, path), guild, h)
    check_owners(history, verdict, databases)


def fold_log(history, verdict, guild, tables, wanted):
    """{idx: digest} at these, and at the end "last": idx."""
    fold, found, whole, idx = Fold(tables), {}, True, 0
    for r in history.records[guild]:
        if r.idx != idx + 1:
            whole = False  # a hole: nothing to compare with until the next snapshot
        idx = r.idx
        try:
            if r.kind == "snapshot":
                fold, whole = take_snapshot(history, verdict, guild, r, fold, whole, tables)
            elif whole:
                for op in r.ops():
                    fold.apply(op)
        except Wrong as e:
            verdict.add("I4", f"the record does not fit what came before: {e}", record=r)
            whole = False
        if whole and idx in wanted:
            found[idx] = fold.digest
    found["last"] = idx
    return found


def take_snapshot(history, verdict, guild, r, fold, whole, tables):
    """(the fold of the snapshot's rows, whether it is all there); it must be what the log said until then."""
    rows = chunk_rows(history, guild, r)
    if rows is None:
        verdict.count("snapshots_not_verified")
        return fold, whole
    fresh = Fold(tables)
    for op in [*rows, *r.ops()]:
        fresh.apply(op)
    verdict.count("snapshots_verified" if whole else "snapshots_trusted")
    if whole and fresh.digest != fold.digest:
        verdict.add("I4", f"the snapshot is not what the log says: {difference(fold.rows, fresh.rows)}", record=r)
    return fresh, True


def chunk_rows(history, guild, r):
    """The rows of a snapshot's chunks as the recorder heard them; None: it has not heard them all."""
    if not r.chunks:
        return []
    heard = [body for order, body in history.chunks.get(guild, []) if r.order is None or order < r.order]
    for end in range(len(heard), r.chunks - 1, -1):
        bodies = heard[end - r.chunks:end]
        if hashlib.sha256(b"".join(bodies)).digest() == r.chunks_hash:
            try:
                return [op for body in bodies for op in rows_of_message(decode(body)[1])]
            except Malformed:
                return None
    return None


def compare(history, verdict, tables, folds, database, guild, h):
    pod, which, path = database
    if h.dirty or h.deleting or not h.idx:
        verdict.count("rows_not_compared")  # the pod itself says that they are not to be used
        return
    fold = folds.get(guild, {"last": 0})
    if h.idx > fold["last"]:
        verdict.add("I4", f"the database of {pod} ({which}) is at idx {h.idx}, the log ends at {fold['last']}",
                    guild=guild, idx=h.idx, pod=pod)
    elif h.idx not in fold:
        verdict.count("rows_not_compared")
    elif fold[h.idx] != h.digest:
        verdict.add("I4", f"the database of {pod} ({which}) differs from the log: "
                    f"{explain(history, tables, path, guild, h.idx)}", guild=guild, idx=h.idx, pod=pod)
    else:
        verdict.count("rows_compared")


def explain(history, tables, path, guild, idx):
    fold = Fold(tables)
    try:
        for r in history.records[guild]:
            for op in r.ops() if r.kind != "snapshot" and r.idx <= idx else []:
                fold.apply(op)
    except Wrong as e:
        return f"and the log does not fit itself: {e}"
    return difference(fold.rows, rows_of(path, tables, guild))


def check_owners(history, verdict, databases):
    """At the end the owner has the whole log."""
    final = {pod: held for pod, which, _, held in databases if which == "final"}
    for guild, records in history.records.items():
        last = records[-1]
        h = final.get(last.pod, {}).get(guild)
        if last.pod in final and (not h or h.idx != last.idx or h.dirty or h.deleting):
            verdict.add("I4", f"the owner's database says {h}, the log ends at idx {last.idx}", record=last)

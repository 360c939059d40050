"""report.py - what a run has to say: each violation with its place, and the line of figures."""
import collections
import json
import pathlib

MOST = 40  # lines of violations; all are in violations.txt


def print_violations(violations, out):
    counts = collections.Counter(v.invariant for v in violations)
    for v in violations[:MOST]:
        out(f"VIOLATION {v.line()}")
    if len(violations) > MOST:
        out(f"… and {len(violations) - MOST} more")
    if violations:
        out("violations: " + ", ".join(f"{name} {n}" for name, n in sorted(counts.items())))


def summary(folder, violations, figures):
    """The last line."""
    folder = pathlib.Path(folder)
    facts = json.loads((folder / "facts.json").read_text())
    (folder / "violations.txt").write_text("".join(v.line() + "\n" for v in violations))
    f = collections.Counter({name: n for name, n in figures.items() if isinstance(n, int)})
    return {
        "violations": len(violations),
        "by_invariant": dict(collections.Counter(v.invariant for v in violations)),
        "seed": facts["seed"], "seconds": facts["seconds"], "nats_servers": facts["nats_servers"],
        "postgres": facts["postgres"], "standbys": facts["standbys"],
        "faults": {"total": sum(facts["faults"].values()), **facts["faults"]},
        "failpoints_fired": facts["fired"], "faults_skipped": facts["skipped"],
        "deaths": facts["deaths"], "unexpected_exits": f["unexpected_exits"],
        "events": {"sent": f["events_sent"], "stored": f["events_stored"], "lost": f["events_lost"] + f["effects_lost"],
                   "duplicated": f["events_duplicated"] + f["effects_duplicated"]},
        "interactions": {"sent": f["interactions_sent"], "answered": f["interactions_answered"],
                         "deferred": f["interactions_deferred"], "refused": f["interactions_refused"],
                         "excused": f["interactions_excused"], "unanswered": f["interactions_unanswered"]},
        "epochs": f["epochs"], "epochs_with_two_writers": f["epochs_with_two_writers"],
        "records": f["records"], "holes": f["holes"], "snapshots_verified": f["snapshots_verified"],
        "snapshots_not_verified": f["snapshots_not_verified"] + f["snapshots_trusted"],
        "rows_compared": f["rows_compared"], "rows_not_compared": f["rows_not_compared"],
        "replies": f["replies"] + f["portal_replies"], "reads": f["reads"],
        "writes": {"confirmed": f["writes_answered"], "open": f["writes_unanswered"]},
        "calls": {"made": f["calls"], "repeated": f["calls_repeated"], "threads_doubled": f["threads_doubled"]},
        "sessions_saved": f["sessions_saved"],
        "pause_ms": figures["pause_ms"], "failover_s": figures["failover_s"],
        "settled_s": facts["settled"]["seconds"],
    }

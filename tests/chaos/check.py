#!/usr/bin/env python3
"""check.py - the checker: a run's folder in, violations of the design's invariants out. It knows no process.

    I1 check_log   I2 check_events   I3, I5 check_answers   I4 check_log   I6 check_settled   I7 check_events

usage: check.py FOLDER      (a folder that ./dev chaos has kept)
"""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "smoke"))
from check_answers import Index, check_answers, check_calls, check_interactions, check_ops  # noqa: E402
from check_events import check_events, check_sessions  # noqa: E402
from check_log import check_logs, check_rows  # noqa: E402
from check_settled import check_exits, check_settled, durations, quantiles  # noqa: E402
from history import load  # noqa: E402
from report import print_violations, summary  # noqa: E402
from verdict import Verdict  # noqa: E402


def check(history):
    """Verdict"""
    verdict = Verdict()
    index = Index(history)
    check_logs(history, verdict)
    check_rows(history, verdict)
    check_events(history, verdict)
    check_sessions(history, verdict)
    check_interactions(history, verdict, index)
    check_answers(history, verdict, index)
    check_calls(history, verdict, index)
    check_ops(history, verdict, index)
    check_settled(history, verdict)
    check_exits(history, verdict)
    return verdict


def check_folder(folder):
    """(violations, figures)"""
    history = load(folder)
    verdict = check(history)
    pauses, failovers = durations(history)
    figures = {**verdict.figures, "pause_ms": _scaled(pauses, 1000), "failover_s": _scaled(failovers, 1)}
    return verdict.violations, figures


def _scaled(values, by):
    return {name: value if name == "count" else round(value * by, 3) for name, value in quantiles(values).items()}


def main():
    folder = pathlib.Path(sys.argv[1])
    violations, figures = check_folder(folder)
    print_violations(violations, lambda text: print(text, file=sys.stderr))
    print(json.dumps(summary(folder, violations, figures)))
    return bool(violations)


if __name__ == "__main__":
    sys.exit(main())

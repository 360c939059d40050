"""requester.py - requests one by one, as their sender saw them: when due, how long they took, whether answered.

    Requester: guildbus-bench at a rate ─┐
    the simulator's interactions ────────┴─▶ Trace ─▶ what was seen while something was done
"""
import collections
import concurrent.futures
import json
import pathlib
import time

from processes import http_request

CONNECTIONS = 32
Request = collections.namedtuple("Request", "due_s took_s answered")


def quantile(values, share):
    """Of what may be in any order; 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


class Trace:
    def __init__(self, requests):
        self.requests = requests

    def failed(self):
        return sum(not r.answered for r in self.requests)

    def took_ms_during(self, spans):
        """How long the answered ones took that were due in one of these spans (begin, end)."""
        return [r.took_s * 1000 for r in self.requests
                if r.answered and any(begin <= r.due_s <= end for begin, end in spans)]

    def silences_ms(self, spans):
        """For each span the longest time without an answer that touches it."""
        heard = sorted(r.due_s + r.took_s for r in self.requests if r.answered)
        gaps = list(zip(heard, heard[1:]))
        return [1000 * max((b - a for a, b in gaps if b >= begin and a <= end), default=0.0) for begin, end in spans]


class Requester:
    """/setup at a rate for some seconds, while others go on; times are time.monotonic()'s."""

    def __init__(self, bench, url, guilds, rate, seconds):
        self.path = bench.folder("traces") / str(time.monotonic_ns())
        self.pool = concurrent.futures.ThreadPoolExecutor(1)
        self.told = self.pool.submit(bench.tool, "interactions", "--forgive", url=url, guilds=",".join(guilds),
                                     rate=rate, count=round(rate * seconds), connections=CONNECTIONS,
                                     seed=bench.SEED, trace=self.path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.pool.shutdown()

    @property
    def ended(self):
        return self.told.done()

    def trace(self):
        """Waits until the last is answered."""
        self.told.result()
        rows = (line.split() for line in pathlib.Path(self.path).read_text().splitlines())
        return Trace([Request(int(due) / 1e6, int(took) / 1e6, answered == "1") for due, took, answered in rows])


def trace_of_simulator(world):
    """All interactions that Discord has sent; times are time.time()'s."""
    text = http_request("GET", world.sim_admin + "/record?kind=interaction", timeout_s=60)[2]
    rows = (json.loads(line) for line in text.splitlines())
    return Trace([Request(d["sent_at_ms"] / 1000, d["answered_us"] / 1e6, d["fate"] == "answered") for d in rows])

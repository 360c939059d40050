"""stages.py - where the time goes: guildbus_stage_seconds of our processes, between two moments."""
import pathlib
import re

_DEF = pathlib.Path(__file__).resolve().parent.parent / "base/stages.def"
_ORDER = re.findall(r'^STAGE\(\w+, "(\w+)"\)', _DEF.read_text(), re.M)
_BUCKET = re.compile(r'guildbus_stage_seconds_bucket\{stage="(\w+)",le="([^"]+)"\}')
_SUM = re.compile(r'guildbus_stage_seconds_sum\{stage="(\w+)"\}')


def _read(metrics):
    """({stage: {bound: how many are not above it}}, {stage: seconds})"""
    below, seconds = {}, {}
    for name, value in metrics.items():
        if found := _BUCKET.fullmatch(name):
            below.setdefault(found[1], {})[float(found[2])] = value
        elif found := _SUM.fullmatch(name):
            seconds[found[1]] = value
    return below, seconds


def _quantile(below, q):
    """Microseconds: within a bucket as if they lay evenly; above the last bound, the last bound."""
    bounds, wanted = sorted(below), q * below[max(below)]
    from_us, before = 0.0, 0.0
    for bound in bounds:
        if below[bound] >= wanted:
            to_us = bound * 1e6 if bound != float("inf") else from_us
            share = (wanted - before) / (below[bound] - before) if below[bound] > before else 0
            return from_us + (to_us - from_us) * share
        from_us, before = bound * 1e6, below[bound]
    return from_us


class Stages:
    """Of named processes of a cluster, from its making to read()."""

    def __init__(self, cluster, names):
        self.cluster, self.names = cluster, list(names)
        self.before = self._now()

    def _now(self):
        all_below, all_seconds = {}, {}
        for name in self.names:
            below, seconds = _read(self.cluster.metrics(name))
            for stage, bounds in below.items():
                into = all_below.setdefault(stage, dict.fromkeys(bounds, 0))
                for bound, count in bounds.items():
                    into[bound] += count
                all_seconds[stage] = all_seconds.get(stage, 0) + seconds[stage]
        return all_below, all_seconds

    def read(self):
        """{stage: {"count", "mean_us", "p50_us", "p99_us"}} of those that happened."""
        (old, old_s), (new, new_s) = self.before, self._now()
        found = {}
        for stage in sorted(new, key=_ORDER.index):
            bounds = new[stage]
            below = {bound: count - old.get(stage, {}).get(bound, 0) for bound, count in bounds.items()}
            count = below[float("inf")]
            if count:
                found[stage] = {"count": int(count),
                                "mean_us": round((new_s[stage] - old_s.get(stage, 0)) / count * 1e6, 1),
                                "p50_us": round(_quantile(below, 0.5), 1), "p99_us": round(_quantile(below, 0.99), 1)}
        return found

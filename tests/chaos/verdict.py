"""verdict.py - what the checks find: violations with their place, and figures."""
import collections
import dataclasses


@dataclasses.dataclass
class Violation:
    invariant: str       # I1 … I7, or "exit": a program that ended by itself
    what: str
    guild: int = None
    idx: int = None
    pod: str = None
    at: float = None     # wall clock s

    def line(self):
        where = [f"{name}={value}" for name, value in (("guild", self.guild), ("idx", self.idx), ("pod", self.pod)) if
                 value is not None]
        if self.at is not None:
            where.append(f"at={self.at:.3f}")
        return f"{self.invariant}: {self.what} ({' '.join(where)})" if where else f"{self.invariant}: {self.what}"


class Verdict:
    def __init__(self):
        self.violations, self.figures = [], collections.Counter()

    def add(self, invariant, what, record=None, **where):
        """record: of a log, where it is to be seen."""
        if record:
            where = {"guild": record.guild, "idx": record.idx, "pod": record.pod, "at": record.at, **where}
        self.violations.append(Violation(invariant, what, **where))

    def count(self, name, n=1):
        self.figures[name] += n

    def of(self, invariant):
        return [v for v in self.violations if v.invariant == invariant]

"""usage.py - what processes have cost: CPU time and memory, from /proc."""
import os

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def cpu_s(pid):
    """User and system time of a process so far, all its threads."""
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def memory_kib(pid, peak=False):
    """What it holds in memory now, or held at most."""
    with open(f"/proc/{pid}/status") as f:
        for line in f:
            if line.startswith("VmHWM:" if peak else "VmRSS:"):
                return int(line.split()[1])
    return 0


class Meter:
    """CPU of named processes from its making to read()."""

    def __init__(self, pids):
        self.pids = dict(pids)
        self.before = {name: cpu_s(pid) for name, pid in self.pids.items()}

    def read(self):
        """{name: seconds}"""
        return {name: cpu_s(pid) - self.before[name] for name, pid in self.pids.items()}

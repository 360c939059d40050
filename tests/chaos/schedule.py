"""schedule.py - which fault when: a pure function of the seed, the length and what there is to break.

    calm ── burst of 1 … 3 faults ── recovery ── burst … ── calm        (then chaos.py heals everything and waits)

Kinds are dealt from a shuffled deck, so that each has its turn before one comes again; so are failpoints. Limits keep
what the design promises to survive: one gateway of three always lives, one edge of two, one NATS server fails at a
time, and no edge dies while NATS is in trouble: a deferral that no stream could take is known to that edge alone.
"""
import dataclasses
import pathlib
import random
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
CALM_S, TAIL_S = 3.0, 3.0
NATS_REST_S = 14.0  # a server of three catches up before the next one fails
PROMISE_S = 10.0    # an edge that could store nothing has stored its promises so long after NATS is well again
LEASE_S = 4.0
VICTIM_S = LEASE_S + 2  # so long a pod is away whose guilds another one is to take over
ROLES = ("source", "target", "owner", "snapshot", "failover", "coordinator")


@dataclasses.dataclass
class World:
    pods: list
    coordinators: list
    edges: list
    nats: list
    postgres: bool = False
    disks: bool = False     # data folders are small file systems of their own, which can be filled
    clocks: bool = False    # programs' clocks can be moved
    failpoints: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Fault:
    at: float
    kind: str
    on: str              # a process, or a link's process
    seconds: float = 0   # until it is healed, or how long what died stays away
    more: dict = dataclasses.field(default_factory=dict)

    def line(self):
        more = " ".join(f"{k}={v}" for k, v in self.more.items())
        return f"{self.at:7.2f} s  {self.kind:<16} {self.on:<14} {self.seconds:5.2f} s  {more}".rstrip()


def failpoints_in(root=ROOT):
    """The names that the sources have."""
    found = set()
    for folder in ("gateway", "coordinator", "edge", "base"):
        for path in sorted((root / folder).rglob("*.c")):
            found.update(re.findall(r'\bFAILPOINT\("(\w+)"\)', path.read_text()))
    return sorted(found)


def role_of(failpoint):
    return failpoint.split("_")[0]


class Deck:
    """Deals its cards in a random order, all of them before any comes again."""

    def __init__(self, rng, cards):
        self.rng, self.cards, self.left = rng, list(cards), []

    def deal(self):
        if not self.left:
            self.left = self.rng.sample(self.cards, len(self.cards))
        return self.left.pop()


class Planner:
    def __init__(self, seed, seconds, world):
        self.rng, self.seconds, self.world = random.Random(f"chaos {seed}"), seconds, world
        self.busy = {}  # process: until when
        self.nats_free_at = self.rolling_at = 0.0
        self.promised_until = self.edge_back_at = 0.0
        self.kinds = Deck(self.rng, self._kinds())
        pairs = [(name, action) for name in world.failpoints for action in ("kill", "stop", "sleep")]
        self.failpoints = Deck(self.rng, pairs) if pairs else None
        self.faults = []

    def _kinds(self):
        w = self.world
        kinds = ["gateway_kill"] * 2 + ["disk_loss"] * 2 + ["gateway_stop"] * 2 + ["edge_kill", "coordinator_kill"]
        kinds += ["nats_kill", "terminate", "rolling", "discord_drop"]
        kinds += ["link_cut", "link_stall", "link_drop", "link_slow"]
        kinds += ["failpoint"] * 8 + ["zombie"] if w.failpoints else []
        kinds += ["postgres_stop"] * 2 if w.postgres else []
        kinds += ["nats_kill", "nats_hang"] if len(w.nats) > 1 else []
        kinds += ["disk_full"] if w.disks else []
        kinds += ["clock_step"] if w.clocks else []
        return kinds

    def plan(self):
        at = CALM_S
        while at < self.seconds - TAIL_S:
            for _ in range(self.rng.choice((1, 1, 2, 2, 3))):
                self._add(at, self.kinds.deal())
                at += self.rng.uniform(0.2, 2.5)
            at += self.rng.uniform(4.0, 9.0)
        return sorted(self.faults, key=lambda f: f.at)

    def _add(self, at, kind):
        """At that time, or as soon as what it would break is whole again; never, when that is past the end."""
        fault = getattr(self, f"_{kind}")(at, kind) if hasattr(self, f"_{kind}") else None
        if fault and fault.at < self.seconds - TAIL_S:
            self.faults.append(fault)

    # ---- who ----

    def _free_pods(self, at, seconds, count=1):
        """(pods, from when), so that one pod always stays untouched."""
        pods = self.world.pods
        while True:
            busy = [p for p in pods if self.busy.get(p, 0) > at]
            if len(busy) + count < len(pods):
                chosen = self.rng.sample([p for p in pods if p not in busy], count)
                for pod in chosen:
                    self.busy[pod] = at + seconds + 1.5
                return chosen, at
            at = min(self.busy[p] for p in busy)

    def _free_pod(self, at, seconds):
        (pod,), at = self._free_pods(at, seconds)
        return pod, at

    def _pod_fault(self, at, kind, low, high, **more):
        seconds = round(self.rng.uniform(low, high), 2)
        pod, at = self._free_pod(at, seconds)
        return Fault(round(at, 2), kind, pod, seconds, more)

    def _free_edge(self, at, seconds):
        at = max([at] + [self.busy.get(e, 0) for e in self.world.edges])
        edge = self.rng.choice(self.world.edges)
        self.busy[edge] = at + seconds + 1.0
        return edge, at

    # ---- what ----

    def _gateway_kill(self, at, kind):
        long = self.rng.random() < 0.4  # else it is back before its lease has ended
        return self._pod_fault(at, kind, *((LEASE_S + 1, LEASE_S + 3) if long else (0.2, 2.0)))

    def _disk_loss(self, at, kind):
        return self._gateway_kill(at, kind)

    def _gateway_stop(self, at, kind):
        return self._pod_fault(at, kind, LEASE_S + 0.6, LEASE_S + 4)

    def _terminate(self, at, kind):
        return self._pod_fault(at, kind, 0.2, 1.5)

    def _zombie(self, at, kind):
        return self._pod_fault(at, kind, LEASE_S + 2, LEASE_S + 5)

    def _disk_full(self, at, kind):
        return self._pod_fault(at, kind, 2, 6)

    def _discord_drop(self, at, kind):
        how = self.rng.choice(("reconnect", "drop", "close", "heartbeat"))
        return Fault(round(at, 2), kind, "sim", 0, {"how": how})

    def _edge_kill(self, at, kind):
        seconds = round(self.rng.uniform(0.2, 2.0), 2)
        edge, at = self._free_edge(max(at, self.promised_until + 0.02), seconds)
        self.edge_back_at = at + seconds + 1.0
        return Fault(round(at, 2), kind, edge, seconds)

    def _coordinator_kill(self, at, kind):
        return Fault(round(at, 2), kind, "leader", round(self.rng.uniform(0.2, 3.0), 2))

    def _postgres_stop(self, at, kind):
        at = max(at, self.busy.get("postgres", 0))
        seconds = round(self.rng.uniform(0.5, 8.0), 2)
        self.busy["postgres"] = at + seconds + 4
        return Fault(round(at, 2), kind, "postgres", seconds)

    def _nats_kill(self, at, kind):
        at = max(at, self.nats_free_at, self.edge_back_at)
        many = len(self.world.nats) > 1
        seconds = round(self.rng.uniform(0.5, 8.0) if many else self.rng.uniform(0.1, 3.0), 2)
        self.nats_free_at = at + seconds + NATS_REST_S
        self.promised_until = max(self.promised_until, at + seconds + PROMISE_S)
        return Fault(round(at, 2), kind, self.rng.choice(self.world.nats), seconds)

    def _nats_hang(self, at, kind):
        return self._nats_kill(at, kind)

    def _rolling(self, at, kind):
        at = max([at, self.rolling_at] + [self.busy.get(p, 0) for p in self.world.pods])
        self.rolling_at = at + 60
        for pod in self.world.pods:
            self.busy[pod] = at + 4 * len(self.world.pods)
        return Fault(round(at, 2), kind, "gateways", 0)

    def _link(self, at, kind, low, high, **more):
        """On a pod, an edge or a coordinator; the limits are those of its process."""
        seconds = round(self.rng.uniform(low, high), 2)
        sort = self.rng.choice(("pod", "pod", "pod", "edge", "coordinator"))
        to = "nats"
        if sort == "pod":
            on, at = self._free_pod(at, seconds)
        elif sort == "edge":
            on, at = self._free_edge(max(at, self.edge_back_at), seconds)
            self.promised_until = max(self.promised_until, at + seconds + PROMISE_S)
        else:
            on = self.rng.choice(self.world.coordinators)
            to = self.rng.choice(("nats", "postgres")) if self.world.postgres else "nats"
        return Fault(round(at, 2), kind, on, seconds, {"to": to, **more})

    def _link_cut(self, at, kind):
        return self._link(at, kind, 0.3, 7)

    def _link_stall(self, at, kind):
        return self._link(at, kind, 0.5, 9)

    def _link_drop(self, at, kind):
        return self._link(at, kind, 1, 8, way=self.rng.choice(("in", "out")))

    def _link_slow(self, at, kind):
        return self._link(at, kind, 3, 12, delay_ms=self.rng.choice((10, 50, 150, 400)))

    def _clock_step(self, at, kind):
        on = self.rng.choice(self.world.pods + self.world.edges + self.world.coordinators)
        step = self.rng.choice((-50_000, -5_000, -500, 500, 5_000, 60_000))  # an edge takes what is signed 60 s ahead
        return Fault(round(at, 2), kind, on, round(self.rng.uniform(3, 15), 2), {"ms": step})

    def _failpoint(self, at, kind):
        name, action = self.failpoints.deal()
        more = {"name": name, "action": action}
        if action == "sleep":
            more["ms"] = self.rng.choice((50, 300, 1500, 5000))
        low, high = (LEASE_S + 0.6, LEASE_S + 3) if action == "stop" else (0.2, 2)
        seconds = round(self.rng.uniform(low, high), 2)
        if role_of(name) == "failover":  # somebody's guilds must need one
            (pod, more["victim"]), at = self._free_pods(at, VICTIM_S + seconds, 2)
        elif name.startswith("coordinator_f_"):
            pod = "leader"
            more["victim"], at = self._free_pod(at, VICTIM_S)
        elif role_of(name) == "coordinator":
            pod = "leader"
        else:
            pod, at = self._free_pod(at, seconds + 4)
        return Fault(round(at, 2), kind, pod, seconds, more)


def schedule(seed, seconds, world):
    return Planner(seed, seconds, world).plan()

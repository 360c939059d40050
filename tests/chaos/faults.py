"""faults.py - how each kind of fault is done to a stage, and undone.

    Injector(stage, supervisor, timeline).start(fault) ─▶ a thread: inject, wait, heal, count

Each method is one kind of schedule.py. What it did is told to the timeline as "fault"; what it could not do as
"fault_skipped", with the reason, and is not counted.
"""
import collections
import contextlib
import os
import signal
import threading
import time

from processes import http_json
from schedule import VICTIM_S, role_of

FIRE_S = 10.0       # so long a failpoint may wait for somebody to come by
FILL_CHUNK = 1 << 16
TERMINATE_S = 45


class Skipped(Exception):
    """The fault cannot be done now; the text says why."""


class Injector:
    def __init__(self, stage, supervisor, timeline):
        self.stage, self.supervisor, self.timeline = stage, supervisor, timeline
        self.ending, self.threads, self.lock = threading.Event(), [], threading.Lock()
        self.counts, self.fired, self.skipped = collections.Counter(), {}, collections.Counter()
        self.touched = collections.Counter()  # processes that a fault is about

    # ---- life ----

    def start(self, fault):
        thread = threading.Thread(target=self._run, args=(fault,), daemon=True, name=fault.kind)
        self.threads.append(thread)
        thread.start()

    def heal(self):
        """Ends all that is under way."""
        self.ending.set()
        for thread in self.threads:
            thread.join(TERMINATE_S * 3)
        for name in self.stage.programs:
            self._continue(name)
            self._disarm(name)
        for link in self.stage.link_ports:
            self.stage.links.order({"link": link, "mode": "open"})
        self.supervisor.hurry()

    def _run(self, fault):
        touched = {fault.on, fault.more.get("victim")}
        try:
            self._reserve(touched)
            try:
                getattr(self, f"do_{fault.kind}")(fault)
            finally:
                with self.lock:
                    self.touched.subtract(touched)
        except (Skipped, OSError) as e:
            with self.lock:
                self.skipped[fault.kind] += 1
            self.timeline.tell("fault_skipped", kind=fault.kind, on=fault.on, why=str(e))

    def _reserve(self, names):
        """Faults wait for each other and last longer than planned: one gateway and one edge stay whole all the same."""
        with self.lock:
            for group in (self.stage.pods, self.stage.edges):
                wanted = set(group) & names
                whole = [name for name in group if name not in wanted and self.touched[name] <= 0
                         and self.stage.processes[name].is_alive()]
                if wanted and not whole:
                    raise Skipped(f"the others of {', '.join(group)} are not whole")
            self.touched.update(names)

    def _done(self, fault, on=None, **more):
        with self.lock:
            self.counts[fault.kind] += 1
        self.timeline.tell("fault", kind=fault.kind, on=on or fault.on, seconds=fault.seconds, **{**fault.more, **more})

    def _healed(self, fault, on=None):
        self.timeline.put("healed", kind=fault.kind, on=on or fault.on)

    def _wait(self, seconds):
        self.ending.wait(seconds)

    # ---- processes ----

    def _alive(self, name):
        process = self.stage.processes[name]
        if not process.is_alive():
            raise Skipped(f"{name} does not run")
        return process

    def _kill(self, fault, name, lose_disk=False):
        process = self._alive(name)
        self.supervisor.expect(name, fault.kind, fault.seconds, lose_disk)
        self._done(fault, name)
        process.send(signal.SIGKILL)

    def do_gateway_kill(self, fault):
        self._kill(fault, fault.on)

    def do_disk_loss(self, fault):
        self._kill(fault, fault.on, lose_disk=True)

    def do_edge_kill(self, fault):
        self._kill(fault, fault.on)

    def do_coordinator_kill(self, fault):
        self._kill(fault, self._leader())

    def do_nats_kill(self, fault):
        self._kill(fault, fault.on)

    def do_nats_hang(self, fault):
        self.do_gateway_stop(fault)

    def _leader(self):
        name = self.stage.leader()
        if not name:
            raise Skipped("no coordinator says that it leads")
        return name

    def do_gateway_stop(self, fault):
        process = self._alive(fault.on)
        self._done(fault)
        process.send(signal.SIGSTOP)
        self._wait(fault.seconds)
        self._continue(fault.on)
        self._healed(fault)

    def _continue(self, name):
        process = self.stage.processes[name]
        if process.is_alive():
            process.send(signal.SIGCONT)

    def do_terminate(self, fault):
        process = self._alive(fault.on)
        self.supervisor.expect(fault.on, fault.kind, fault.seconds)
        self._done(fault)
        process.send(signal.SIGTERM)
        self._until_dead(fault.on, process)

    def _until_dead(self, name, process, limit_s=TERMINATE_S):
        """A pod that cannot leave in time is killed, as Kubernetes does it."""
        end, starts = time.monotonic() + limit_s, process.starts
        while process.is_alive() and process.starts == starts:
            if time.monotonic() > end:
                self.timeline.tell("killed_after_grace", process=name)
                process.send(signal.SIGKILL)
                return
            time.sleep(0.05)

    def do_rolling(self, fault):
        """One gateway after the other: SIGTERM, until it is back and ready."""
        self._done(fault)
        for name in self.stage.pods:
            process = self.stage.processes[name]
            if self.ending.is_set() or not process.is_alive():
                continue
            self.supervisor.expect(name, fault.kind, 0.3)
            starts = process.starts
            process.send(signal.SIGTERM)
            self._until_dead(name, process)
            end = time.monotonic() + 20
            while time.monotonic() < end and not self.ending.is_set():
                if process.starts > starts and self._is_ready(name):
                    break
                time.sleep(0.1)
        self._healed(fault)

    def _is_ready(self, name):
        with contextlib.suppress(OSError):
            return http_json("GET", self.stage.admin_url(name) + "/readyz", timeout_s=1)[0] == 200
        return False

    def do_postgres_stop(self, fault):
        process = self._alive("postgres")
        self.supervisor.expect("postgres", fault.kind, fault.seconds)
        self._done(fault)
        process.send(signal.SIGQUIT)  # immediate: as a crash

    # ---- links, Discord, clocks, disks ----

    def _link(self, fault, **mode):
        links = self.stage.links_of(fault.on, fault.more["to"])
        if not links:
            raise Skipped("there is no such link")
        self._done(fault)
        for link in links:
            self.stage.links.order({"link": link, **mode})
        self._wait(fault.seconds)
        for link in links:
            self.stage.links.order({"link": link, "mode": "open"})
        self._healed(fault)

    def do_link_cut(self, fault):
        self._link(fault, mode="cut")

    def do_link_stall(self, fault):
        self._link(fault, mode="stall")

    def do_link_drop(self, fault):
        self._link(fault, mode="drop", way=fault.more["way"])

    def do_link_slow(self, fault):
        self._link(fault, mode="slow", delay_ms=fault.more["delay_ms"])

    def do_discord_drop(self, fault):
        status, told = http_json("POST", self.stage.sim_admin + "/disconnect", {"how": fault.more["how"]})
        if status != 200:
            raise Skipped(f"the simulator says {status} {told}")
        self._done(fault)

    def do_clock_step(self, fault):
        self._alive(fault.on)
        self._done(fault)
        self.stage.set_clock(fault.on, fault.more["ms"])
        self._wait(fault.seconds)
        self.stage.set_clock(fault.on, 0)
        self._healed(fault)

    def do_disk_full(self, fault):
        filler = self.stage.data_dir(fault.on) / "filler"
        self._done(fault)
        with open(filler, "wb", 0) as f, contextlib.suppress(OSError):
            while True:
                f.write(b"\0" * FILL_CHUNK)
        self._wait(fault.seconds)
        filler.unlink(missing_ok=True)
        self._healed(fault)

    # ---- failpoints ----

    def do_zombie(self, fault):
        """Stopped between its own commit and the log, for longer than its lease; others write; then it goes on."""
        self._failpoint(fault, "owner_3_committed", "stop", [fault.on])

    def do_failpoint(self, fault):
        name, action = fault.more["name"], fault.more["action"]
        where = self.stage.coordinators if role_of(name) == "coordinator" else [fault.on]
        victim = fault.more.get("victim")
        if victim and self.stage.processes[victim].is_alive():
            self.supervisor.expect(victim, fault.kind, VICTIM_S)
            self.timeline.put("fault_helper", kind=fault.kind, on=victim)
            self.stage.processes[victim].send(signal.SIGKILL)
        self._failpoint(fault, name, f"sleep {fault.more['ms']}" if action == "sleep" else action, where)

    def _failpoint(self, fault, name, action, where):
        on = self._fire(name, action, where, fault)
        if not on:
            raise Skipped(f"nobody came by {name} within {FIRE_S:g} s")
        with self.lock:
            self.fired.setdefault(name, collections.Counter())[action.split()[0]] += 1
        self._done(fault, on)
        if action == "stop":
            self._wait(fault.seconds)
            self._continue(on)
            self._healed(fault, on)

    def _fire(self, name, action, where, fault):
        """Arms it at each of these processes; the one that came by first, or None."""
        files = {process: self.stage.failpoint_file(process, name) for process in where}
        expected = {}
        for process, path in files.items():
            if action == "kill":
                expected[process] = self.supervisor.expect(process, fault.kind, fault.seconds)
            draft = path.with_suffix(".draft")
            draft.write_text(action + "\n")
            draft.rename(path)
        end, fired = time.monotonic() + FIRE_S, None
        while not fired and time.monotonic() < end and not self.ending.is_set():
            time.sleep(0.01)
            fired = next((process for process, path in files.items() if not path.exists()), None)
        for process, path in files.items():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
                if process in expected:
                    self.supervisor.forget(process, expected[process])
        return fired

    def _disarm(self, process):
        for path in self.stage.failpoint_file(process, "x").parent.iterdir():
            path.unlink(missing_ok=True)

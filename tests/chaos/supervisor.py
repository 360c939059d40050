"""supervisor.py - starts again what has died, after a pause, as Kubernetes would; notes each death and each start.

A fault says beforehand how long what it kills stays away and whether its disk is lost; without that the pause is short.
Who was not killed by a fault and ended all the same is noted as such: the checker decides what that means.

Processes die with the thread that has started them (pdeathsig), so this one never ends before ours does.

THREAD: its own; the rest from any.
"""
import random
import shutil
import threading
import time

TICK_S = 0.05
SHORT_S = (0.3, 1.5)


class Supervisor(threading.Thread):
    def __init__(self, stage, timeline, seed):
        super().__init__(name="supervisor", daemon=True)
        self.stage, self.timeline, self.rng = stage, timeline, random.Random(f"supervisor {seed}")
        self.lock, self.resting = threading.Lock(), threading.Event()
        self.expected, self.due = {}, {}
        self.deaths = {}  # process: how often

    # ---- for faults ----

    def expect(self, name, why, away_s, lose_disk=False):
        """The next end of this process is a fault's doing. For forget()."""
        entry = [why, away_s, lose_disk]
        with self.lock:
            self.expected.setdefault(name, []).append(entry)
        return entry

    def forget(self, name, entry):
        """That fault does not end it any more; others may."""
        with self.lock:
            self.expected[name] = [e for e in self.expected.get(name, []) if e is not entry]

    def hurry(self):
        """Nothing stays away any longer than it must."""
        with self.lock:
            self.due = {name: 0 for name in self.due}

    # ---- its thread ----

    def run(self):
        for name in self.stage.processes:
            self.timeline.put("start", process=name, pid=self.stage.processes[name].pid, n=1)
        while True:
            for name in [] if self.resting.is_set() else self.stage.looked_after:
                self._look_after(name)
            time.sleep(TICK_S)

    def rest(self):
        """Nobody is started any more."""
        self.resting.set()
        time.sleep(2 * TICK_S)

    def _look_after(self, name):
        process = self.stage.processes[name]
        if process.is_alive():
            return
        now = time.monotonic()
        with self.lock:
            new = name not in self.due
            if new:
                reasons = self.expected.get(name)
                why, away_s, lose_disk = reasons.pop() if reasons else (None, self.rng.uniform(*SHORT_S), False)
                self.due[name] = now + away_s
                self.deaths[name] = self.deaths.get(name, 0) + 1
            ready = not new and self.due[name] <= now
        if new:
            self._note_death(name, process, why, away_s, lose_disk)
        elif ready:
            self._start(name, process)

    def _note_death(self, name, process, why, away_s, lose_disk):
        code = process.popen.returncode
        entry = {"process": name, "n": process.starts, "exit": process.exit_text(), "code": code, "why": why,
                 "away_s": round(away_s, 2), "log": process.log_path.name}
        if name in self.stage.pods:
            entry["database"] = self._keep_database(name)
        if lose_disk:
            self.stage.wipe(name)
            entry["disk"] = "lost"
        if why is None:
            entry["last_line"] = (process.tail(1) or "").strip()[:300]
        self.timeline.put("death", **entry)

    def _keep_database(self, name):
        folder = self.stage.run_dir / "dbs" / f"{name}.{self.stage.processes[name].starts}"
        try:
            self.stage.copy_database(name, folder)
        except OSError as e:
            self.timeline.put("note", text=f"the database of {name} could not be copied: {e}")
            shutil.rmtree(folder, ignore_errors=True)
            return ""
        return folder.name

    def _start(self, name, process):
        process.start()
        with self.lock:
            self.due.pop(name, None)
        self.timeline.put("start", process=name, pid=process.pid, n=process.starts)

"""movers.py - moves guilds from pod to pod for as long as it runs, as an operator would: POST /reassign-guild."""
import statistics
import threading
import time

from processes import http_json

OPEN = ("wished", "warming", "ready", "cutover")
THREADS = 4      # moves under way at a time
MOVE_S = 60      # a move that takes longer counts as failed
PACE_S = 0.15    # between two moves of a thread


class Movers:
    """spans: when each move began and ended (monotonic)."""

    def __init__(self, cluster, guilds, wanted, pace_s=PACE_S):
        self.cluster, self.wanted, self.pace_s = cluster, wanted, pace_s
        self.lock, self.stopping = threading.Lock(), threading.Event()
        self.done, self.failures, self.pauses_us, self.spans = 0, [], [], []
        parts = [guilds[n::THREADS] for n in range(THREADS)]
        self.threads = [threading.Thread(target=self._work, args=(part,), daemon=True) for part in parts if part]

    def start(self):
        for thread in self.threads:
            thread.start()

    def stop(self):
        """Lets those under way end, and goes on until as many are done as wanted."""
        end = time.monotonic() + MOVE_S
        while self.done < self.wanted and not self.failures and time.monotonic() < end:
            time.sleep(0.1)
        self.stopping.set()
        for thread in self.threads:
            thread.join(MOVE_S + 10)

    def _work(self, guilds):
        while not self.stopping.is_set():
            for guild in guilds:
                if self.stopping.is_set():
                    return
                try:
                    self._move(guild)
                except (OSError, KeyError, TypeError) as e:
                    self._failed(guild, repr(e))
                self.stopping.wait(self.pace_s)

    def _failed(self, guild, why):
        with self.lock:
            self.failures.append(f"guild {guild}: {why}")
        self.stopping.wait(1)

    def _move(self, guild):
        pods = self.cluster.pods
        owner = self.cluster.assignments()[guild]
        target = pods[(pods.index(owner) + 1) % len(pods)]
        began = time.monotonic()
        status, answer = self.cluster.reassign(guild, target)
        if status == 409:  # it moves already, by the coordinator's own will
            return
        if status != 202:
            self._failed(guild, f"POST /reassign-guild answered {status} {answer}")
            return
        self._follow(guild, answer["move_id"], began)

    def _follow(self, guild, move_id, began):
        end = time.monotonic() + MOVE_S
        while time.monotonic() < end:
            _, move = http_json("GET", f"{self.cluster.coordinator_url}/moves/{move_id}")
            if move["state"] == "done":
                with self.lock:
                    self.done += 1
                    self.pauses_us.append(move["pause_us"])
                    self.spans.append((began, time.monotonic()))
                return
            if move["state"] not in OPEN:
                self._failed(guild, f"move {move_id} ended {move['state']}: {move.get('error')}")
                return
            time.sleep(0.02)
        self._failed(guild, f"move {move_id} did not end within {MOVE_S} s")

    def verdict(self):
        pauses = [p / 1000 for p in self.pauses_us] or [0.0]
        return {"done": self.done, "failed": len(self.failures),
                "pause_ms_p50": round(statistics.median(pauses), 3), "pause_ms_max": round(max(pauses), 3)}

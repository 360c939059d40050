"""timeline.py - what the harness did and saw, in order, for the checker and for whoever looks for a cause.

One JSON object a line: {"at": wall clock s, "what": …, …}.

THREAD: any.
"""
import json
import threading
import time


class Timeline:
    def __init__(self, path, say=lambda text: None):
        self.file, self.lock, self.say = open(path, "w"), threading.Lock(), say
        self.started = time.time()

    def put(self, what, **more):
        entry = {"at": round(time.time(), 6), "what": what, **more}
        with self.lock:
            if not self.file.closed:
                self.file.write(json.dumps(entry) + "\n")
                self.file.flush()
        return entry

    def tell(self, what, **more):
        """The same, also for the eye."""
        entry = self.put(what, **more)
        words = " ".join(f"{k}={v}" for k, v in more.items() if v not in ("", None))
        self.say(f"{entry['at'] - self.started:7.2f} s  {what} {words}")
        return entry

    def close(self):
        with self.lock:
            self.file.close()


def read_timeline(path):
    with open(path) as f:
        return [json.loads(line) for line in f]

"""rqlite.py - the write path of `events` by rqlite on one node: an INSERT an event, many in one call of its batch API.

It comes by `go install`; where it cannot be had, the result says why (`left_out`).
"""
import http.client
import json
import re
import time

from go_tools import Missing, go_tool
from processes import HOST, StartError, answers, free_port, wait_for
from usage import Meter, memory_kib

MODULE = "github.com/rqlite/rqlite/v8/cmd/rqlited@latest"
NAME = "rqlite, 64 INSERTs a call, no Discord before it"
BATCH = 64
START_S = 30
TABLE = """CREATE TABLE message_stats(message_id INTEGER PRIMARY KEY, author_id INTEGER, guild_id INTEGER,
    channel_id INTEGER, char_count INTEGER, word_count INTEGER, sent_at INTEGER)"""
INSERT = "INSERT INTO message_stats VALUES(?, ?, ?, ?, ?, ?, ?)"


def program(bench):
    """Its path; None when it cannot be had, which the result then says."""
    try:
        return go_tool("rqlited", MODULE)
    except Missing as e:
        bench.left_out["rqlite"] = re.sub(r"https?://\S+", "…", str(e)).strip()
        return None


def execute(connection, statements):
    connection.request("POST", "/db/execute?transaction", json.dumps(statements), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    told = json.loads(answer.read())
    if answer.status != 200 or any("error" in r for r in told["results"]):
        raise StartError(f"rqlite answered {answer.status}: {json.dumps(told)[:300]}")


def once(bench, path, count):
    """Figures as those of `events`."""
    folder, http_port, raft_port = bench.folder(f"rqlite-{time.monotonic_ns()}"), free_port(), free_port()
    process = bench.spawn("rqlited", [path, "-http-addr", f"{HOST}:{http_port}", "-raft-addr", f"{HOST}:{raft_port}",
                                      folder / "node"], folder)
    connection = http.client.HTTPConnection(HOST, http_port, timeout=60)
    try:
        wait_for("rqlite is ready", answers(f"http://{HOST}:{http_port}/readyz"), START_S, [process])
        execute(connection, [TABLE])
        meter, began = Meter({"rqlited": process.pid}), time.monotonic()
        for first in range(0, count, BATCH):
            execute(connection, [[INSERT, n, n % 97, n % 200, n % 5, 40, 8, n] for n in range(first, first + BATCH)])
        seconds = time.monotonic() - began
        return {"events": count, "seconds": round(seconds, 3), "per_s": round(count / seconds),
                "cpu_us_each": round(meter.read()["rqlited"] / count * 1e6, 1),
                "memory_mib": round(memory_kib(process.pid) / 1024, 1)}
    finally:
        connection.close()
        process.stop()

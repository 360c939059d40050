#!/usr/bin/env python3
"""recorder.py - writes down what passes on the bus, over a link of its own that no fault touches.

    tail.>  feed.>                    records and events, as they are stored
    snapshot.>  $KV.SHARDS.>          chunks of snapshots and sessions, as they are sent
    _INBOX.>                          of the answers to requests those of owners: interaction and portal replies

It never subscribes to what is asked: then nobody would be told any more that no owner is there. One entry a message, in
the order of arrival; "!connected" and "!lost" say when a link was up. What was stored while it was down is read from
the logs as soon as it is up again (a snapshot soon replaces it there) and stands as "=log.…". On one server the order
is the order of causes: the server hands us a record before it acknowledges it to the owner. Of a cluster every server
is listened to, so that some hear what one cannot pass on.

usage: recorder.py NATS_URL FILE
"""
import json
import signal
import struct
import sys
import threading
import time

from nats_link import Link, parse_head, read_stream, stream_names
from wire import body_kind

ENTRY = struct.Struct("<QdHHI")  # number, wall clock s, sizes of subject, head and body
SUBJECTS = ("tail.>", "feed.>", "snapshot.>", "$KV.SHARDS.>", "_INBOX.>")
FIRST_WORDS = {subject.partition(".")[0] for subject in SUBJECTS}
ANSWERS = ("interaction_reply", "portal_reply")


class Writer:
    def __init__(self, path):
        self.file, self.number, self.lock = open(path, "wb"), 0, threading.Lock()
        self.last = {}  # partition of the log: last sequence heard

    def put(self, subject, head=b"", body=b""):
        name = subject.encode()
        with self.lock:
            self.number += 1
            self.file.write(ENTRY.pack(self.number, time.time(), len(name), len(head), len(body)) + name + head + body)

    def put_message(self, m):
        if m.subject.startswith("tail."):
            self.last[m.subject.split(".")[1]] = int(parse_head(m.head)["Nats-Sequence"])
        self.put(m.subject, m.head, m.body)


def entries(path):
    """(number, wall clock s, subject, head, body) of a recorder's file; a cut last entry is left out."""
    with open(path, "rb") as f:
        while True:
            first = f.read(ENTRY.size)
            if len(first) < ENTRY.size:
                return
            number, at, name, head, body = ENTRY.unpack(first)
            rest = f.read(name + head + body)
            if len(rest) < name + head + body:
                return
            yield number, at, rest[:name].decode(), rest[name:name + head], rest[name + head:]


def is_wanted(m):
    """What came by a subject that we asked for: a pull's messages reach an inbox under the subject of their stream."""
    first = m.subject.partition(".")[0]
    return body_kind(m.body[:2]) in ANSWERS if first == "_INBOX" else first in FIRST_WORDS


def read_missed(urls, writer, last):
    """What the logs have behind the last that we heard. It is tried until the servers can answer."""
    for _ in range(240):
        try:
            with Link(urls, "chaos-missed", 2) as link:
                parts = [name.split("_")[1] for name in stream_names(link) if name.startswith("LOG_")]
            for part in parts:
                for m in read_stream(urls, f"LOG_{part}", last.get(part, 0) + 1):
                    writer.put("=" + m.subject, json.dumps({"seq": m.seq, "at_ms": m.at_ms}).encode(), m.body)
                    last[part] = m.seq
            writer.put("!read_missed")
            return
        except (OSError, KeyError, ValueError):
            time.sleep(0.25)
    writer.put("!not_read")


def listen(url, urls, writer, stopping):
    with Link(url, "chaos-recorder", 2) as link:
        for subject in SUBJECTS:
            link.subscribe(subject)
        writer.put("!connected", b"", url.encode())
        threading.Thread(target=read_missed, args=(urls, writer, dict(writer.last)), daemon=True).start()
        while not stopping:
            arrived = link.read(0.2)
            for m in arrived:
                if is_wanted(m):
                    writer.put_message(m)
            if not arrived:
                writer.file.flush()


def listen_always(url, urls, writer, stopping):
    while not stopping:
        try:
            listen(url, urls, writer, stopping)
        except OSError as e:
            writer.put("!lost", b"", f"{url} {e}".encode())
            time.sleep(0.02)


def main():
    urls, path = sys.argv[1:3]
    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(1))
    writer = Writer(path)
    writer.put("!started")
    writer.file.flush()
    threads = [threading.Thread(target=listen_always, args=(url, urls, writer, stopping)) for url in urls.split(",")]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(0.2)  # signals come in between
    writer.put("!stopped")
    writer.file.close()


if __name__ == "__main__":
    main()

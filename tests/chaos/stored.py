"""stored.py - a stream's messages in a file."""
import json
import struct

from nats_link import Stored

ENTRY = struct.Struct("<QQHII")  # sequence, ms, sizes of subject, headers (JSON) and body


def write_stored(path, messages):
    with open(path, "wb") as f:
        for m in messages:
            subject, headers = m.subject.encode(), json.dumps(m.headers).encode()
            f.write(ENTRY.pack(m.seq, m.at_ms, len(subject), len(headers), len(m.body)) + subject + headers + m.body)


def read_stored(path):
    with open(path, "rb") as f:
        while first := f.read(ENTRY.size):
            seq, at_ms, subject, headers, body = ENTRY.unpack(first)
            name, head = f.read(subject).decode(), json.loads(f.read(headers))
            yield Stored(name, seq, at_ms, head, f.read(body))

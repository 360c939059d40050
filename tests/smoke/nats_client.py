"""nats_client.py - the few lines of NATS's text protocol that a look into a stream needs."""
import base64
import json
import socket
import urllib.parse

from nats_auth import INBOX, LOGIN


def connect(urls, timeout_s=10):
    """A socket to the first of these servers (nats://host:port,…) that lets us in."""
    wrong = None
    for url in urls.split(","):
        parts = urllib.parse.urlsplit(url)
        try:
            found = socket.create_connection((parts.hostname, parts.port or 4222), timeout_s)
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or a PING waits for an ack
            return found
        except OSError as e:
            wrong = e
    raise OSError(f"no NATS server at {urls}: {wrong}") from wrong


class NatsClient:
    def __init__(self, url, timeout_s=10):
        self.socket = connect(url, timeout_s)
        self.file = self.socket.makefile("rb")
        self.file.readline()  # INFO
        self.inbox = f"{INBOX}.look{id(self)}"
        hello = {"verbose": False, "name": "look", "headers": True, **LOGIN}
        self._send(f"CONNECT {json.dumps(hello)}\r\nSUB {self.inbox} 1\r\n")

    def close(self):
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _send(self, text, body=b""):
        self.socket.sendall(text.encode() + body)

    def request(self, subject, body=b""):
        self._send(f"PUB {subject} {self.inbox} {len(body)}\r\n", body + b"\r\n")
        while True:
            words = self.file.readline().decode().split()
            if not words:
                raise OSError("NATS closed the connection")
            if words[0] == "PING":
                self._send("PONG\r\n")
            elif words[0] == "-ERR":
                raise OSError("NATS: " + " ".join(words[1:]))
            elif words[0] in ("MSG", "HMSG"):
                payload = self.file.read(int(words[-1]) + 2)[:-2]
                return payload[int(words[-2]):] if words[0] == "HMSG" else payload

    def headers(self, stream, subject):
        """The headers of each message of the subject, as text, in the stream's order."""
        seq = 1
        while True:
            asked = {"seq": seq, "next_by_subj": subject}
            answer = json.loads(self.request(f"$JS.API.STREAM.MSG.GET.{stream}", json.dumps(asked).encode()))
            if "message" not in answer:
                return
            seq = answer["message"]["seq"] + 1
            yield base64.b64decode(answer["message"].get("hdrs", "")).decode()

    def subject_counts(self, stream, subjects=">"):
        """{subject: messages} of a stream; the server answers in pages."""
        counts = {}
        while True:
            asked = {"subjects_filter": subjects, "offset": len(counts)}
            info = json.loads(self.request(f"$JS.API.STREAM.INFO.{stream}", json.dumps(asked).encode()))
            if "error" in info:
                raise OSError(f"stream {stream}: {info['error'].get('description')}")
            page = info["state"].get("subjects") or {}
            counts.update(page)
            if not page or len(counts) >= info.get("total", len(counts)):
                return counts

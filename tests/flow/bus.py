"""bus.py - NATS's text protocol, as far as the flow tests speak it: publish, request, listen."""
import collections
import itertools
import json
import time

from nats_auth import INBOX, LOGIN
from nats_client import connect

Message = collections.namedtuple("Message", "subject headers body")
JSON_TYPE = {"Content-Type": "application/json"}


class NoResponders(Exception):
    """Nobody listens on the subject."""


class Bus:
    def __init__(self, url, name="flow", login=lambda info: LOGIN, inbox=INBOX):
        self.socket = connect(url)
        self.buffer, self.arrived = b"", collections.deque()
        self.numbers, self.replies = itertools.count(1), {}
        self.info = json.loads(self._line(10).split(b" ", 1)[1])
        self.inbox = f"{inbox}.flow{id(self):x}{time.monotonic_ns():x}"
        hello = {"verbose": False, "pedantic": False, "name": name, "headers": True, "no_responders": True,
                 **login(self.info)}
        self._send(f"CONNECT {json.dumps(hello)}\r\nSUB {self.inbox}.* 0\r\n".encode())
        self.flush()

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- out ----

    def _send(self, data):
        self.socket.settimeout(10)
        self.socket.sendall(data)

    def publish(self, subject, body=b"", headers=None, reply=""):
        body = body if isinstance(body, bytes) else body.encode()
        if headers:
            head = b"NATS/1.0\r\n" + b"".join(f"{k}: {v}\r\n".encode() for k, v in headers.items()) + b"\r\n"
            self._send(f"HPUB {subject} {reply} {len(head)} {len(head) + len(body)}\r\n".encode() + head + body + b"\r\n")
        else:
            self._send(f"PUB {subject} {reply} {len(body)}\r\n".encode() + body + b"\r\n")

    def subscribe(self, subject, queue=""):
        self._send(f"SUB {subject} {queue} {next(self.numbers)}\r\n".encode())
        self.flush()

    def flush(self):
        """The server has seen all that was sent before."""
        self._send(b"PING\r\n")
        self._until(lambda line: line == b"PONG", 10)

    def request(self, subject, body=b"", headers=None, timeout_s=5):
        """The answer; NoResponders, or TimeoutError."""
        reply = f"{self.inbox}.{next(self.numbers)}"
        self.replies[reply] = None
        self.publish(subject, body, headers, reply)
        end = time.monotonic() + timeout_s
        while self.replies[reply] is None:
            self._one(end - time.monotonic())
        answer = self.replies.pop(reply)
        if answer.headers.startswith("NATS/1.0 503"):
            raise NoResponders(subject)
        return answer

    # ---- in ----

    def next(self, timeout_s):
        """The next message of what is subscribed; TimeoutError."""
        end = time.monotonic() + timeout_s
        while not self.arrived:
            self._one(end - time.monotonic())
        return self.arrived.popleft()

    def _until(self, wanted, timeout_s):
        end = time.monotonic() + timeout_s
        while not wanted(self._one(end - time.monotonic())):
            pass

    def _one(self, timeout_s):
        """Takes in one operation and returns its line."""
        line = self._line(timeout_s)
        words = line.decode("utf-8", "replace").split()
        if not words:
            return line
        if words[0] == "PING":
            self._send(b"PONG\r\n")
        elif words[0] == "-ERR":
            self._refused(line.decode())
        elif words[0] in ("MSG", "HMSG"):
            self._message(words)
        return line

    def _refused(self, line):
        raise OSError(f"NATS says {line}")

    def _message(self, words):
        payload = self._take(int(words[-1]) + 2, 30)[:-2]
        head = int(words[-2]) if words[0] == "HMSG" else 0
        m = Message(words[1], payload[:head].decode("utf-8", "replace"), payload[head:])
        if m.subject.startswith(self.inbox + "."):
            if m.subject in self.replies:
                self.replies[m.subject] = m
        else:
            self.arrived.append(m)

    def _line(self, timeout_s):
        end = time.monotonic() + timeout_s
        while b"\r\n" not in self.buffer:
            self._more(end - time.monotonic())
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def _take(self, size, timeout_s):
        end = time.monotonic() + timeout_s
        while len(self.buffer) < size:
            self._more(end - time.monotonic())
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def _more(self, timeout_s):
        if timeout_s <= 0:
            raise TimeoutError("nothing came from NATS")
        self.socket.settimeout(timeout_s)
        data = self.socket.recv(1 << 18)
        if not data:
            raise OSError("NATS closed the connection")
        self.buffer += data

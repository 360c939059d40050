"""nats_link.py - one NATS connection as fast as Python reads, and whole streams read by a consumer of our own.

    link = Link("nats://host:port,…");  link.subscribe("tail.>");  for m in link.read(): …
    for m in read_stream(url, "LOG_3", 1): …     m.seq, m.at_ms: as the stream has them

THREAD: confined to whoever opened it.
"""
import itertools
import json
import pathlib
import socket
import sys
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "smoke"))
from nats_auth import INBOX, LOGIN  # noqa: E402, F401

BATCH = 500
COUNTS = 5
PATIENCE_S = 20  # without a single message of those that a stream must have


class Message:
    __slots__ = ("subject", "reply", "head", "body")

    def __init__(self, subject, reply, head, body):
        self.subject, self.reply, self.head, self.body = subject, reply, head, body

    @property
    def headers(self):
        return parse_head(self.head)


def parse_head(head):
    """{name: value}, and "" : the status of a message without a body ("404")."""
    lines = head.decode("utf-8", "replace").split("\r\n")
    found = {"": lines[0][8:].strip().split(" ")[0]}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:
            found[name] = value.strip()
    return found


class Link:
    def __init__(self, urls, name="chaos", timeout_s=5, inbox="_CHAOS"):
        self.urls = urls.split(",")
        self.socket = self._connect(timeout_s)
        self.buffer, self.numbers, self.waiting = bytearray(), itertools.count(2), []
        self.inbox = f"{inbox}.{id(self):x}.{time.monotonic_ns():x}"
        hello = {"verbose": False, "pedantic": False, "name": name, "headers": True, "no_responders": True,
                 "lang": "py", "version": "1", "protocol": 1, **LOGIN}
        self.send(f"CONNECT {json.dumps(hello)}\r\nSUB {self.inbox}.* 1\r\nPING\r\n".encode())

    def _connect(self, timeout_s):
        wrong = None
        for url in self.urls:
            parts = urllib.parse.urlsplit(url)
            try:
                return socket.create_connection((parts.hostname, parts.port), timeout_s)
            except OSError as e:
                wrong = e
        raise OSError(f"no NATS server at {','.join(self.urls)}: {wrong}") from wrong

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.settimeout(10)
        self.socket.sendall(data)

    def subscribe(self, subject):
        self.send(f"SUB {subject} {next(self.numbers)}\r\n".encode())

    def publish(self, subject, body=b"", reply=""):
        self.send(f"PUB {subject} {reply} {len(body)}\r\n".encode() + body + b"\r\n")

    def read(self, timeout_s):
        """The messages that have come, after waiting for at most timeout_s; OSError when the connection has ended."""
        if self.waiting:
            found, self.waiting = self.waiting, []
            return found
        self.socket.settimeout(timeout_s)
        try:
            data = self.socket.recv(1 << 18)
        except TimeoutError:
            return []
        if not data:
            raise OSError("NATS closed the connection")
        self.buffer += data
        return self._parse()

    def _parse(self):
        found, at, buffer = [], 0, self.buffer
        while True:
            end = buffer.find(b"\r\n", at)
            if end < 0:
                break
            words = buffer[at:end].split()
            if words and words[0] in (b"MSG", b"HMSG"):
                size = int(words[-1])
                if end + 4 + size > len(buffer):
                    break
                found.append(self._message(words, bytes(buffer[end + 2:end + 2 + size])))
                at = end + 4 + size
                continue
            self._control(words, buffer[at:end])
            at = end + 2
        del buffer[:at]
        return found

    def _control(self, words, line):
        if words and words[0] == b"PING":
            self.send(b"PONG\r\n")
        elif words and words[0] == b"-ERR":
            raise OSError(f"NATS says {line.decode('utf-8', 'replace')}")

    @staticmethod
    def _message(words, payload):
        with_head = words[0] == b"HMSG"
        head = int(words[-2]) if with_head else 0
        has_reply = len(words) == (6 if with_head else 5)
        return Message(words[1].decode(), words[3].decode() if has_reply else "", payload[:head], payload[head:])

    def next_inbox(self):
        return f"{self.inbox}.{next(self.numbers)}"

    def request(self, subject, body=b"", timeout_s=10, reply=""):
        """The answer; what else comes meanwhile is kept for read(). TimeoutError; ConnectionError: nobody is there.
        reply: where it is to come to, from next_inbox()"""
        reply = reply or self.next_inbox()
        self.publish(subject, body if isinstance(body, bytes) else json.dumps(body).encode(), reply)
        end = time.monotonic() + timeout_s
        kept, self.waiting = self.waiting, []
        answer = None
        while answer is None:
            if time.monotonic() > end:
                self.waiting = kept
                raise TimeoutError(f"{subject}: no answer within {timeout_s} s")
            for m in self.read(max(0.001, end - time.monotonic())):
                if m.subject == reply:
                    answer = m
                else:
                    kept.append(m)
        self.waiting = kept
        if answer.head and not answer.body and answer.headers[""] == "503":
            raise ConnectionError(f"{subject}: nobody is there")
        return answer

    def ask(self, subject, body=b"", timeout_s=10):
        """The same of an endpoint that speaks JSON; OSError with what it complains about."""
        told = json.loads(self.request(subject, body, timeout_s).body)
        if "error" in told:
            raise OSError(f"{subject}: {told['error'].get('description')}")
        return told


class Stored:
    """A message of a stream."""
    __slots__ = ("subject", "seq", "at_ms", "headers", "body")

    def __init__(self, subject, seq, at_ms, headers, body):
        self.subject, self.seq, self.at_ms, self.headers, self.body = subject, seq, at_ms, headers, body


def _stored(m):
    """$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time ns>.<pending>; newer servers may put
    two words more behind $JS.ACK and one at the end."""
    words = m.reply.split(".")
    first = 2 if len(words) < 11 else 4
    return Stored(m.subject, int(words[first + 3]), int(words[first + 5]) // 1000000, m.headers, m.body)


def stream_names(link):
    names, offset = [], 0
    while True:
        page = link.ask("$JS.API.STREAM.NAMES", {"offset": offset})
        names += page["streams"] or []
        offset += len(page["streams"] or [])
        if not page["streams"] or offset >= page["total"]:
            return names


def read_stream(urls, stream, first_seq=1):
    """All messages of the stream from first_seq on that it holds now, in order. TimeoutError: they do not come.

    What was counted can be gone before it comes (a snapshot replaces a guild's log): then what is left is counted anew.
    """
    with Link(urls, "chaos-stream") as link:
        for _ in range(COUNTS):
            config = {"ack_policy": "none", "deliver_policy": "by_start_sequence", "opt_start_seq": max(1, first_seq),
                      "replay_policy": "instant", "mem_storage": True, "inactive_threshold": 60 * 10**9,
                      "num_replicas": 1}
            made = link.ask(f"$JS.API.CONSUMER.CREATE.{stream}", {"stream_name": stream, "config": config})
            try:
                for m in _pull(link, f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{made['name']}", made["num_pending"]):
                    first_seq = m.seq + 1
                    yield m
                return
            except TimeoutError as e:
                last = e
            finally:
                link.ask(f"$JS.API.CONSUMER.DELETE.{stream}.{made['name']}")
    raise last


def _pull(link, subject, left):
    """So many messages, asked for by the batch; a batch may come short when a server is behind."""
    patience = time.monotonic() + PATIENCE_S
    while left > 0:
        reply, due = link.next_inbox(), min(BATCH, left)
        link.publish(subject, json.dumps({"batch": due, "expires": 10**9}).encode(), reply)
        over = False
        while not over and due:
            for m in link.read(2):
                if m.reply.startswith("$JS.ACK."):
                    due, left = due - 1, left - 1
                    patience = time.monotonic() + PATIENCE_S
                    yield _stored(m)
                elif m.subject == reply:
                    over = True
            if time.monotonic() > patience:
                raise TimeoutError(f"{subject}: {left} messages have not come")

"""processes.py - child processes that leave nothing behind, free ports, and waiting for conditions."""
import http.client
import json
import os
import pathlib
import pwd
import random
import signal
import socket
import subprocess
import time
import urllib.parse

HOST = "127.0.0.1"


class StartError(Exception):
    """Something did not come up; the text names it and shows its last log lines."""


def is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((HOST, port))
        except OSError:
            return False
    return True


_taken = set()


def free_port(preferred=0):
    """The preferred port when nobody has it, else one below the range that outgoing connections use."""
    choices = [preferred] if preferred else []
    choices += random.sample(range(20000, 32000), 200)
    for port in choices:
        if port not in _taken and is_free(port):
            _taken.add(port)
            return port
    raise StartError("no free port found")


def http_request(method, url, body=None, headers=None, timeout_s=10):
    """(status, headers, text); raises OSError when nobody answers."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)
    try:
        path = parts.path or "/"
        if parts.query:
            path += "?" + parts.query
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode("utf-8", "replace")
    except http.client.HTTPException as e:
        raise OSError(f"{method} {url}: {e!r}") from e
    finally:
        connection.close()


def http_json(method, url, body=None, headers=None, timeout_s=10):
    """(status, parsed JSON or None)"""
    headers = dict(headers or {})
    data = None
    if body is not None:
        data = json.dumps(body).encode()
        headers.setdefault("Content-Type", "application/json")
    status, _, text = http_request(method, url, data, headers, timeout_s)
    try:
        return status, json.loads(text) if text else None
    except ValueError:
        return status, None


def metrics(url):
    """Prometheus text as {name or name{labels}: value}; {} when nobody answers."""
    try:
        status, _, text = http_request("GET", url, timeout_s=2)
    except OSError:
        return {}
    values = {}
    for line in text.splitlines() if status == 200 else []:
        if line and not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            values[name] = float(value)
    return values


class Process:
    """One child: its log is a file, it dies with us, stop() waits for it."""

    def __init__(self, name, argv, log_path, env=None, user=None, what=""):
        self.name, self.argv, self.log_path = name, [str(a) for a in argv], pathlib.Path(log_path)
        self.env, self.user, self.what = dict(env or {}), user, what
        self.popen, self.starts, self.log_from = None, 0, 0
        self.stopped_by_us = False

    def start(self):
        wrapper = ["setpriv", "--pdeathsig", "KILL"]
        if self.user:
            account = pwd.getpwnam(self.user)
            wrapper += [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--init-groups"]
        keep = {k: os.environ[k] for k in ("PATH", "HOME", "LANG", "TZ", "ASAN_OPTIONS", "UBSAN_OPTIONS",
                                           "TSAN_OPTIONS") if k in os.environ}
        with open(self.log_path, "ab") as log:
            self.log_from = log.tell()
            self.popen = subprocess.Popen(wrapper + self.argv, stdin=subprocess.DEVNULL, stdout=log,
                                          stderr=subprocess.STDOUT, env={**keep, **self.env},
                                          start_new_session=True)
        self.starts += 1
        self.stopped_by_us = False
        return self

    @property
    def pid(self):
        return self.popen.pid if self.popen else None

    def is_alive(self):
        return self.popen is not None and self.popen.poll() is None

    def exit_text(self):
        code = self.popen.poll() if self.popen else None
        if code is None:
            return "runs" if self.popen else "was not started"
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exited {code}"

    def log_text(self):
        """What it has logged since its last start."""
        with open(self.log_path, "rb") as f:
            f.seek(self.log_from)
            return f.read().decode("utf-8", "replace")

    def tail(self, lines=12):
        return "\n".join("    " + line for line in self.log_text().splitlines()[-lines:])

    def send(self, number):
        if self.is_alive():
            self.popen.send_signal(number)

    def stop(self, number=signal.SIGTERM, timeout_s=60):
        """True when it ended by itself after the signal; killed otherwise."""
        self.stopped_by_us = True
        if not self.is_alive():
            return True
        self.send(number)
        try:
            self.popen.wait(timeout_s)
            return True
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            return False


def wait_for(what, condition, timeout_s, processes=(), interval_s=0.05):
    """Returns condition()'s first true value. A process of these that ends ends the wait with its log."""
    end = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        for p in processes:
            if not p.is_alive():
                raise StartError(f"{p.name} {p.exit_text()} while waiting until {what}:\n{p.tail()}")
        if time.monotonic() > end:
            logs = "\n".join(f"  {p.name}, last lines of {p.log_path}:\n{p.tail()}" for p in processes)
            raise StartError(f"waited {timeout_s:g} s in vain until {what}\n{logs}")
        time.sleep(interval_s)


def answers(url, want=200, headers=None):
    """A condition for wait_for: the URL answers with this status."""
    def check():
        try:
            return http_request("GET", url, headers=headers, timeout_s=2)[0] == want
        except OSError:
            return False
    return check

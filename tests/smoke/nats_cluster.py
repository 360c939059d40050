"""nats_cluster.py - a NATS cluster of three servers on this machine, of a version that may replicate streams.

    servers 0 … 2 ──routes── each other; every one has a client port, a monitor port and a folder of its own

kill(i) is kill -9, freeze(i) a machine that hangs until thaw(i); restart(i) starts the same server on its old ports with
its old store.
"""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess

from go_tools import Missing, go_tool
from nats_client import NatsClient
from processes import HOST, Process, answers, free_port, wait_for

# As docs say for production: a server that hangs is dropped by the others within seconds, not minutes.
CONFIG = 'ping_interval: "2s"\nping_max: 2\n'
MODULE = "github.com/nats-io/nats-server/v2@latest"
LOWEST = (2, 10, 23)  # of replicated streams
START_S = 60
SETTLE_S = 120


def version_of(command):
    """(2, 10, 23), or None."""
    try:
        told = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"v?(\d+)\.(\d+)\.(\d+)", told)
    return tuple(map(int, found.groups())) if found else None


def nats_server_command():
    """A nats-server for replicated streams: NATS_SERVER, the current one built with Go, or the installed one when it
    is new enough. Missing: there is none."""
    told = os.environ.get("NATS_SERVER")
    if told:
        return told
    try:
        return str(go_tool("nats-server", MODULE))
    except Missing as e:
        installed = shutil.which("nats-server")
        if installed and (version_of(installed) or LOWEST) >= LOWEST:
            return installed
        raise Missing(f"no nats-server of at least {'.'.join(map(str, LOWEST))}: {e}") from e


class NatsCluster:
    def __init__(self, run_dir, servers=3, command=None, say=lambda text: None, more=(), auth=None):
        """more: further options of each nats-server; auth: its users (NatsAuth), else everybody may do everything"""
        self.run_dir, self.command, self.say = pathlib.Path(run_dir), command or nats_server_command(), say
        self.more, self.auth = more, auth
        self.ports = [free_port() for _ in range(servers)]
        self.monitors = [free_port() for _ in range(servers)]
        self.routes = [free_port() for _ in range(servers)]
        self.run_dir.mkdir(parents=True, exist_ok=True)
        self.config = self.run_dir / "nats.conf"
        self.config.write_text(CONFIG + (f'include "{os.path.relpath(auth.config, self.run_dir)}"\n' if auth else ""))
        self.processes = [self._process(i) for i in range(servers)]

    @property
    def urls(self):
        """All servers, as programs take it in NATS_URL."""
        return ",".join(self.url(i) for i in range(len(self.ports)))

    def url(self, i):
        return f"nats://{HOST}:{self.ports[i]}"

    def monitor_url(self, i):
        return f"http://{HOST}:{self.monitors[i]}"

    def name(self, i):
        return f"nats-{i}"

    @property
    def alive(self):
        return [i for i, p in enumerate(self.processes) if p.is_alive()]

    # ---- life ----

    def start(self):
        for i in range(len(self.processes)):
            self._start(i)
        self.wait_until_whole()
        return self

    def kill(self, i):
        self.processes[i].stop(signal.SIGKILL, 30)

    def restart(self, i):
        """The same server with its store; wait_until_whole() tells when it has caught up."""
        if self.processes[i].is_alive():
            raise ValueError(f"{self.name(i)} still runs")
        self._start(i)

    def freeze(self, i):
        """It says nothing more, and nobody is told."""
        self.processes[i].send(signal.SIGSTOP)

    def thaw(self, i):
        self.processes[i].send(signal.SIGCONT)

    def stop(self):
        """True when nobody had to be killed."""
        return all([p.stop(signal.SIGTERM, 60) for p in self.processes])

    def _process(self, i):
        others = ",".join(f"nats://{HOST}:{port}" for n, port in enumerate(self.routes) if n != i)
        argv = [self.command, "-n", self.name(i), "-a", HOST, "-p", self.ports[i], "-m", self.monitors[i], "-js",
                "-sd", self.run_dir / "data" / self.name(i), "--cluster_name", "guildbus-test",
                "--cluster", f"nats://{HOST}:{self.routes[i]}", "--routes", others,
                "-c", self.config, *self.more]
        (self.run_dir / "log").mkdir(parents=True, exist_ok=True)
        return Process(self.name(i), argv, self.run_dir / "log" / f"{self.name(i)}.log",
                       self.auth and self.auth.server_env, what="one NATS server of three")

    def _start(self, i):
        self.say(f"starting {self.name(i)}")
        p = self.processes[i].start()
        # /healthz asks for JetStream's leader, whom a first server knows only when a second one is there
        wait_for(f"{self.name(i)} answers", answers(self.monitor_url(i) + "/varz"), START_S, [p])

    # ---- questions ----

    def wait_until_whole(self, timeout_s=SETTLE_S):
        """Until every server that runs is healthy: it knows the leader and is up to date with all its streams."""
        for i in self.alive:
            wait_for(f"{self.name(i)} is up to date", answers(self.monitor_url(i) + "/healthz"), timeout_s,
                     [self.processes[i]])

    def ask(self, subject, body=b"", timeout_s=10):
        """An answer of JetStream's API; OSError: nobody leads just now."""
        with NatsClient(self.urls, timeout_s) as nats:
            return json.loads(nats.request(subject, body) or b'{"error":"nobody listens"}')

    def has_leader(self):
        """Whether JetStream's API works: streams may still have none."""
        try:
            return "error" not in self.ask("$JS.API.STREAM.NAMES", timeout_s=2)
        except OSError:
            return False

    def streams(self):
        """{stream: {"replicas": as configured, "leader": server, "others": {server: current}}}"""
        found, offset = {}, 0
        while True:
            page = self.ask("$JS.API.STREAM.LIST", json.dumps({"offset": offset}).encode())
            for s in page["streams"]:
                info = s.get("cluster", {})
                found[s["config"]["name"]] = {
                    "replicas": s["config"]["num_replicas"], "leader": self._number(info.get("leader")),
                    "others": {self._number(r["name"]): r.get("current", False) for r in info.get("replicas", [])}}
            offset += len(page["streams"])
            if not page["streams"] or offset >= page["total"]:
                return found

    def leader(self, stream):
        """The server that leads the stream; None: nobody now."""
        info = self.ask(f"$JS.API.STREAM.INFO.{stream}")
        return self._number(info.get("cluster", {}).get("leader"))

    def _number(self, name):
        names = [self.name(i) for i in range(len(self.ports))]
        return names.index(name) if name in names else None

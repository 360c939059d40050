"""stage.py - the cluster that chaos plays on: every process behind links of its own, logs kept per incarnation.

    nats ×1|3   postgres   proxy   recorder   coordinator-1…   sim   gw-1 …   edge-1 …
                             └ "gw-1/nats" … "coordinator-1/postgres" … "edges" (Discord's way in)

It builds on the cluster of the smoke test, which starts one of each and no links.
"""
import contextlib
import json
import pathlib
import shutil
import socket
import sqlite3
import struct
import subprocess
import sys
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "smoke"))
from cluster import START_S, Cluster, Options, _postgres_programs  # noqa: E402, F401
from nats_cluster import NatsCluster  # noqa: E402
from processes import HOST, Process, StartError, free_port, http_json, wait_for  # noqa: E402

FAILPOINT_FOLDER, CLOCK_FOLDER = "failpoints", "clocks"


class Incarnations(Process):
    """A process whose every start has a log of its own: <name>.<n>.log"""

    def start(self):
        self.log_path = self.log_path.parent / f"{self.name}.{self.starts + 1}.log"
        return super().start()


class Links:
    """Orders to proxy.py."""

    def __init__(self, port):
        self.socket = socket.create_connection((HOST, port), 10)
        self.file = self.socket.makefile("rw")

    def order(self, what):
        self.file.write(json.dumps(what) + "\n")
        self.file.flush()
        answer = json.loads(self.file.readline() or '{"ok": false, "error": "the proxy has gone"}')
        if not answer["ok"]:
            raise StartError(f"the proxy refuses {what}: {answer['error']}")

    def close(self):
        self.file.close()
        self.socket.close()


class Stage(Cluster):
    def __init__(self, options, settings, say=lambda text: None):
        super().__init__(options, say)
        self.coordinators = [f"coordinator-{n + 1}" for n in range(settings.coordinators)]
        self.edges = [f"edge-{n + 1}" for n in range(settings.edges)]
        self.settings, self.links, self.link_ports, self.clock_shim = settings, None, {}, settings.clock_shim
        for name in (*self.pods, *self.coordinators, *self.edges):
            for folder in (FAILPOINT_FOLDER, CLOCK_FOLDER):
                (self.run_dir / folder / name).mkdir(parents=True, exist_ok=True)

    # ---- names ----

    @property
    def nats_servers(self):
        return [p.name for p in self.nats.processes] if self.nats else ["nats"]

    @property
    def programs(self):
        """What is ours, and is started again when it ends."""
        return [*self.coordinators, *self.pods, *self.edges]

    @property
    def looked_after(self):
        """The same, and what these stand on."""
        return [*self.nats_servers, *(["postgres"] if self.options.postgres else []), *self.programs]

    @property
    def coordinator_url(self):
        return f"http://{HOST}:{self.ports[self.coordinators[0] + ' api']}"

    def failpoint_file(self, process, name):
        return self.run_dir / FAILPOINT_FOLDER / process / name

    def clock_file(self, process):
        return self.run_dir / CLOCK_FOLDER / process / "offset_ns"

    def set_clock(self, process, ms):
        """Its wall clock is so far from ours from now on (clock_shim.c)."""
        with open(self.clock_file(process), "r+b" if self.clock_file(process).exists() else "wb", 0) as f:
            f.write(struct.pack("<q", ms * 1000000))

    # ---- start ----

    def start(self):
        if self.options.postgres:
            self._start_postgres()
        self._start_nats()
        self.ports["edge"] = free_port()
        self._start_proxy()
        self._start_recorder()
        for name in self.coordinators:
            self._start_one_coordinator(name)
        self._start_sim()
        for pod in self.pods:
            self.start_gateway(pod)
        for name in self.edges:
            self._start_one_edge(name)
        self._await_ready()
        return self

    def _spawn(self, name, argv, env=None, user=None, what=""):
        p = Incarnations(name, argv, self.run_dir / "log" / f"{name}.log", env, user, what)
        self.processes[name] = p
        self.say(f"starting {name}")
        return p.start()

    def _start_nats_servers(self, **more):
        super()._start_nats_servers(**more, more=["--no_advertise=true"])  # or clients would find ways past the links

    def nats_ports(self):
        return self.nats.ports if self.nats else [self.ports["nats"]]

    def _start_proxy(self):
        control = free_port()
        p = self._spawn("proxy", [sys.executable, HERE / "proxy.py", control], what="links that can be cut")
        wait_for("the proxy listens", lambda: "listening" in p.log_text(), START_S, [p])
        self.links = Links(control)
        wanted = {}
        for name in self.programs:
            for n, port in enumerate(self.nats_ports()):
                self._want(wanted, f"{name}/nats" + (f"-{n}" if self.nats else ""), [[HOST, port]])
        for name in self.coordinators if self.options.postgres else []:
            self._want(wanted, f"{name}/postgres", [[HOST, self.ports["postgres"]]])
        for name in self.edges:
            self.ports[f"{name} http"] = free_port()
        self.link_ports["edges"] = self.ports["edge"]
        wanted["edges"] = {"port": self.ports["edge"], "tells": True,
                           "targets": [[HOST, self.ports[f"{name} http"]] for name in self.edges]}
        self.links.order({"links": wanted})

    def _want(self, wanted, link, targets):
        self.link_ports[link] = free_port()
        wanted[link] = {"port": self.link_ports[link], "targets": targets}

    def links_of(self, process, to):
        """The names of a process's links to "nats" or "postgres"."""
        return [name for name in self.link_ports if name.startswith(f"{process}/{to}")]

    def _start_recorder(self):
        p = self._spawn("recorder", [sys.executable, HERE / "recorder.py", self.nats_url, self.run_dir / "bus.bin"],
                        what="writes down what passes on the bus")
        wait_for("the recorder listens", lambda: (self.run_dir / "bus.bin").exists(), START_S, [p])

    def url_over_links(self, process):
        return ",".join(f"nats://{HOST}:{self.link_ports[link]}" for link in self.links_of(process, "nats"))

    def _env(self, name):
        env = {"NATS_URL": self.url_over_links(name), "FAILPOINT_DIR": self.run_dir / FAILPOINT_FOLDER / name}
        if self.clock_shim:
            env.update(LD_PRELOAD=self.clock_shim, CHAOS_CLOCK_FILE=self.clock_file(name))
            self.set_clock(name, 0)
        return env

    def _start_one_coordinator(self, name):
        url = ""
        if self.options.postgres:
            parts = urllib.parse.urlsplit(self.options.database_url)
            url = parts._replace(netloc=f"{parts.username}@{HOST}:{self.link_ports[name + '/postgres']}").geturl()
        api = self.ports[f"{name} api"] = free_port()
        self._program(name, "guildbus-coordinator", {
            **self._env(name), "DATABASE_URL": url, "DATA_DIR": self.data_dir(name), "API_BIND": HOST, "API_PORT": api,
            "COORDINATOR_TOKEN_FILE": self.secret_file("coordinator_token"), "LEASE_MS": self.options.lease_ms or "",
            "NATS_REPLICAS": min(self.options.nats_servers, 3), "GUILDBUS_STANDBYS": self.settings.standbys,
        }, "decides which pod owns which guild")
        self._await(name)

    def start_gateway(self, pod):
        d = self._discord()
        self._program(pod, "guildbus-gateway", {
            **self._env(pod), "POD_ID": pod, "DATA_DIR": self.data_dir(pod), "CONFIG_SERVICE_URL": self.coordinator_url,
            "PORTAL_URL": self.portal_url, "CAPACITY": max(100, self.options.guilds * 2),
            "SNAPSHOT_RECORDS": self.settings.snapshot_records,
            **{k: d[k] for k in ("DISCORD_TOKEN", "DISCORD_APPLICATION_ID", "DISCORD_API_URL")},
        }, "holds shards, owns guilds")

    def _start_one_edge(self, name):
        d = self._discord()
        self._program(name, "guildbus-edge", {
            **self._env(name), "HTTP_BIND": HOST, "HTTP_PORT": self.ports[f"{name} http"],
            "PORTAL_URL": self.portal_url, "SESSION_SECRET_FILE": self.secret_file("session_secret"),
            **{k: d[k] for k in ("DISCORD_PUBLIC_KEY", "DISCORD_APPLICATION_ID", "DISCORD_CLIENT_SECRET",
                                 "DISCORD_API_URL")},
        }, "interactions and portal")

    def _await_ready(self):
        for name in (*self.pods, *self.edges):
            self._await(name)
        status, answer = http_json("PUT", self.sim_admin + "/interactions-url", {"url": self.interactions_url})
        if status != 200:
            raise StartError(f"the simulator does not accept {self.interactions_url}: {status} {answer}")

    # ---- questions ----

    def ask_coordinators(self, method, path, body=None, timeout_s=2):
        """(status, answer) of the first coordinator that does what is asked; (0, None): none."""
        last = (0, None)
        for name in self.coordinators:
            with contextlib.suppress(OSError):
                status, answer = http_json(method, f"http://{HOST}:{self.ports[name + ' api']}{path}", body,
                                           {"Authorization": "Bearer " + self.secret("coordinator_token")}, timeout_s)
                if status < 500:
                    return status, answer
                last = status, answer
        return last

    def status(self):
        return self.ask_coordinators("GET", "/status")[1] or {}

    def leader(self):
        """The name of the coordinator that leads; None: nobody says so."""
        for name in self.coordinators:
            with contextlib.suppress(OSError):
                url = f"http://{HOST}:{self.ports[name + ' api']}/status"
                if (http_json("GET", url, timeout_s=1)[1] or {}).get("leader"):
                    return name
        return None

    def assignments(self):
        _, page = self.ask_coordinators("GET", "/guild-assignments?limit=10000")
        return {int(row["guild_id"]): row["pod_id"] for row in (page or {}).get("assignments", []) if row["pod_id"]}

    def table(self, name):
        """The rows of a coordinator's table, as dicts."""
        if self.options.postgres:
            query = f"COPY (SELECT row_to_json(t) FROM {name} t) TO STDOUT"
            out = subprocess.run([_postgres_programs() / "psql", "-XAtq", "-d", self.options.database_url, "-c", query],
                                 capture_output=True, text=True, check=True, timeout=60).stdout
            return [json.loads(line.replace("\\\\", "\\")) for line in out.splitlines()]
        path = self.data_dir(self.coordinators[0]) / "coordinator.sqlite3"
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute(f"SELECT * FROM {name}")]

    # ---- disks ----

    def copy_database(self, pod, to):
        """The pod's database as it is now, with its write-ahead log; the pod must not run."""
        to.mkdir(parents=True, exist_ok=True)
        for path in self.data_dir(pod).glob("guilds.sqlite3*"):
            shutil.copy2(path, to / path.name)

    def wipe(self, pod):
        for path in self.data_dir(pod).iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    # ---- the end ----

    def stop(self, but=()):
        """True when nobody had to be killed."""
        helpers = ["sim", "recorder", "proxy"]
        for name in [*self.edges, *self.pods, *self.coordinators, *helpers, *self.nats_servers, "postgres"]:
            p = self.processes.get(name)
            if p and name not in but and not p.stop(2 if name == "postgres" else 15, 60):
                self.killed.append(name)
        return not self.killed

"""cluster.py - a whole Guildbus on this machine; ./dev up, smoke, bench and the flow tests start it here.

    nats (one, or a cluster) ── sim, or the real Discord ── coordinator (── postgres) ── gateways gw-1 … ── edge

Everything listens on loopback only. Files, logs and secrets are in one folder; stop() goes the other way round.
"""
import contextlib
import dataclasses
import json
import os
import pathlib
import secrets
import shutil
import signal
import sqlite3
import subprocess

from nats_auth import NatsAuth, violations
from nats_cluster import NatsCluster
from processes import HOST, Process, StartError, answers, free_port, http_json, metrics, wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]
DISCORD = "https://discord.com/api/v10"
SIM_APPLICATION_ID = "1000000000000000001"
START_S = 60


@dataclasses.dataclass
class Options:
    run_dir: pathlib.Path
    bin_dir: pathlib.Path = ROOT / "build/release/bin"
    gateways: int = 2
    coordinators: int = 1      # more need a PostgreSQL
    edges: int = 1             # Discord knows the first
    guilds: int = 10
    members: int = 40
    shards: int = 2
    seed: int = 1
    capacity: int = 0          # of a pod; 0: enough for all guilds
    postgres: bool = False     # a PostgreSQL of its own
    database_url: str = ""     # an existing one
    usual_ports: bool = False  # 4222, 7080, 8080 … where they are free
    discord: dict = None       # DISCORD_* for the real Discord; None: the simulator
    lease_ms: int = 0          # 0: the coordinator's default
    nats_users: bool = True    # NATS as deploy/nats/auth.conf has it; else everybody may do everything
    nats_servers: int = 1      # more: a cluster of a version that may replicate, with replicated streams
    extra_env: dict = dataclasses.field(default_factory=dict)  # {program: {NAME: value}}


class Cluster:
    def __init__(self, options, say=lambda text: None):
        self.options, self.say = options, say
        self.run_dir = pathlib.Path(options.run_dir)
        self.processes = {}  # by name, in the order of their start
        self.auth = None     # the NatsAuth, when NATS has users
        self.nats = None     # the NatsCluster, when there is more than one server
        self.ports = {}
        self.sim_api = self.sim_admin = self.public_key = ""
        self.killed = []     # names of those that had to be killed at the stop
        for folder in ("log", "data", "secrets"):
            (self.run_dir / folder).mkdir(parents=True, exist_ok=True)
        os.chmod(self.run_dir / "secrets", 0o700)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    # ---- where things are ----

    @property
    def nats_url(self):
        """Where NATS is, as programs take it: more servers with commas between."""
        return self.nats.urls if self.nats else f"nats://{HOST}:{self.ports['nats']}"

    @property
    def coordinator_url(self):
        return f"http://{HOST}:{self.ports['coordinator']}"

    @property
    def portal_url(self):
        return f"http://{HOST}:{self.ports['edge']}"

    @property
    def interactions_url(self):
        return self.portal_url + "/webhooks/discord"

    @property
    def pods(self):
        return [f"gw-{n}" for n in range(1, self.options.gateways + 1)]

    @property
    def coordinator_names(self):
        return ["coordinator", *(f"coordinator-{n}" for n in range(2, self.options.coordinators + 1))]

    @property
    def edge_names(self):
        return ["edge", *(f"edge-{n}" for n in range(2, self.options.edges + 1))]

    def data_dir(self, name):
        return self.run_dir / "data" / name

    def secret_file(self, name):
        """The path of a random secret that stays the same from run to run."""
        path = self.run_dir / "secrets" / name
        if not path.exists():
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(fd, "w") as f:
                f.write(secrets.token_hex(32) + "\n")
        return path

    def secret(self, name):
        return self.secret_file(name).read_text().strip()

    # ---- start ----

    def start(self):
        if self.options.postgres and not self.options.database_url:
            self._start_postgres()
        self._start_nats()
        if not self.options.discord:
            self._start_sim()
        for name in self.coordinator_names:
            self._start_coordinator(name)
        self.ports["edge"] = self._port(8080)
        for pod in self.pods:
            self.start_gateway(pod)
        for name in self.edge_names:
            self._start_edge(name)
        self._await_ready()
        return self

    def _port(self, usual):
        return free_port(usual if self.options.usual_ports else 0)

    def _spawn(self, name, argv, env=None, user=None, what=""):
        p = Process(name, argv, self.run_dir / "log" / f"{name}.log", env, user, what)
        self.processes[name] = p
        self.say(f"starting {name}")
        return p.start()

    def _program(self, name, program, env, what):
        path = self.options.bin_dir / program
        if not path.exists():
            raise StartError(f"{path} is not there: build it with ./dev build")
        self.data_dir(name).mkdir(exist_ok=True)
        self.ports[f"{name} admin"] = free_port()
        env = {"ADMIN_PORT": str(self.ports[f"{name} admin"]), **env, **(self.auth.of(program) if self.auth else {}),
               **self.options.extra_env.get(program, {})}
        return self._spawn(name, [path], {k: str(v) for k, v in env.items() if v != ""}, what=what)

    def _start_postgres(self):
        bin_dir, user = _postgres_programs(), "postgres" if os.geteuid() == 0 else None
        data = self.data_dir("postgres")
        if user and not _can_reach(data.parent):  # postgres refuses root and cannot enter root's folders
            data = pathlib.Path("/var/tmp") / ("guildbus-" + self.secret("postgres_folder")[:16])
        port = self.ports["postgres"] = self._port(5432)
        if not (data / "PG_VERSION").exists():
            data.mkdir(mode=0o700, parents=True, exist_ok=True)
            if user:
                shutil.chown(data, user)
            initdb = self._spawn("initdb", [bin_dir / "initdb", "-D", data, "-U", "guildbus", "-A", "trust",
                                            "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"], user=user)
            if initdb.popen.wait(120) != 0:
                raise StartError(f"initdb failed:\n{initdb.tail()}")
            del self.processes["initdb"]
        # The socket folder is off: only loopback, so that the path's length never matters.
        p = self._spawn("postgres", [bin_dir / "postgres", "-D", data, "-p", port, "-c", f"listen_addresses={HOST}",
                                     "-c", "unix_socket_directories="], user=user, what="PostgreSQL")
        wait_for("PostgreSQL accepts connections", lambda: "ready to accept connections" in p.log_text(),
                 START_S, [p])
        self.postgres_data = data
        self.options.database_url = f"postgres://guildbus@{HOST}:{port}/postgres"

    def _start_nats(self):
        if self.options.nats_users:
            self.auth = NatsAuth(self.run_dir / "secrets" / "nats", self.options.bin_dir)
        if self.options.nats_servers > 1:
            self._start_nats_servers()
            return
        port, monitor = self._port(4222), free_port()
        self.ports.update({"nats": port, "nats admin": monitor})
        argv = ["nats-server", "-a", HOST, "-p", port, "-m", monitor, "-js", "-sd", self.data_dir("nats")]
        argv += ["-c", self.auth.config] if self.auth else []
        p = self._spawn("nats", argv, self.auth and self.auth.server_env, what="NATS with JetStream")
        wait_for("NATS answers", answers(f"http://{HOST}:{monitor}/healthz"), START_S, [p])

    def _start_nats_servers(self, **more):
        self.nats = NatsCluster(self.run_dir, self.options.nats_servers, say=self.say, auth=self.auth, **more)
        self.processes.update({p.name: p for p in self.nats.processes})
        self.nats.start()

    def _start_coordinator(self, name="coordinator"):
        self.ports[name] = self._port(7080)
        d = self._discord()
        self._program(name, "guildbus-coordinator", {
            "NATS_URL": self.nats_url, "DATABASE_URL": self.options.database_url,
            "DATA_DIR": self.data_dir(name), "API_BIND": HOST, "API_PORT": self.ports[name],
            "COORDINATOR_TOKEN_FILE": self.secret_file("coordinator_token"),
            "LEASE_MS": self.options.lease_ms or "",
            "NATS_REPLICAS": min(self.options.nats_servers, 3), "DEPLOY_COMMANDS": "true",
            **{k: d[k] for k in ("DISCORD_TOKEN", "DISCORD_APPLICATION_ID", "DISCORD_API_URL")},
        }, "decides which pod owns which guild")
        self._await(name)

    def _start_sim(self):
        port_file = self.run_dir / "sim.json"
        port_file.unlink(missing_ok=True)
        p = self._program("sim", "guildbus-discord-sim", {
            "SIM_PORT": 0, "SIM_ADMIN_PORT": 0, "SIM_PORT_FILE": port_file, "SIM_SEED": self.options.seed,
            "SIM_GUILDS": self.options.guilds, "SIM_MEMBERS": self.options.members,
            "SIM_SHARDS": self.options.shards, "SIM_TOKEN": self.secret("discord_token"),
            "SIM_APPLICATION_ID": SIM_APPLICATION_ID,
            "SIM_CLIENT_SECRET": self.secret("discord_client_secret"),
        }, "plays Discord")
        wait_for("the simulator listens", lambda: _whole_json(port_file), START_S, [p])
        told = _whole_json(port_file)
        self.ports.update({"sim": told["port"], "sim api": told["admin_port"]})
        self.sim_api, self.public_key = f"http://{HOST}:{told['port']}/api/v10", told["public_key"]
        self.sim_admin = f"http://{HOST}:{told['admin_port']}"

    def _discord(self):
        """What the programs need to know of Discord."""
        real = self.options.discord
        if real:
            return {"DISCORD_API_URL": DISCORD, **real}
        return {"DISCORD_API_URL": self.sim_api, "DISCORD_TOKEN": self.secret("discord_token"),
                "DISCORD_APPLICATION_ID": SIM_APPLICATION_ID, "DISCORD_PUBLIC_KEY": self.public_key,
                "DISCORD_CLIENT_SECRET": self.secret("discord_client_secret")}

    def start_gateway(self, pod):
        d = self._discord()
        self._program(pod, "guildbus-gateway", {
            "POD_ID": pod, "NATS_URL": self.nats_url, "DATA_DIR": self.data_dir(pod),
            "CONFIG_SERVICE_URL": self.coordinator_url, "PORTAL_URL": self.portal_url,
            "CAPACITY": self.options.capacity or max(100, self.options.guilds * 2),
            **{k: d.get(k, "") for k in ("DISCORD_TOKEN", "DISCORD_APPLICATION_ID", "DISCORD_API_URL")},
        }, "holds shards, owns guilds")

    def _start_edge(self, name="edge"):
        d = self._discord()
        if name not in self.ports:
            self.ports[name] = self._port(0)
        self._program(name, "guildbus-edge", {
            "HTTP_BIND": HOST, "HTTP_PORT": self.ports[name], "NATS_URL": self.nats_url,
            "PORTAL_URL": self.portal_url, "SESSION_SECRET_FILE": self.secret_file("session_secret"),
            **{k: d.get(k, "") for k in ("DISCORD_PUBLIC_KEY", "DISCORD_APPLICATION_ID",
                                         "DISCORD_CLIENT_SECRET", "DISCORD_API_URL")},
        }, "interactions and portal")

    def _await(self, name):
        wait_for(f"{name} is ready (/readyz)", answers(self.admin_url(name) + "/readyz"), START_S,
                 [self.processes[name]])

    def _await_ready(self):
        for name in [*self.pods, *self.edge_names]:
            self._await(name)
        if not self.options.discord:
            self.send_interactions_to("edge")

    def send_interactions_to(self, edge):
        """What a load balancer does when an edge is about to go."""
        url = f"http://{HOST}:{self.ports[edge]}/webhooks/discord"
        status, answer = http_json("PUT", self.sim_admin + "/interactions-url", {"url": url})
        if status != 200:
            raise StartError(f"the simulator does not accept {url}: {status} {answer}")

    def wait_until_owned(self, timeout_s=120):
        """Every guild of the simulator has an owner."""
        gateways = [self.processes[p] for p in self.pods]

        def owned():
            status = self.status()
            known = max(status.get("guilds", 0), self.options.guilds)  # guild 0 may be one of them
            return status.get("guilds_owned", 0) >= known and len(self.assignments()) >= self.options.guilds
        wait_for(f"all {self.options.guilds} guilds have an owner", owned, timeout_s, gateways)

    # ---- questions ----

    def admin_url(self, name):
        return f"http://{HOST}:{self.ports[name + ' admin']}"

    def status(self):
        """The coordinator's GET /status; {} while it is away."""
        try:
            return http_json("GET", self.coordinator_url + "/status", timeout_s=3)[1] or {}
        except OSError:
            return {}

    def assignments(self):
        """{guild: pod}, without guild 0 (direct messages)"""
        found, after = {}, ""
        while True:
            _, page = http_json("GET", f"{self.coordinator_url}/guild-assignments?limit=1000{after}")
            found.update({int(row["guild_id"]): row["pod_id"] for row in page["assignments"]
                          if row["pod_id"] and int(row["guild_id"])})
            if page["next"] is None:
                return found
            after = f"&after={page['next']}"

    def order(self, path, body):
        """(HTTP status, answer) of what only an operator may ask of the coordinator"""
        return http_json("POST", self.coordinator_url + path, body,
                         {"Authorization": "Bearer " + self.secret("coordinator_token")})

    def reassign(self, guild, pod):
        """(HTTP status, answer) of POST /reassign-guild"""
        return self.order("/reassign-guild", {"guild_id": str(guild), "pod_id": pod})

    def metrics(self, name):
        return metrics(self.admin_url(name) + "/metrics")

    def nats_refusals(self):
        """What NATS refused to anybody: the programs may do all that they try."""
        names = [p.name for p in self.nats.processes] if self.nats else ["nats"]
        return [f"{name}: {line}" for name in names
                for path in sorted((self.run_dir / "log").glob(f"{name}.*log"))
                for line in violations(path.read_text("utf-8", "replace"))]

    def stored_owners(self):
        """{guild: pod} of the coordinator's tables, for when it does not run any more."""
        wanted = "SELECT guild_id, pod_id FROM guild_assignments WHERE pod_id IS NOT NULL"
        if self.options.database_url:
            psql = _postgres_programs() / "psql"
            out = subprocess.run([psql, "-XAtq", "-F", " ", "-d", self.options.database_url, "-c", wanted],
                                 capture_output=True, text=True, check=True, timeout=30).stdout
            rows = [line.split() for line in out.splitlines()]
        else:
            path = self.data_dir("coordinator") / "coordinator.sqlite3"
            with contextlib.closing(sqlite3.connect(path)) as db:
                rows = db.execute(wanted).fetchall()
        return {int(guild): pod for guild, pod in rows}

    # ---- the end ----

    def stop(self, but=()):
        """Everything but these, the ones that take work in first; True when nobody had to be killed."""
        nats = [p.name for p in self.nats.processes] if self.nats else ["nats"]
        order = [*self.edge_names, *reversed(self.pods), *self.coordinator_names, "sim", *nats, "postgres"]
        for name in order:
            p = self.processes.get(name)
            if not p or name in but:
                continue
            if p.is_alive():
                self.say(f"stopping {name}")
            number = signal.SIGINT if name == "postgres" else signal.SIGTERM
            if not p.stop(number, 60):
                self.killed.append(name)
        return not self.killed

    def kill(self):
        """At once, for a second Ctrl-C."""
        for p in reversed(self.processes.values()):
            p.stop(signal.SIGKILL, 5)


def _postgres_programs():
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))
    if not found:
        raise StartError("PostgreSQL's programs are not installed (/usr/lib/postgresql/*/bin)")
    return found[-1]


def _whole_json(path):
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def _can_reach(folder):
    """Whether any user may walk to the folder."""
    return all(p.stat().st_mode & 0o001 for p in [folder.resolve(), *folder.resolve().parents])

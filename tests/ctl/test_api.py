#!/usr/bin/env python3
"""guildbusctl's verbs against an HTTP server that answers as the coordinator's API does.

usage: test_api.py GUILDBUSCTL
"""
import http.server, json, os, subprocess, sys, tempfile, threading, unittest
from urllib.parse import parse_qs, urlsplit

CTL = sys.argv[1]
TOKEN = "operator-token"


def assignment(n):
    return {"guild_id": str(613425648685547541 + n), "pod_id": f"gw-{n % 3}", "epoch": str(n + 1), "state": "owned",
            "assigned_at": "2026-11-23T08:30:00.000Z", "last_heartbeat": "2026-11-23T08:31:00.000Z"}


# direct messages are guild 0
ASSIGNMENTS = [dict(assignment(0), guild_id="0")] + [assignment(n) for n in range(2344)]
POD = {"pod_id": "gw-1", "status": "active", "guild_count": 7, "capacity": 100, "load": 3, "last_heartbeat": "x",
       "lease_ms_left": 3900, "version": "0.1.0", "schema": 4, "shards": [0, 2], "standbys": 9}
STATUS = {"version": "0.1.0", "storage": "sqlite", "guilds": 7, "guilds_owned": 6, "pods_active": 1, "moves_open": 0,
          "moves_done": 5, "moves_failed": 1, "shard_count": 2}
MOVE = {"id": "41", "guild_id": "613425648685547541", "source": "gw-1", "target": "gw-2", "state": "warming",
        "reason": "operator", "error": "", "created_at": "2026-11-23T08:30:00.000Z", "finished_at": None, "pause_us": 0}


PAST = {"id": "7", "at": "2026-11-23T08:30:00.000Z", "guild_id": "613425648685547541", "pod_id": "gw-1", "epoch": "3",
        "what": "moved", "reason": "drain", "move_id": "41"}
OUTCOME = {"dry_run": True, "frozen": "pods are silent", "more": True, "skew_before": {"most": 1.5, "least": 0.2},
           "skew_after": {"most": 1.04, "least": 0.97},
           "moves": [{"guild_id": "9", "source": "gw-1", "target": "gw-2", "weight": 1.5, "reason": "gw-1 is full",
                      "move_id": None}]}


class Coordinator(http.server.BaseHTTPRequestHandler):
    polls, ends_as, seen, bodies, empties_after = 0, ("done", ""), [], [], 2

    def log_message(self, *_):
        pass

    def answer(self, code, body):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def refuse(self, code, status, text):
        self.answer(code, {"error": {"status": status, "text": text}})

    def do_GET(self):
        url = urlsplit(self.path)
        query = {k: v[0] if k == "pod" else int(v[0]) for k, v in parse_qs(url.query).items()}
        Coordinator.seen.append(self.path)
        if url.path == "/status":
            self.answer(200, STATUS)
        elif url.path == "/pod-health":
            self.answer(200, {"pods": [POD, {"pod_id": "evil\u001b[2J"}]})
        elif url.path == "/guild-assignments" and "pod" in query:
            Coordinator.polls += 1
            left = Coordinator.polls <= Coordinator.empties_after
            self.answer(200, {"assignments": ASSIGNMENTS[:1] if left else [], "next": None})
        elif url.path == "/history":
            self.answer(200, {"history": [PAST] * query["limit"], "next": None})
        elif url.path == "/guild-assignments":
            rows = [a for a in ASSIGNMENTS if int(a["guild_id"]) > query.get("after", -1)]
            page = rows[:query["limit"]]
            self.answer(200, {"assignments": page, "next": page[-1]["guild_id"] if len(rows) > len(page) else None})
        elif url.path == "/moves":
            self.answer(200, {"moves": [MOVE] * query["limit"]})
        elif url.path == "/moves/41":
            Coordinator.polls += 1
            state, error = Coordinator.ends_as if Coordinator.polls > 2 else ("warming", "")
            over = Coordinator.polls > 2 and state != "never"
            self.answer(200, dict(MOVE, state=state, error=error, pause_us=2300,
                                  finished_at="2026-11-23T08:30:01.000Z" if over else None))
        else:
            self.refuse(404, "NOT_FOUND", "no such path")

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.refuse(401, "DENIED", "a token is needed")
        elif self.path in ("/drain-pod", "/undrain-pod"):
            known = body["pod_id"] == "gw-1"
            self.answer(202, {"pod_id": "gw-1", "status": "draining"}) if known else self.refuse(404, "NOT_FOUND", "?")
        elif self.path == "/rebalance":
            Coordinator.bodies.append(body)
            self.answer(200, OUTCOME)
        elif self.path == "/reshard":
            Coordinator.bodies.append(body)
            cancels = body.get("cancel", False)
            self.answer(202, {"dry_run": body.get("dry_run", False), "cancelled": cancels, "from": 2,
                              "to": 5, "sessions_left": 900, "stage": "none"})
        elif body["guild_id"] != MOVE["guild_id"]:
            self.refuse(404, "NOT_FOUND", "no such guild")
        elif body["pod_id"] == "gw-1":
            self.refuse(409, "CONFLICT", "it is there already")
        elif body["pod_id"] == "broken":
            self.answer(202, b"{")
        else:
            self.answer(202, {"move_id": "41"})


class Api(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Coordinator)
        threading.Thread(target=cls.server.serve_forever, daemon=True).start()
        cls.url = f"http://127.0.0.1:{cls.server.server_port}"

    @classmethod
    def tearDownClass(cls):
        cls.server.shutdown()
        cls.server.server_close()

    def setUp(self):
        Coordinator.polls, Coordinator.ends_as, Coordinator.seen = 0, ("done", ""), []
        Coordinator.bodies, Coordinator.empties_after = [], 2

    def run_ctl(self, *args, **env):
        env = {"CONFIG_SERVICE_URL": self.url, "PATH": os.environ["PATH"], **env}
        return subprocess.run([CTL, *args], capture_output=True, text=True, timeout=60, env=env)

    def expect(self, code, *args, **env):
        done = self.run_ctl(*args, **env)
        self.assertEqual(done.returncode, code, done)
        return done

    def test_status(self):
        self.assertEqual(json.loads(self.expect(0, "status", "--json").stdout), STATUS)
        lines = dict(line.split() for line in self.expect(0, "status").stdout.splitlines())
        self.assertEqual(lines, {k: str(v) for k, v in STATUS.items()})

    def test_pods(self):
        self.assertEqual(json.loads(self.expect(0, "pods", "--json").stdout)["pods"][0], POD)
        lines = self.expect(0, "pods").stdout.splitlines()
        self.assertEqual(lines[0].split()[:4], ["POD", "STATUS", "GUILDS", "CAPACITY"])
        self.assertEqual(lines[1].split(), ["gw-1", "active", "7", "100", "3", "3900", "0.1.0", "4", "0,2", "-", "9", "x"])
        self.assertEqual(lines[2].split(), ["evil?[2J"] + ["-"] * 11)
        self.assertEqual(lines[0].index("STATUS"), lines[1].index("active"))

    def test_guilds_of_all_pages(self):
        self.assertEqual(json.loads(self.expect(0, "guilds", "--json").stdout), {"assignments": ASSIGNMENTS})
        self.assertEqual(len(Coordinator.seen), 3)
        lines = self.expect(0, "guilds").stdout.splitlines()
        self.assertEqual([line.split()[0] for line in lines[1:]], [a["guild_id"] for a in ASSIGNMENTS])

    def test_some_guilds(self):
        after = ASSIGNMENTS[9]["guild_id"]
        got = json.loads(self.expect(0, "guilds", "--json", "--limit", "2", "--after=" + after).stdout)
        self.assertEqual(got["assignments"], ASSIGNMENTS[10:12])
        last = ASSIGNMENTS[-1]["guild_id"]
        self.assertEqual(json.loads(self.expect(0, "guilds", "--json", "--after", last).stdout), {"assignments": []})
        self.assertEqual(len(self.expect(0, "guilds", "--after", last).stdout.splitlines()), 1)

    def test_moves(self):
        self.assertEqual(len(json.loads(self.expect(0, "moves", "--json").stdout)["moves"]), 20)
        self.assertEqual(len(self.expect(0, "moves", "--limit", "3").stdout.splitlines()), 4)

    def test_reassign_waits_for_the_end(self):
        done = self.expect(0, "reassign", MOVE["guild_id"], "gw-2", COORDINATOR_TOKEN=TOKEN)
        self.assertIn("is now with pod gw-2", done.stdout)
        self.assertEqual(Coordinator.polls, 3)

    def test_reassign_reads_its_token_from_a_file(self):
        with tempfile.NamedTemporaryFile("w") as f:
            f.write(TOKEN + "\n")
            f.flush()
            done = self.expect(0, "reassign", MOVE["guild_id"], "gw-2", "--json", COORDINATOR_TOKEN_FILE=f.name)
        self.assertEqual(json.loads(done.stdout)["state"], "done")

    def test_reassign_without_waiting(self):
        args = ("reassign", MOVE["guild_id"], "gw-2", "--no-wait")
        self.assertEqual(self.expect(0, *args, COORDINATOR_TOKEN=TOKEN).stdout, "move 41\n")
        self.assertEqual(json.loads(self.expect(0, *args, "--json", COORDINATOR_TOKEN=TOKEN).stdout), {"move_id": "41"})
        self.assertEqual(Coordinator.polls, 0)

    def test_a_failed_move_fails(self):
        Coordinator.ends_as = ("failed", "target went away")
        done = self.expect(1, "reassign", MOVE["guild_id"], "gw-2", COORDINATOR_TOKEN=TOKEN)
        self.assertIn("failed: target went away", done.stderr)

    def test_a_move_without_end_is_given_up(self):
        Coordinator.ends_as = ("never", "")
        done = self.expect(1, "reassign", MOVE["guild_id"], "gw-2", "--timeout", "1", COORDINATOR_TOKEN=TOKEN)
        self.assertIn("move 41 goes on", done.stderr)

    def test_drain_waits_until_the_pod_is_empty(self):
        done = self.expect(0, "drain", "gw-1", COORDINATOR_TOKEN=TOKEN)
        self.assertIn("pod gw-1 is empty", done.stdout)
        self.assertEqual(Coordinator.polls, 3)
        done = self.expect(0, "drain", "gw-1", "--no-wait", COORDINATOR_TOKEN=TOKEN)
        self.assertIn("draining", done.stdout)
        self.assertEqual(Coordinator.polls, 3)
        self.assertIn("draining", self.expect(0, "undrain", "gw-1", COORDINATOR_TOKEN=TOKEN).stdout)
        self.expect(3, "drain", "gw-2", COORDINATOR_TOKEN=TOKEN)
        self.expect(4, "undrain", "gw-1")

    def test_a_drain_without_end_is_given_up(self):
        Coordinator.empties_after = 1000
        done = self.expect(1, "drain", "gw-1", "--timeout", "1", COORDINATOR_TOKEN=TOKEN)
        self.assertIn("still has guilds", done.stderr)

    def test_rebalance(self):
        done = self.expect(0, "rebalance", "--dry-run", "--limit", "5", COORDINATOR_TOKEN=TOKEN)
        lines = done.stdout.splitlines()
        self.assertEqual(lines[0].split(), ["GUILD", "FROM", "TO", "WEIGHT", "MOVE", "REASON"])
        self.assertEqual(lines[1].split()[:5], ["9", "gw-1", "gw-2", "1.5", "-"])
        self.assertIn("1 moves would be made at first: the heaviest pod carries 1.50 of the mean, 1.04", lines[2])
        self.assertIn("pods are silent", lines[3])
        done = self.expect(0, "rebalance", "--force", "--json", COORDINATOR_TOKEN=TOKEN)
        self.assertEqual(json.loads(done.stdout), OUTCOME)
        self.assertEqual(Coordinator.bodies, [{"dry_run": True, "force": False, "limit": 5},
                                              {"dry_run": False, "force": True}])
        self.expect(4, "rebalance")

    def test_reshard(self):
        done = self.expect(0, "reshard", "5", "--dry-run", COORDINATOR_TOKEN=TOKEN)
        self.assertIn("from 2 to 5 shards: it could begin now; Discord allows 900 session starts", done.stdout)
        self.assertIn("it has begun", self.expect(0, "reshard", "auto", COORDINATOR_TOKEN=TOKEN).stdout)
        done = self.expect(0, "reshard", "--cancel", COORDINATOR_TOKEN=TOKEN)
        self.assertIn("the reshard to 5 shards is given up: there are 2", done.stdout)
        self.assertEqual(Coordinator.bodies, [{"shard_count": 5, "dry_run": True},
                                              {"shard_count": "auto", "dry_run": False}, {"cancel": True}])
        self.expect(4, "reshard", "5")

    def test_history(self):
        lines = self.expect(0, "history", "613425648685547541", "--limit", "2").stdout.splitlines()
        self.assertEqual(len(lines), 3)
        self.assertEqual(lines[1].split()[1:], [PAST[k] for k in ("guild_id", "pod_id", "epoch", "what", "reason",
                                                                   "move_id")])
        self.assertEqual(Coordinator.seen, ["/history?limit=2&guild_id=613425648685547541"])
        self.assertEqual(len(json.loads(self.expect(0, "history", "--json").stdout)["history"]), 50)

    def test_refusals_have_their_exit_codes(self):
        guild = MOVE["guild_id"]
        self.assertIn("a token is needed", self.expect(4, "reassign", guild, "gw-2").stderr)
        self.expect(4, "reassign", guild, "gw-2", COORDINATOR_TOKEN="wrong")
        done = self.expect(3, "reassign", "42", "gw-2", COORDINATOR_TOKEN=TOKEN)
        self.assertIn("404 NOT_FOUND: no such guild", done.stderr)
        self.expect(1, "reassign", guild, "gw-1", COORDINATOR_TOKEN=TOKEN)
        self.expect(1, "reassign", guild, "broken", COORDINATOR_TOKEN=TOKEN)
        self.expect(3, "status", CONFIG_SERVICE_URL=self.url + "/elsewhere")

    def test_an_absent_coordinator_is_unavailable(self):
        server = http.server.HTTPServer(("127.0.0.1", 0), Coordinator)
        url = f"http://127.0.0.1:{server.server_port}"
        server.server_close()
        done = self.expect(5, "pods", CONFIG_SERVICE_URL=url)
        self.assertIn(url, done.stderr)
        self.assertEqual(self.expect(5, "guilds", "--json", CONFIG_SERVICE_URL=url).stdout, "")

    def test_wrong_usage(self):
        for args in [(), ("nonsense",), ("status", "x"), ("status", "--nonsense"), ("reassign",), ("reassign", "1"),
                     ("reassign", "x", "gw-1"), ("reassign", "1", "gw-1", "more"), ("guilds", "--limit"),
                     ("guilds", "--limit", "0"), ("guilds", "--limit=1x"), ("guilds", "--after", "x"),
                     ("drain",), ("undrain",), ("drain", "a", "b"), ("history", "x"), ("rebalance", "x"),
                     ("reshard",), ("reshard", "0"), ("reshard", "5x"), ("reshard", "5", "--cancel"),
                     ("reshard", "--cancel", "--dry-run"),
                     ("deploy-commands", "x"), ("deploy-commands", "--guild", "x")]:
            done = self.expect(2, *args)
            self.assertEqual(done.stdout, "")
            self.assertIn("guildbusctl", done.stderr)
        self.assertIn("DISCORD_TOKEN: is not set", self.expect(2, "deploy-commands").stderr)
        self.expect(2, "status", CONFIG_SERVICE_URL="nonsense")
        self.expect(2, "reassign", "1", "gw-1", COORDINATOR_TOKEN="a\nb")

    def test_help_and_version(self):
        self.assertIn("exit codes", self.expect(0, "--help").stdout)
        self.assertIn("exit codes", self.expect(0, "reassign", "--help").stdout)
        self.assertRegex(self.expect(0, "--version").stdout, r"^guildbusctl \d+\.\d+\.\d+\n$")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])

#!/usr/bin/env python3
"""The bot's commands at Discord: written when they differ and only then, by guildbusctl and by a coordinator that leads."""
import json
import os
import subprocess

from flow import HOST, LIMIT_S, answers, expect, free_port, http_json, http_request, run, say, sim, wait_for
from processes import metrics

TOKEN, WRONG_TOKEN = "token-of-the-test-0123456789", "a-wrong-token-0123456789"
APPLICATION = "1000000000000000001"
NAMES = ["Report", "Track", "modreport", "setup"]
TOO_MANY = json.dumps({"message": "You are being rate limited.", "retry_after": 1800})
DONE, FAILED, USAGE, NOT_FOUND, DENIED, UNAVAILABLE = range(6)


class Discord:
    """The simulator, as a bot and as its operator."""

    def __init__(self, flow):
        port, admin = free_port(), free_port()
        self.api, self.sim_admin = f"http://{HOST}:{port}/api/v10", f"http://{HOST}:{admin}"
        self.process = flow.spawn("sim", ["guildbus-discord-sim"], {
            "SIM_PORT": port, "SIM_ADMIN_PORT": admin, "SIM_TOKEN": TOKEN, "SIM_GUILDS": 2,
            "SIM_APPLICATION_ID": APPLICATION})
        wait_for("the simulator answers", answers(self.sim_admin + "/state"), LIMIT_S, [self.process])
        self.guild = self.get("/guilds")[0]["id"]

    def get(self, path):
        return http_json("GET", self.sim_admin + path)[1]

    def call(self, method, path, body=None):
        """As the bot, by hand."""
        status, answer = http_json(method, self.api + path, body, {"Authorization": f"Bot {TOKEN}",
                                                                   "User-Agent": "DiscordBot (test, 1)"})
        expect(status < 300, f"{method} {path}: {status} {answer}")
        return answer

    def commands(self, guild=None):
        return self.get("/commands" + (f"?guild={guild}" if guild else ""))

    def names(self, guild=None):
        return sorted(c["name"] for c in self.commands(guild))

    def writes(self):
        """How often the list was overwritten."""
        status, _, text = http_request("GET", self.sim_admin + "/record?kind=call")
        expect(status == 200, f"the record: {status}")
        return sum(json.loads(line)["method"] == "PUT" for line in text.splitlines())

    def trouble(self, **rule):
        sim(self, "/rest-faults", {"path": "/applications/*/commands*", **rule})

    def no_trouble(self):
        """How often the rules hit."""
        hits = sum(rule["hits"] for rule in self.get("/rest-faults"))
        http_json("DELETE", self.sim_admin + "/rest-faults")
        return hits


# ---- guildbusctl ----

class Ctl:
    def __init__(self, flow, discord):
        self.flow = flow
        self.env = {"DISCORD_TOKEN": TOKEN, "DISCORD_APPLICATION_ID": APPLICATION, "DISCORD_API_URL": discord.api}

    def run(self, code, *args, **env):
        """stdout and stderr as one text; never a token."""
        kept = {k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")}
        env = {k: v for k, v in {"PATH": os.environ["PATH"], **kept, **self.env, **env}.items() if v is not None}
        done = subprocess.run([self.flow.program("guildbusctl"), "deploy-commands", *args], env=env,
                              capture_output=True, text=True, timeout=LIMIT_S)
        told = done.stdout + done.stderr
        expect(done.returncode == code, f"deploy-commands {args}: exit {done.returncode}, not {code}\n{told}")
        expect(TOKEN not in told and WRONG_TOKEN not in told, f"the token is shown:\n{told}")
        return told

    def expect(self, code, *args, says=(), **env):
        told = self.run(code, *args, **env)
        for word in says:
            expect(word in told, f"deploy-commands {args} does not say {word!r}:\n{told}")
        return told


def the_first_writes_the_second_does_not(discord, ctl):
    ctl.expect(DONE, "--dry-run", says=["+ setup  slash command, new", "+ Report  message menu, new", "--dry-run"])
    expect(discord.writes() == 0 and not discord.commands(), "a dry run wrote something")
    ctl.expect(DONE, says=["4 differed, the 4 commands are written"])
    expect(discord.writes() == 1 and discord.names() == NAMES, f"{discord.writes()} writes, {discord.names()}")
    before = discord.commands()
    for args in ((), ("--dry-run",)):
        ctl.expect(DONE, *args, says=["Discord has the 4 commands already"])
    expect(discord.writes() == 1 and discord.commands() == before, "what was the same was written again")
    say("written once")


def what_was_changed_by_hand_is_shown_and_repaired(discord, ctl):
    path = f"/applications/{APPLICATION}/commands"
    before = {c["name"]: c for c in discord.commands()}
    setup = {k: before["setup"][k] for k in ("name", "type", "options", "contexts", "integration_types")}
    setup["options"] = [*setup["options"]]
    setup["options"][0] = {**setup["options"][0], "required": False}
    discord.call("POST", path, {**setup, "description": "evil \x1b[2J words", "default_member_permissions": None})
    discord.call("DELETE", f"{path}/{before['Track']['id']}")
    discord.call("POST", path, {"name": "ban", "type": 1, "description": "of an older version"})
    shown = ctl.expect(DONE, "--dry-run", says=[
        "~ setup  slash command, changed", 'description: "evil', "default_member_permissions: nothing -> \"8\"",
        "options.modlog.required: false -> true", "+ Track  message menu, new", "- ban  slash command, gone",
        "3 differ, nothing was written"])
    expect("Report" not in shown and "\x1b" not in shown, f"shown:\n{shown}")
    told = json.loads(ctl.run(DONE, "--dry-run", "--json"))
    expect([(c["change"], c["name"]) for c in told["differences"]] ==
           [("new", "Track"), ("changed", "setup"), ("gone", "ban")] and not told["written"], f"--json: {told}")
    expect(discord.names() == ["Report", "ban", "modreport", "setup"], "a dry run wrote something")
    ctl.expect(DONE, says=["3 differed"])
    after = {c["name"]: c for c in discord.commands()}
    expect(sorted(after) == NAMES, f"after the repair: {sorted(after)}")
    expect(after["setup"]["description"] == before["setup"]["description"], "the description is not repaired")
    expect(after["setup"]["id"] == before["setup"]["id"], "a command that was there has another id now")
    ctl.expect(DONE, says=["already"])
    say("shown and repaired")


def a_guilds_own_commands(discord, ctl):
    ctl.expect(DONE, "--guild", discord.guild, says=["4 differed"])
    expect(discord.names(discord.guild) == NAMES, f"the guild has {discord.names(discord.guild)}")
    expect(all("contexts" not in c or c["contexts"] is None for c in discord.commands(discord.guild)),
           "a guild's command has contexts")
    ctl.expect(DONE, f"--guild={discord.guild}", says=["already"])
    ctl.expect(NOT_FOUND, "--guild", "42", says=["404"])
    say("a guild's own")


def errors(flow, discord, ctl):
    writes = discord.writes()
    ctl.expect(DENIED, DISCORD_TOKEN=WRONG_TOKEN, says=["401", "DISCORD_TOKEN"])
    ctl.expect(DENIED, DISCORD_APPLICATION_ID="1000000000000000002", says=["403", "DISCORD_APPLICATION_ID"])
    ctl.expect(UNAVAILABLE, DISCORD_API_URL=f"http://{HOST}:{free_port()}", says=["no answer from Discord"])
    ctl.expect(USAGE, DISCORD_TOKEN=None, says=["DISCORD_TOKEN: is not set"])
    ctl.expect(USAGE, DISCORD_TOKEN="two words", says=["DISCORD_TOKEN"])
    ctl.expect(USAGE, DISCORD_APPLICATION_ID="mine", says=["DISCORD_APPLICATION_ID"])
    for args in (("word",), ("--guild", "x"), ("--guild",), ("--nonsense",)):
        ctl.expect(USAGE, *args)
    token = flow.folder / "token"
    token.write_text(TOKEN + "\n")
    ctl.expect(DONE, DISCORD_TOKEN=None, DISCORD_TOKEN_FILE=str(token), says=["already"])
    expect(discord.writes() == writes, "an error wrote something")
    say("errors are told apart")


def troubles(discord, ctl):
    """Each once at the GET, then at the PUT."""
    path = f"/applications/{APPLICATION}/commands"
    for method in ("GET", "PUT"):
        discord.call("POST", path, {"name": "stray", "type": 2})
        for rule, code, says in (({"how": "status", "status": 500}, UNAVAILABLE, "Discord answered 500"),
                                 ({"how": "garbage"}, FAILED, "no list of commands"),
                                 ({"how": "cut", "times": 0}, UNAVAILABLE, "no answer from Discord"),
                                 ({"how": "status", "status": 429, "body": TOO_MANY}, UNAVAILABLE, "again in 1800 s")):
            discord.trouble(method=method, **rule)
            ctl.expect(code, says=[says])
            expect(discord.no_trouble() >= 1, f"{method} {rule}: it was not asked")
    discord.trouble(method="GET", how="limit", ms=300)
    ctl.expect(DONE, says=["trying again in 0.", "1 differed"])
    discord.no_trouble()
    expect(discord.names() == NAMES, f"after the troubles: {discord.names()}")
    discord.trouble(method="GET", how="status", status=429, times=0, body=json.dumps({"retry_after": 0.2}))
    ctl.expect(UNAVAILABLE, says=["429", "try again in 1 s"])
    expect(discord.no_trouble() == 2, "a 429 is honoured once, then told")
    say("troubles are told apart")


# ---- the coordinator ----

class Coordinator:
    def __init__(self, flow, discord, nats_url):
        self.flow, self.admin = flow, free_port()
        self.env = {"NATS_URL": nats_url, "DATA_DIR": flow.folder / "coordinator", "API_PORT": free_port(),
                    "ADMIN_PORT": self.admin, "DISCORD_TOKEN": TOKEN, "DISCORD_APPLICATION_ID": APPLICATION,
                    "DISCORD_API_URL": discord.api}
        (flow.folder / "coordinator").mkdir()

    def start(self, name, **env):
        self.process = self.flow.spawn(name, ["guildbus-coordinator"], {**self.env, **env})
        self.await_log("event=leading")
        return self

    def await_log(self, word):
        p = self.process
        wait_for(f"{p.name} says {word}", lambda: word in p.log_text(), LIMIT_S, [p])

    def stop(self):
        asked = self.process.log_text().count("event=commands_deployed")
        expect(asked <= 1, f"{self.process.name} asked {asked} times in one leadership")
        expect(TOKEN not in self.process.log_text() and WRONG_TOKEN not in self.process.log_text(), "a token in the log")
        expect(self.process.stop(), f"{self.process.name} had to be killed")
        self.flow.expect_exit(self.process, 0)

    def metric(self, name):
        return metrics(f"http://{HOST}:{self.admin}/metrics").get("guildbus_coordinator_" + name)


def the_leader_writes_once(flow, discord, coordinator):
    discord.call("PUT", f"/applications/{APPLICATION}/commands", [])
    writes = discord.writes()
    coordinator.start("silent")
    coordinator.stop()  # a leader that was not asked
    expect(discord.writes() == writes, "a coordinator wrote although nobody asked")

    coordinator.start("first", DEPLOY_COMMANDS="true").await_log("event=commands_deployed commands=4 differed=4 written=1")
    expect(coordinator.metric("commands_deployed") == 1 and coordinator.metric("commands_written_total") == 1, "metrics")
    coordinator.stop()
    expect(discord.writes() == writes + 1 and discord.names() == NAMES, f"{discord.writes()} writes, {discord.names()}")

    coordinator.start("again", DEPLOY_COMMANDS="true").await_log("event=commands_deployed commands=4 differed=0 written=0")
    expect(coordinator.metric("commands_deployed") == 1, "metrics after a restart")
    coordinator.stop()
    expect(discord.writes() == writes + 1, "a restart wrote again")
    say("the leader writes once")


def a_follower_writes_nothing(flow, discord, coordinator):
    """Until it leads."""
    coordinator.start("leader", DEPLOY_COMMANDS="true").await_log("event=commands_deployed")
    writes = discord.writes()
    discord.call("POST", f"/applications/{APPLICATION}/commands", {"name": "stray", "type": 2})
    admin = free_port()
    follower = flow.spawn("follower", ["guildbus-coordinator"], {
        **coordinator.env, "API_PORT": free_port(), "ADMIN_PORT": admin, "DEPLOY_COMMANDS": "true"})
    wait_for("the follower is ready", answers(f"http://{HOST}:{admin}/readyz"), LIMIT_S, [follower])
    coordinator.stop()
    wait_for("the follower leads and looks", lambda: "event=commands_deployed" in follower.log_text(), LIMIT_S, [follower])
    log = follower.log_text()
    expect(log.index("event=leading") < log.index("event=commands_deployed"), "it looked before it led")
    expect("commands_not_deployed" not in log and discord.writes() == writes + 1, f"{discord.writes() - writes} writes:\n{log}")
    expect(discord.names() == NAMES, f"after the change of the leader: {discord.names()}")
    coordinator.process = follower
    coordinator.stop()
    say("a follower writes nothing")


def a_failure_is_a_warning(flow, discord, coordinator):
    """It leads all the same, and tries again."""
    discord.call("POST", f"/applications/{APPLICATION}/commands", {"name": "stray", "type": 2})
    writes = discord.writes()
    discord.trouble(method="PUT", how="status", status=503)
    coordinator.start("patient", DEPLOY_COMMANDS="true").await_log("event=commands_not_deployed")
    line = next(x for x in coordinator.process.log_text().splitlines() if "commands_not_deployed" in x)
    expect("level=warn" in line and "503" in line and "retry_in_ms=" in line, line)
    expect(coordinator.metric("leads") == 1 and not coordinator.metric("commands_deployed"), "metrics of a failure")
    coordinator.await_log("event=commands_deployed")
    coordinator.stop()
    expect(discord.no_trouble() == 1 and discord.names() == NAMES, f"after the second try: {discord.names()}")
    expect(discord.writes() == writes + 1, f"{discord.writes() - writes} writes")
    coordinator.start("refused", DEPLOY_COMMANDS="true", DISCORD_TOKEN=WRONG_TOKEN).await_log("event=commands_not_deployed")
    expect("401" in coordinator.process.log_text(), "the log does not say why")
    coordinator.stop()
    say("a failure is a warning")


def body(flow):
    discord = Discord(flow)
    ctl = Ctl(flow, discord)
    the_first_writes_the_second_does_not(discord, ctl)
    what_was_changed_by_hand_is_shown_and_repaired(discord, ctl)
    a_guilds_own_commands(discord, ctl)
    errors(flow, discord, ctl)
    troubles(discord, ctl)
    _, nats_url = flow.nats()
    coordinator = Coordinator(flow, discord, nats_url)
    the_leader_writes_once(flow, discord, coordinator)
    a_follower_writes_nothing(flow, discord, coordinator)
    a_failure_is_a_warning(flow, discord, coordinator)


run(body)

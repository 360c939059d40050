#!/usr/bin/env python3
"""Settings: all wrong values are told at once without a secret; --help, --version and --print-config of each program."""
import os
import subprocess

from flow import expect, run, say

SECRET = "hunter2-is-no-good-secret-0123456789"
KEY = "ab" * 32

# Made for this test; nobody knows it.
SEED = "SUADQNRLQFAO3DTEII4FSI3EMNIRFTPIAIJGAYV5ENV7NWT5SI6335ZC3M"
WRONG_NATS = {"NATS_NKEY_SEED": SEED[:-1] + "A", "NATS_CA_FILE": "/nowhere/ca.pem",
              "NATS_CERT_FILE": "/nowhere/cert.pem", "NATS_KEY_FILE": "/nowhere/key.pem"}

# program: (settings that work, {setting: a wrong value}, its secrets)
PROGRAMS = {
    "guildbus-gateway": (
        {"POD_ID": "gw-1", "DISCORD_TOKEN": SECRET, "DISCORD_APPLICATION_ID": "1000000000000000001",
         "NATS_NKEY_SEED": SEED},
        {**WRONG_NATS, "POD_ID": "a pod", "ASSIGNED_GUILDS": "1,x", "NATS_URL": "127.0.0.1:4222", "CAPACITY": "many",
         "DRAIN_MS": "-1", "ADMIN_PORT": "70000", "LOG_LEVEL": "loud", "LOG_FORMAT": "xml", "DISCORD_API_URL": "no url",
         "PORTAL_URL": "ftp://x", "UNSEAL_MS": "1", "EVENTS_HOURS": "0"},
        ["DISCORD_TOKEN", "NATS_NKEY_SEED"]),
    "guildbus-edge": (
        {"DISCORD_PUBLIC_KEY": KEY, "DISCORD_APPLICATION_ID": "1000000000000000001", "DISCORD_CLIENT_SECRET": SECRET,
         "SESSION_SECRET": SECRET, "NATS_NKEY_SEED": SEED},
        {**WRONG_NATS,
         "HTTP_PORT": "http", "NATS_URL": "nats://", "DISCORD_PUBLIC_KEY": "abc", "DISCORD_APPLICATION_ID": "1,2",
         "PORTAL_URL": "https://example.org/path", "INTERACTION_DEFER_MS": "9999", "INTERACTION_REPEAT_MS": "1",
         "SIGNATURE_WINDOW_S": "1", "MAX_BODY": "1", "ADMIN_PORT": "-1", "LOG_LEVEL": "LOUD", "LOG_FORMAT": "text"},
        ["DISCORD_CLIENT_SECRET", "SESSION_SECRET", "NATS_NKEY_SEED"]),
    "guildbus-coordinator": (
        {"DATABASE_URL": f"postgres://me:{SECRET}@127.0.0.1:1/x", "COORDINATOR_TOKEN": SECRET, "DISCORD_TOKEN": SECRET,
         "DISCORD_APPLICATION_ID": "1000000000000000001", "DEPLOY_COMMANDS": "true",
         "NATS_NKEY_SEED": SEED},
        {**WRONG_NATS,
         "NATS_URL": "nats://a b", "API_PORT": "65536", "LEASE_MS": "1s", "SHARD_COUNT": "-1", "MAX_MOVES": "0",
         "EVENTS_HOURS": "0", "NATS_REPLICAS": "9", "ADMIN_PORT": "1.5", "LOG_LEVEL": "3", "LOG_FORMAT": "JSON",
         "DEPLOY_COMMANDS": "perhaps", "DISCORD_APPLICATION_ID": "0", "DISCORD_API_URL": "no url"},
        ["DATABASE_URL", "COORDINATOR_TOKEN", "DISCORD_TOKEN", "NATS_NKEY_SEED"]),
    "guildbus-discord-sim": (
        {},
        {"SIM_PORT": "x", "SIM_ADMIN_PORT": "99999", "SIM_SEED": "-1", "SIM_GUILDS": "0", "SIM_MEMBERS": "1",
         "SIM_SHARDS": "0", "SIM_INTERACTIONS_URL": "x", "LOG_LEVEL": "0"},
        []),
}


def call(flow, program, *flags, **env):
    """(exit code, stdout, stderr)"""
    env = {"PATH": os.environ["PATH"], **{k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")}, **env}
    done = subprocess.run([flow.program(program), *flags], env=env, capture_output=True, text=True, timeout=30)
    shown = done.stdout + done.stderr
    expect(SECRET not in shown and SEED[:-1] not in shown, f"{program} {flags} shows a secret:\n{shown}")
    return done.returncode, done.stdout, done.stderr


def wrong_values(flow, program, good, wrong):
    """All at once; without the secrets that are set beside them."""
    for flags in ([], ["--print-config"]):
        code, _, told = call(flow, program, *flags, **{**good, **wrong})
        expect(code == 2, f"{program} {flags} with wrong settings: exit {code}\n{told}")
        for name in wrong:
            lines = [line for line in told.splitlines() if line.startswith(name + ": ")]
            expect(len(lines) == 1, f"{program} does not tell of {name}={wrong[name]} in one line:\n{told}")
    for name in {"NATS_CERT_FILE", "NATS_KEY_FILE"} & set(wrong):  # one of them without the other
        code, _, told = call(flow, program, "--print-config", **{**good, name: __file__})
        expect(code == 2 and f"{name} needs it beside" in told, f"{program} takes {name} alone: exit {code}\n{told}")
    if "NATS_URL" in wrong:
        code, _, told = call(flow, program, "--print-config", **{**good, "NATS_URL": "nats://me:word@127.0.0.1:4222"})
        expect(code == 2 and "NATS_URL: names a user" in told, f"{program} takes two logins: exit {code}\n{told}")
    for name, value in wrong.items():  # each is wrong by itself, too
        code, _, told = call(flow, program, "--print-config", **{**good, name: value})
        expect(code == 2 and f"{name}: " in told, f"{program} takes {name}={value}: exit {code}\n{told}")


REQUIRED = {"guildbus-gateway": ["POD_ID", "DISCORD_TOKEN", "DISCORD_APPLICATION_ID"],
            "guildbus-edge": ["DISCORD_PUBLIC_KEY", "DISCORD_APPLICATION_ID"]}


def required(flow, program):
    """The others start with nothing set."""
    for flags in ([], ["--print-config"]) if program in REQUIRED else ():
        code, _, told = call(flow, program, *flags)
        missing = [name for name in REQUIRED[program] if f"{name}: is not set" not in told]
        expect(code == 2 and not missing, f"{program} without settings: exit {code}, says nothing of {missing}\n{told}")


def print_config(flow, program, good, secrets):
    code, shown, told = call(flow, program, "--print-config", **good)
    expect(code == 0 and not told, f"{program} --print-config: exit {code}\n{told}")
    lines = dict(line.split("=", 1) for line in shown.splitlines())
    for name in secrets:
        expect(lines[name] == "****  # environment", f"{program} shows {name} as {lines[name]}")
    for name, value in good.items():
        expect(name in secrets or lines[name] == f"{value}  # environment", f"{program} shows {name} as {lines[name]}")
    expect(lines["LOG_LEVEL"] == "info  # default", f"LOG_LEVEL: {lines['LOG_LEVEL']}")
    code, helped, _ = call(flow, program, "--help")
    expect(code == 0 and all(name in helped for name in lines), f"{program} --help misses settings:\n{helped}")


def secret_files(flow, program, good, secrets):
    """NAME_FILE instead of NAME; both is one too many; a file that is not there is told with its path."""
    for name in secrets:
        path = flow.folder / f"{program}-{name}"
        path.write_text(good[name] + "\n")
        rest = {k: v for k, v in good.items() if k != name}
        code, shown, told = call(flow, program, "--print-config", **rest, **{name + "_FILE": str(path)})
        expect(code == 0 and f"{name}=****  # file {path}\n" in shown, f"{program} {name}_FILE: {code}\n{shown}{told}")
        code, _, told = call(flow, program, "--print-config", **good, **{name + "_FILE": str(path)})
        expect(code == 2 and name in told and "unset one" in told, f"{program} takes {name} twice: {code}\n{told}")
        code, _, told = call(flow, program, "--print-config", **rest, **{name + "_FILE": "/nowhere/at/all"})
        expect(code == 2 and "/nowhere/at/all" in told, f"{program} with a missing file: {code}\n{told}")
        path.write_text("")
        code, _, told = call(flow, program, "--print-config", **rest, **{name + "_FILE": str(path)})
        expect(code == 2 and "empty" in told, f"{program} with an empty file: {code}\n{told}")


def flags(flow, program):
    code, version, told = call(flow, program, "--version")
    expect(code == 0 and version.startswith(program + " ") and len(version.split()) == 2 and not told,
           f"{program} --version: {code} {version}{told}")
    code, _, told = call(flow, program, "--prnt-config")
    expect(code == 2 and "--prnt-config" in told and "--print-config" in told, f"a wrong flag: {code}\n{told}")
    return version.split()[1]


def ctl_flags(flow, version):
    code, told, _ = call(flow, "guildbusctl", "--version")
    expect(code == 0 and told == f"guildbusctl {version}\n", f"guildbusctl --version: {code} {told}")
    code, told, _ = call(flow, "guildbusctl", "--help")
    expect(code == 0 and all(w in told for w in ("decode", "reassign", "CONFIG_SERVICE_URL")), f"its help:\n{told}")
    code, _, told = call(flow, "guildbusctl", "frobnicate")
    expect(code == 2 and "frobnicate" in told, f"guildbusctl with an unknown verb: {code}\n{told}")
    code, _, told = call(flow, "guildbusctl", "status", CONFIG_SERVICE_URL="http://127.0.0.1:1")
    expect(code == 5 and "127.0.0.1:1" in told, f"guildbusctl without a coordinator: {code}\n{told}")
    code, shown, told = call(flow, "guildbusctl", "reassign", "1", "gw-1", CONFIG_SERVICE_URL="no url",
                             COORDINATOR_TOKEN=SECRET)
    expect(code == 2 and "CONFIG_SERVICE_URL" in told, f"guildbusctl with a wrong address: {code}\n{shown}{told}")


def body(flow):
    versions = set()
    for program, (good, wrong, secrets) in PROGRAMS.items():
        required(flow, program)
        wrong_values(flow, program, good, wrong)
        print_config(flow, program, good, secrets)
        secret_files(flow, program, good, secrets)
        versions.add(flags(flow, program))
        say(f"{program}: {len(wrong)} wrong values told at once")
    expect(len(versions) == 1, f"several versions: {versions}")
    ctl_flags(flow, versions.pop())


run(body)

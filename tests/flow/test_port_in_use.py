#!/usr/bin/env python3
"""A port that somebody has: the program ends at once, with 1 and one clear line that names the port."""
import contextlib
import socket

from flow import HOST, TOKEN, Flow, expect, run, say

PUBLIC_KEY = "ab" * 32


@contextlib.contextmanager
def taken_port():
    with socket.socket() as s:
        s.bind((HOST, 0))
        s.listen()
        yield s.getsockname()[1]


def cases(flow: Flow, nats_url):
    """(program, the setting, what else it needs)"""
    gateway = {"POD_ID": "gw-1", "NATS_URL": nats_url, "DATA_DIR": flow.folder / "gw", "DISCORD_TOKEN": TOKEN,
               "DISCORD_APPLICATION_ID": "1000000000000000001", "DISCORD_API_URL": f"http://{HOST}:1/api"}
    edge = {"NATS_URL": nats_url, "DISCORD_PUBLIC_KEY": PUBLIC_KEY, "DISCORD_APPLICATION_ID": "1000000000000000001"}
    coordinator = {"NATS_URL": nats_url, "DATA_DIR": flow.folder}
    yield "guildbus-coordinator", "API_PORT", coordinator
    yield "guildbus-coordinator", "ADMIN_PORT", {**coordinator, "API_PORT": 0}
    yield "guildbus-edge", "HTTP_PORT", edge
    yield "guildbus-edge", "ADMIN_PORT", {**edge, "HTTP_PORT": 0}
    yield "guildbus-gateway", "ADMIN_PORT", gateway
    yield "guildbus-discord-sim", "SIM_PORT", {}
    yield "guildbus-discord-sim", "SIM_ADMIN_PORT", {}
    yield "guildbus-discord-sim", "ADMIN_PORT", {}


def body(flow):
    _, nats_url = flow.nats()
    for program, setting, env in cases(flow, nats_url):
        with taken_port() as port:
            p = flow.spawn(f"{program}-{setting}", [program], {**env, setting: port})
            flow.expect_exit(p, 1)
            lines = [line for line in p.log_text().splitlines() if "level=error" in line]
            expect(len(lines) == 1 and str(port) in lines[0],
                   f"{program} should name {setting}'s {port} in its one error line:\n{p.tail()}")
            expect("in use" in lines[0], f"{program} does not say what is wrong with {port}: {lines[0]}")
            say(lines[0])


run(body)

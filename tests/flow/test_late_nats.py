#!/usr/bin/env python3
"""NATS comes after the programs: each says that it waits and for what, works once NATS is there, or ends when told."""
import signal

from flow import (HOST, LIMIT_S, TOKEN, Bus, answers, ask, expect, free_port, http_json, run, say, wait_for)

APPLICATION = "1000000000000000001"
WAITS = "nats_unreachable"


def programs(flow, nats_url, api_url, public_key, round_):
    """{name: (program, settings)}"""
    discord = {"DISCORD_API_URL": api_url, "DISCORD_APPLICATION_ID": APPLICATION, "NATS_URL": nats_url}
    folder = flow.folder / round_
    return {
        "coordinator": ("guildbus-coordinator", {"NATS_URL": nats_url, "DATA_DIR": folder, "API_PORT": free_port(),
                                                 "ADMIN_PORT": free_port()}),
        "gateway": ("guildbus-gateway", {**discord, "POD_ID": "gw-1", "DATA_DIR": folder / "gw",
                                         "DISCORD_TOKEN": TOKEN, "ADMIN_PORT": free_port()}),
        "edge": ("guildbus-edge", {**discord, "DISCORD_PUBLIC_KEY": public_key, "HTTP_PORT": free_port(),
                                   "ADMIN_PORT": free_port()}),
    }


def start_all(flow, nats_url, sim, round_):
    (flow.folder / round_).mkdir()
    wanted = programs(flow, nats_url, sim["api"], sim["key"], round_)
    started = {name: flow.spawn(f"{round_}-{name}", [program], env) for name, (program, env) in wanted.items()}
    for p in started.values():
        wait_for(f"{p.name} says that it waits for NATS", lambda: WAITS in p.log_text(), LIMIT_S, [p])
        line = next(line for line in p.log_text().splitlines() if WAITS in line)
        expect(nats_url in line and "retry_in_ms=" in line, f"{p.name} does not say where and when again: {line}")
        expect("level=error" not in p.log_text(), f"{p.name} has an error before NATS is there:\n{p.tail()}")
    return started


def start_sim(flow):
    port, admin = free_port(), free_port()
    p = flow.spawn("sim", ["guildbus-discord-sim"], {"SIM_PORT": port, "SIM_ADMIN_PORT": admin, "SIM_TOKEN": TOKEN,
                                                     "SIM_GUILDS": 3, "SIM_APPLICATION_ID": APPLICATION})
    state = wait_for("the simulator tells its key", lambda: '"public_key"' in p.log_text() and p.log_text(), LIMIT_S,
                     [p])
    key = state.split('"public_key":"')[1].split('"')[0]
    return {"api": f"http://{HOST}:{port}/api/v10", "admin": f"http://{HOST}:{admin}", "key": key}


def ends_while_waiting(flow, sim):
    started = start_all(flow, f"nats://{HOST}:{free_port()}", sim, "ends")
    for number, p in zip((signal.SIGTERM, signal.SIGINT, signal.SIGTERM), started.values()):
        p.send(number)
        flow.expect_exit(p, 0)
        expect("level=error" not in p.log_text(), f"{p.name} calls a stop an error:\n{p.tail()}")
        say(f"{p.name} ended while it waited")


def works_afterwards(flow, sim):
    port = free_port()
    url = f"nats://{HOST}:{port}"
    started = start_all(flow, url, sim, "works")
    flow.nats(port)
    say("NATS is there now")
    for p in started.values():
        wait_for(f"{p.name} is ready", answers(f"http://{HOST}:{p.env['ADMIN_PORT']}/readyz"), LIMIT_S, [p])
    hook = f"http://{HOST}:{started['edge'].env['HTTP_PORT']}/webhooks/discord"
    status, answer = http_json("PUT", sim["admin"] + "/interactions-url", {"url": hook})
    expect(status == 200, f"the edge's PING: {status} {answer}")
    guilds = http_json("GET", sim["admin"] + "/guilds")[1]
    with Bus(url) as bus:
        for guild in guilds:
            wait_for(f"guild {guild['id']} answers", lambda: ask(bus, guild["id"], {"overview": {}}), LIMIT_S)


def body(flow):
    sim = start_sim(flow)
    flow.nats_users()
    ends_while_waiting(flow, sim)
    works_afterwards(flow, sim)


run(body)

#!/usr/bin/env python3
"""Two gateways with one POD_ID, or with one DATA_DIR: the second ends with one clear line, the first goes on serving."""
from flow import LIMIT_S, Bus, ask, expect, expect_exactly_once, guilds_of, run, say, say_in, wait_for


def second(flow, cluster, name, **changes):
    """A gateway with the first one's settings but for these."""
    env = dict(cluster.processes["gw-1"].env, ADMIN_PORT="0", **{k: str(v) for k, v in changes.items()})
    return flow.spawn(name, ["guildbus-gateway"], env)


def served(bus, cluster):
    """{guild: (pod, epoch)}"""
    answers = {g["id"]: ask(bus, g["id"], {"overview": {}}) for g in guilds_of(cluster)}
    expect(all(answers.values()), f"the first gateway does not answer: {answers}")
    return {guild: (a["pod"], a["epoch"]) for guild, a in answers.items()}


def expect_one_line(process, word):
    lines = [line for line in process.log_text().splitlines() if word in line and "level=error" in line]
    expect(len(lines) == 1, f"{process.name} should say {word!r} in one line at level error, not {len(lines)}:\n"
                            f"{process.tail()}")
    return lines[0]


def body(flow):
    cluster = flow.cluster(guilds=4, shards=1, gateways=1)
    bus = Bus(cluster.nats_url)
    before = served(bus, cluster)
    first = cluster.processes["gw-1"]

    same_folder = second(flow, cluster, "same-folder", POD_ID="gw-2")
    flow.expect_exit(same_folder, 1)
    line = expect_one_line(same_folder, "DATA_DIR")
    expect(str(cluster.data_dir("gw-1")) in line, f"the line does not name the folder: {line}")
    expect("registered" not in same_folder.log_text(), "it was registered before it looked at its folder")
    say("one DATA_DIR: refused")

    same_name = second(flow, cluster, "same-name", DATA_DIR=flow.folder / "elsewhere")
    guilds = guilds_of(cluster)

    def refused():  # the first one serves all the while
        expect(served(bus, cluster) == before, "the second gateway took guilds away from the first")
        expect(first.is_alive(), f"the first gateway {first.exit_text()}:\n{first.tail()}")
        say_in(cluster, guilds[0], "still here")
        return not same_name.is_alive()
    wait_for("the second gateway ends", refused, LIMIT_S, interval_s=0.3)
    flow.expect_exit(same_name, 1)
    expect_one_line(same_name, "gw-1")
    expect("POD_ID" in same_name.log_text(), f"nothing names POD_ID:\n{same_name.tail()}")
    say("one POD_ID: refused")

    expect(served(bus, cluster) == before, "the second gateway took guilds away from the first")
    expect_exactly_once(cluster)
    bus.close()


run(body)

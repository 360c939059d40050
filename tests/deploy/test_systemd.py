#!/usr/bin/env python3
"""systemd's own opinion of deploy/systemd: the units are right, and their services exposed to little. Settings that
they give are settings that the programs have, and credentials that they name are loaded. Nothing is started."""
import argparse
import pathlib
import re
import shutil
import tempfile

import kit
from kit import DEPLOY, ROOT, check, run

UNITS = DEPLOY / "systemd"
INSTANCES = ("guildbus-coordinator.service", "guildbus-edge.service", "guildbus-gateway@1.service")
MOST_EXPOSED = 15  # tenths, as systemd-analyze security counts; an unprotected service has 96
MISTAKES = [
    ("an unknown directive", "ProtectSystem=strict", "ProtectSytem=strict", "ProtectSytem"),
    ("a program that is not there", "ExecStart=/usr/local/bin/guildbus-edge", "ExecStart=/usr/local/bin/edge", "edge"),
    ("a value of the wrong kind", "Restart=always", "Restart=forever", "forever"),
]


def root_with(folder, text=None):
    """A root with the units and something executable for each program; text replaces the edge's unit."""
    units = folder / "etc/systemd/system"
    for path in ("usr/local/bin", "usr/lib/systemd/system"):
        (folder / path).mkdir(parents=True)
    shutil.copytree(UNITS, units)
    for target in pathlib.Path("/usr/lib/systemd/system").glob("*.target"):
        shutil.copy(target, folder / "usr/lib/systemd/system", follow_symlinks=False)
    for program in ("guildbus-coordinator", "guildbus-edge", "guildbus-gateway"):
        path = folder / "usr/local/bin" / program
        path.write_text("#!/bin/true\n")
        path.chmod(0o755)
    if text:
        (units / "guildbus-edge.service").write_text(text)
    return folder


def complaints_of(text=None):
    with tempfile.TemporaryDirectory() as folder:
        root = root_with(pathlib.Path(folder), text)
        done = run("systemd-analyze", "verify", "--man=no", f"--root={root}", "guildbus.target", *INSTANCES)
        complaints = (done.stdout + done.stderr).splitlines()
        return complaints or ([f"exit {done.returncode}"] if done.returncode else [])


def find_mistakes():
    text = (UNITS / "guildbus-edge.service").read_text()
    missed = []
    for what, right, wrong, word in MISTAKES:
        said = complaints_of(text.replace(right, wrong))
        if right not in text or not any(word in line for line in said):
            missed.append(f"{what} was not found; said was {said}")
    check(f"{len(MISTAKES)} planted mistakes are found", missed)


def exposure():
    complaints = []
    with tempfile.TemporaryDirectory() as folder:
        root = root_with(pathlib.Path(folder))
        for unit in INSTANCES:
            done = run("systemd-analyze", "security", "--offline=true", f"--root={root}",
                       f"--threshold={MOST_EXPOSED}", unit)
            level = re.search(r"exposure level.*: ([0-9.]+)", done.stdout)
            if done.returncode or not level:
                complaints.append(f"{unit}: {level[0] if level else done.stderr}")
    check(f"systemd counts an exposure of {MOST_EXPOSED / 10} at most for each", complaints)


def settings(bin_dir):
    complaints = []
    shared = set(re.findall(r"(?m)^([A-Z_]+)=", (UNITS / "guildbus.env").read_text()))
    read = set()
    for path in sorted(UNITS.glob("*.service")):
        text = path.read_text()
        program = re.search(r"ExecStart=\S*/(\S+)", text)[1]
        known = kit.settings_of(bin_dir, program)
        read |= known
        given = {pair.split("=")[0] for line in re.findall(r"(?m)^Environment=(.*)", text) for pair in line.split()}
        complaints += [f"{path.name}: {program} has no {name}" for name in sorted(given - known)]
        loaded = set(re.findall(r"(?m)^LoadCredential=([^:]+):", text))
        used = set(re.findall(r"=%d/(\S+)", text))
        complaints += [f"{path.name}: credential {name} is not both loaded and used" for name in sorted(loaded ^ used)]
    complaints += [f"guildbus.env: no program has {name}" for name in sorted(shared - read)]
    check("settings and credentials", complaints)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/release/bin")
    args = parser.parse_args()
    settings(args.bin)
    kit.need("systemd-analyze")
    if "--root" not in run("systemd-analyze", "--help").stdout:
        kit.skip("this systemd-analyze cannot look at units in a folder")
    check("systemd-analyze verify", complaints_of())
    find_mistakes()
    exposure()
    kit.verdict()


if __name__ == "__main__":
    main()

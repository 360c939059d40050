#!/usr/bin/env python3
"""compose.yaml: what the specification's own reader (compose-go) says of it, and what we ask beyond: services without
rights, settings that the programs have, secrets and stages that exist. Nothing is started."""
import argparse
import os
import pathlib
import re
import shutil
import tempfile

import dockerfile
import kit
from kit import DEPLOY, ROOT, Missing, check, go_tool, run

READER = "github.com/compose-spec/compose-go/v2/cmd@v2.16.2"
VARIABLES = {"DISCORD_APPLICATION_ID": "123456789012345678", "DISCORD_PUBLIC_KEY": "0" * 64,
             "PORTAL_URL": "https://bot.example.org"}
MISTAKES = [
    ("an unknown key", "stop_grace_period: 60s", "stop_grace_perod: 60s", "stop_grace_perod"),
    ("a wrong type", "read_only: true", "read_only: [true]", "read_only"),
    ("a volume that is not there", 'volumes: ["gateway-1:/data"]', 'volumes: ["gateway-9:/data"]', "gateway-9"),
    ("a secret that is not there", "secrets: [discord-token, gateway.seed]", "secrets: [discord-tokn]", "discord-tokn"),
    ("a dependency that is not there", "nats: {condition: service_healthy}", "nat: {condition: service_healthy}",
     "nat is not"),
]


def read_by_compose(reader, text):
    """(complaints, the project as compose understands it)"""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder) / "deploy"
        shutil.copytree(DEPLOY, folder, ignore=shutil.ignore_patterns("secrets", "__pycache__"))
        (folder / "secrets").mkdir()
        (folder / "secrets/nats.env").write_text("")
        for name, value in VARIABLES.items():
            text = text.replace(f"${{{name}:?}}", value)
        (folder / "compose.yaml").write_text(text)
        done = run(reader, folder / "compose.yaml", env={**os.environ, **VARIABLES}, cwd=folder)
    if done.returncode or "failed to load" in done.stdout + done.stderr:
        return (done.stdout + done.stderr).splitlines(), None
    return [], kit.yaml_module().safe_load(done.stdout)


def names_exist(project):
    """The reader does not look for them."""
    complaints = []
    for name, service in project["services"].items():
        wanted = {
            "secrets": {secret["source"] for secret in service.get("secrets", [])},
            "volumes": {volume["source"] for volume in service.get("volumes", []) if volume["type"] == "volume"},
            "services": set(service.get("depends_on", {})),
        }
        complaints += [f"{name}: {missing} is not among {kind}" for kind, names in wanted.items()
                       for missing in sorted(names - set(project.get(kind) or {}))]
    return complaints


def find_mistakes(reader, text):
    missed = []
    for what, right, wrong, word in MISTAKES:
        said, project = read_by_compose(reader, text.replace(right, wrong))
        said = said or names_exist(project)
        if right not in text or not any(word in line for line in said):
            missed.append(f"{what} was not found; said was {said}")
    check(f"{len(MISTAKES)} planted mistakes are found", missed)


def rights(project):
    complaints = []
    for name, service in project["services"].items():
        if not service.get("read_only"):
            complaints.append(f"{name}: its root is not read-only")
        if service.get("cap_drop") != ["ALL"]:
            complaints.append(f"{name}: capabilities are not dropped")
        if "no-new-privileges:true" not in service.get("security_opt", []):
            complaints.append(f"{name}: may get new privileges")
        if not service.get("mem_limit"):
            complaints.append(f"{name}: has no limit of memory")
        if not re.search(r":(?!latest$)[\w.-]+$", service.get("image", "")):
            complaints.append(f"{name}: its image has no version")
        published = [port for port in service.get("ports", []) if port.get("host_ip") != "127.0.0.1"]
        complaints += [f"{name}: publishes {port['published']} to everybody" for port in published]
        outside = ("nats-folder",)  # hands a new volume over, with that capability alone and no network
        if name not in outside and (service.get("user") == "root" or service.get("cap_add")):
            complaints.append(f"{name}: is root or has capabilities")
    return complaints


def settings(project, bin_dir):
    complaints = []
    stages = dockerfile.parse((DEPLOY / "Dockerfile").read_text())
    for name, service in project["services"].items():
        if "build" not in service:
            continue
        target = service["build"].get("target")
        if target not in stages or not service["image"].startswith(f"guildbus-{target}:"):
            complaints.append(f"{name}: stage {target} and image {service['image']} do not fit")
        known = kit.settings_of(bin_dir, f"guildbus-{target}")
        given = service.get("environment") or {}
        complaints += [f"{name}: guildbus-{target} has no {setting}" for setting in sorted(set(given) - known)]
        secrets = {secret["source"] for secret in service.get("secrets", [])}
        wanted = {value.removeprefix("/run/secrets/") for value in given.values()
                  if str(value).startswith("/run/secrets/")}
        complaints += [f"{name}: secret {secret} is not both given and used" for secret in sorted(secrets ^ wanted)]
    drain = int(project["services"]["gateway-1"]["environment"]["DRAIN_MS"]) // 1000
    grace = project["services"]["gateway-1"]["stop_grace_period"]
    minutes = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", grace)
    if drain >= int(minutes[1] or 0) * 60 + int(minutes[2] or 0):
        complaints.append(f"gateway: DRAIN_MS does not fit into stop_grace_period {grace}")
    return complaints


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/release/bin")
    args = parser.parse_args()
    kit.yaml_module()
    try:
        reader = go_tool("cmd", READER)
    except Missing as e:
        kit.skip(f"nobody reads compose.yaml: {e}")
    text = (DEPLOY / "compose.yaml").read_text()
    complaints, project = read_by_compose(reader, text)
    check("compose-go reads compose.yaml", complaints)
    find_mistakes(reader, text)
    if project:
        check("volumes, secrets and services that are named are there", names_exist(project))
        check("services have no rights that they do not need", rights(project))
        check("settings, secrets, stages", settings(project, args.bin))
    kit.verdict()


if __name__ == "__main__":
    main()

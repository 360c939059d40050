#!/usr/bin/env python3
"""deploy/nats/values.yaml in NATS's official chart: it renders, what it renders is what Kubernetes takes and as
restricted as our own pods, nothing that the chart would mount is lost, and nats-server takes its configuration.

The chart is the folder NATS_CHART, or `helm pull` gets it. helm, and a nats-server that may replicate streams, are
built with go install."""
import argparse
import os
import pathlib
import shutil
import tempfile

import kit
import policy
import schemas
from kit import DEPLOY, Missing, cache_folder, check, go_tool, run, skip
from nats_cluster import nats_server_command

HELM = "helm.sh/helm/v3/cmd/helm@v3.19.0"
REPOSITORY, VERSION = "https://nats-io.github.io/k8s/helm/charts/", "2.14.2"
OLDEST = (2, 10, 23)


def chart(helm):
    """The chart's folder or archive."""
    given = os.environ.get("NATS_CHART")
    if given:
        return given
    archive = cache_folder() / f"nats-{VERSION}.tgz"
    if not archive.exists():
        pulled = run(helm, "pull", "nats", "--repo", REPOSITORY, "--version", VERSION, "--destination", cache_folder())
        if pulled.returncode:
            skip(f"NATS's chart is not to be had: helm pull nats --repo {REPOSITORY} --version {VERSION}: "
                 f"{pulled.stderr.strip()[-300:]}. NATS_CHART=folder of the chart uses a copy")
    return archive


def without_nulls(value):
    """The API drops them, and the chart leaves one."""
    if isinstance(value, dict):
        return {key: without_nulls(one) for key, one in value.items() if one is not None}
    return [without_nulls(one) for one in value] if isinstance(value, list) else value


def rendered(helm):
    """The objects, or what helm complained of."""
    done = run(helm, "template", "nats", chart(helm), "--namespace", "guildbus", "-f", DEPLOY / "nats/values.yaml",
               "--set-file", f"configMap.merge.data.auth\\.conf={DEPLOY / 'nats/auth.conf'}")
    check("helm template", done.stderr.splitlines() if done.returncode else [])
    if done.returncode:
        kit.verdict()
    return [without_nulls(o) for o in kit.yaml_module().safe_load_all(done.stdout) if o]


def what_it_is(objects):
    complaints = []
    by_name = {kit.name_of(o): o for o in objects}
    nats = by_name["StatefulSet/nats"]["spec"]
    if nats["replicas"] != 3:
        complaints.append(f"{nats['replicas']} servers, not 3")
    if not nats.get("volumeClaimTemplates"):
        complaints.append("JetStream is not on a volume")
    server = nats["template"]["spec"]["containers"][0]
    version = server["image"].split(":")[1].split("-")[0]
    if tuple(int(part) for part in version.split(".")) < OLDEST:
        complaints.append(f"NATS {version} may not replicate streams")
    if {"configMapRef": {"name": "guildbus-nats-keys"}} not in server.get("envFrom", []):
        complaints.append("the server does not get the users' public keys")
    box = by_name["Deployment/nats-box"]["spec"]["template"]["spec"]["containers"][0]
    mounted = {m["mountPath"] for m in box["volumeMounts"]}
    for path in ("/etc/nats-contexts", "/etc/nats-ca-cert", "/etc/nats-nkeys/default", "/tmp"):
        if path not in mounted:
            complaints.append(f"nats-box does not mount {path}: a merge replaced the chart's list")
    if "PodMonitor/nats" not in by_name or len(nats["template"]["spec"]["containers"]) != 3:
        complaints.append("no exporter")
    if "PodDisruptionBudget/nats" not in by_name:
        complaints.append("no disruption budget")
    return complaints


def own_environment(folder, bin_dir):
    """What the pod would have: the server's name and the users' public keys."""
    done = run(bin_dir / "guildbusctl", "nats-keys", folder)
    if done.returncode:
        raise RuntimeError(f"guildbusctl nats-keys: {done.stderr}")
    keys = dict(line.split("=", 1) for line in (folder / "nats.env").read_text().split())
    return {**os.environ, **keys, "SERVER_NAME": "nats-0"}


def server_takes(objects, bin_dir):
    """nats-server -t on the ConfigMap's files, with certificates and folders of this machine."""
    server = nats_server_command()
    data = next(o for o in objects if kit.name_of(o) == "ConfigMap/nats-config")["data"]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        made = run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                   "-keyout", folder / "tls.key", "-out", folder / "tls.crt", "-days", "2", "-subj", "/CN=nats")
        if made.returncode:
            return [made.stderr]
        shutil.copy(folder / "tls.crt", folder / "ca.crt")
        for name, text in data.items():
            for path in ("/etc/nats-certs/nats", "/etc/nats-certs/cluster", "/etc/nats-ca-cert"):
                text = text.replace(path, str(folder))
            (folder / name).write_text(text.replace('"/data"', f'"{folder}"'))
        env = own_environment(folder / "keys", bin_dir)
        done = run(server, "-t", "-c", folder / "nats.conf", env=env)
        (folder / "auth.conf").write_text((folder / "auth.conf").read_text().replace("$EDGE_NKEY", "UNKNOWN"))
        other = run(server, "-t", "-c", folder / "nats.conf", env=env)
    complaints = [] if not done.returncode else [done.stdout + done.stderr]
    return complaints + ([] if other.returncode else ["auth.conf is not part of it: a broken one is taken, too"])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=pathlib.Path, default=kit.ROOT / "build/release/bin")
    args = parser.parse_args()
    kit.yaml_module()
    try:
        helm = go_tool("helm", HELM)
    except Missing as e:
        skip(f"helm: {e}")
    objects = rendered(helm)
    check("three servers, volumes, users' keys, exporter, nats-box with all its mounts", what_it_is(objects))
    check("what kubernetes-models knows", schemas.models(objects))
    for name, rule in policy.RESTRICTED.items():
        check(name, rule(objects))
    try:
        check("kubeconform", schemas.kubeconform(objects, schemas.VERSIONS[-1]))
        check("nats-server takes the configuration", server_takes(objects, args.bin))
    except Missing as e:
        print(f"SKIPPED {e}")
    kit.verdict()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""The overlays and components render, the API would take every object, and they are what we ask of them (policy.py).
The same checks are shown mistakes first, which they must find."""
import argparse
import copy
import json
import pathlib
import shutil
import tempfile

import kit
import policy
import schemas
from kit import DEPLOY, ROOT, Missing, check, kustomize

OVERLAYS = ("development", "production")
PROGRAMS = ("guildbus-gateway", "guildbus-edge", "guildbus-coordinator")


def object_named(objects, name):
    return next(o for o in objects if kit.name_of(o) == name)


def pod_of(objects, name):
    return object_named(objects, name)["spec"]["template"]["spec"]


# ---- mistakes: (what, the change, a word of the complaint) ----

def with_change(objects, change):
    changed = copy.deepcopy(objects)
    change(changed)
    return changed


def schema_mistakes():
    gateway, edge = "StatefulSet/guildbus-gateway", "Deployment/guildbus-edge"
    return [
        ("a wrong type", lambda o: object_named(o, gateway)["spec"].update(replicas="three"), "replicas"),
        ("a missing field", lambda o: object_named(o, gateway)["spec"].pop("selector"), "selector"),
        ("a missing field deep down", lambda o: pod_of(o, edge)["containers"][0].pop("name"), "name"),
        ("an unknown field", lambda o: pod_of(o, edge)["containers"][0].update(readinessProb={}), "readinessProb"),
        ("an unknown field at the top", lambda o: object_named(o, edge).update(specs={}), "specs"),
        ("a port that is no number",
         lambda o: pod_of(o, edge)["containers"][0]["ports"][0].update(containerPort="http"), "containerPort"),
    ]


def crd_mistakes():
    return [
        ("an unknown field of a ServiceMonitor",
         lambda o: object_named(o, "ServiceMonitor/guildbus")["spec"].update(selecter={}), "selecter"),
        ("a ServiceMonitor without endpoints",
         lambda o: object_named(o, "ServiceMonitor/guildbus")["spec"].pop("endpoints"), "endpoints"),
        ("a kind that does not exist", lambda o: o.append({"apiVersion": "apps/v1", "kind": "StatefullSet",
                                                           "metadata": {"name": "x"}}), "StatefullSet"),
    ]


def policy_mistakes():
    gateway, edge = "StatefulSet/guildbus-gateway", "Deployment/guildbus-edge"

    def container(o):
        return pod_of(o, gateway)["containers"][0]
    return [
        ("root", lambda o: pod_of(o, edge)["securityContext"].update(runAsNonRoot=False), "runAsNonRoot"),
        ("no seccomp profile", lambda o: pod_of(o, edge)["securityContext"].pop("seccompProfile"), "seccompProfile"),
        ("a hostPath", lambda o: pod_of(o, edge)["volumes"].append({"name": "secrets", "hostPath": {"path": "/"}}),
         "hostPath"),
        ("escalation", lambda o: container(o)["securityContext"].pop("allowPrivilegeEscalation"), "allowPrivilege"),
        ("a capability", lambda o: container(o)["securityContext"]["capabilities"].update(add=["NET_ADMIN"]),
         "capabilities"),
        ("a writable root", lambda o: container(o)["securityContext"].pop("readOnlyRootFilesystem"), "readOnlyRoot"),
        ("no resources", lambda o: container(o).pop("resources"), "requests no cpu"),
        ("no readiness", lambda o: container(o).pop("readinessProbe"), "readinessProbe"),
        ("readiness of another path",
         lambda o: container(o)["readinessProbe"]["httpGet"].update(path="/livez"), "/livez"),
        ("image without a version", lambda o: container(o).update(image="registry.example.org/guildbus-gateway:latest"),
         "has no version"),
        ("a budget of nobody", lambda o: object_named(o, "PodDisruptionBudget/guildbus-edge")["spec"]["selector"]
         ["matchLabels"].update({"app.kubernetes.io/component": "edges"}), "selects nothing"),
        ("a Service of nobody", lambda o: object_named(o, "Service/guildbus-edge")["spec"]["selector"].update(x="y"),
         "selects no pod"),
        ("a port that nobody has", lambda o: object_named(o, "Service/guildbus-edge")["spec"]["ports"][0]
         .update(targetPort="web"), "has a port web"),
        ("a ConfigMap that is not there", lambda o: container(o)["envFrom"][0]["configMapRef"].update(name="nope"),
         "ConfigMap/nope"),
        ("a mount without a volume", lambda o: pod_of(o, gateway)["volumes"].pop(), "mounted but not there"),
        ("a setting that nobody reads", lambda o: container(o)["env"].append({"name": "DRAIN_SECONDS", "value": "1"}),
         "DRAIN_SECONDS"),
        ("a shared setting that nobody reads", lambda o: next(c for c in o if c["kind"] == "ConfigMap" and "NATS_URL" in
                                                              c.get("data", {}))["data"].update(NATS_URI="x"),
         "NATS_URI"),
        ("a drain longer than the grace", lambda o: pod_of(o, gateway).update(terminationGracePeriodSeconds=60),
         "DRAIN_MS"),
        ("an autoscaler of gateways", lambda o: object_named(o, "HorizontalPodAutoscaler/guildbus-edge")["spec"]
         ["scaleTargetRef"].update(name="guildbus-gateway", kind="StatefulSet"), "autoscalers"),
        ("volumes that go", lambda o: object_named(o, gateway)["spec"].pop("persistentVolumeClaimRetentionPolicy"),
         "not retained"),
    ]


def find_mistakes(title, objects, mistakes, judge):
    """Each mistake alone; judge must name it. That it has nothing to say of the objects as they are, others check."""
    complaints = []
    for what, change, word in mistakes:
        said = judge(with_change(objects, change))
        if not any(word in text for text in said):
            complaints.append(f"{what} was not found; said was: {said[:3] or 'nothing'}")
    check(f"{title}: {len(mistakes)} planted mistakes are found", complaints)


# ---- what is checked ----

def check_schemas(name, objects):
    check(f"{name}: {len(objects)} objects are what kubernetes-models knows", schemas.models(objects))
    for version in schemas.VERSIONS:
        try:
            check(f"{name}: kubeconform, Kubernetes {version}", schemas.kubeconform(objects, version))
        except Missing as e:
            print(f"SKIPPED {name}: kubeconform: {e}", flush=True)
            return


def judge_by(rules):
    return lambda objects: [text for rule in rules.values() for text in rule(objects)]


def check_policy(name, objects, rules):
    for what, rule in rules.items():
        check(f"{name}: {what}", rule(objects))


def all_components():
    """Production with every component at once; a folder beside the others, because kustomize takes no other."""
    names = sorted(path.name for path in (DEPLOY / "components").iterdir())
    folder = pathlib.Path(tempfile.mkdtemp(prefix="all-components-", dir=kit.BUILD))
    try:
        shutil.copytree(DEPLOY, folder / "deploy", ignore=shutil.ignore_patterns("__pycache__"))
        overlay = folder / "deploy/overlays/all"
        overlay.mkdir()
        (overlay / "kustomization.yaml").write_text(json.dumps({
            "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "namespace": "guildbus",
            "resources": ["../../base"],
            "components": [f"../../components/{name}" for name in names]}))
        return names, kustomize(overlay)
    finally:
        shutil.rmtree(folder)


def render():
    rendered = {}
    for name in OVERLAYS:
        try:
            rendered[name] = kustomize(DEPLOY / "overlays" / name)
            check(f"{name} renders: {len(rendered[name])} objects", [])
        except RuntimeError as e:
            check(f"{name} renders", [str(e)])
    names, objects = all_components()
    rendered["all components"] = objects
    check(f"base with {', '.join(names)} renders: {len(objects)} objects", [])
    return rendered


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/release/bin")
    args = parser.parse_args()
    kit.need("kubectl", "its kustomize renders the overlays")
    yaml = kit.yaml_module()
    kit.BUILD.mkdir(parents=True, exist_ok=True)
    settings = {program: kit.settings_of(args.bin, program) for program in PROGRAMS}
    if not all(settings.values()):
        raise SystemExit(f"no settings found in the --help of {args.bin}'s programs; ./dev build makes them")
    rules = {**policy.RULES, "settings exist": policy.settings_exist(settings)}
    rendered = render()
    production = rendered["production"]
    rendered["deploy/nats/certificate.yaml"] = list(yaml.safe_load_all((DEPLOY / "nats/certificate.yaml").read_text()))

    def changed(objects):
        return [o for o in objects if o not in production]
    find_mistakes("kubernetes-models", production, schema_mistakes() + crd_mistakes(),
                  lambda objects: schemas.models(changed(objects)))
    try:
        find_mistakes("kubeconform", production, schema_mistakes(),
                      lambda objects: schemas.kubeconform(changed(objects), schemas.VERSIONS[-1]))
    except Missing as e:
        print(f"SKIPPED kubeconform: {e}", flush=True)
    find_mistakes("policy", production, policy_mistakes(), judge_by(rules))
    for name, objects in rendered.items():
        check_schemas(name, objects)
        if "certificate" not in name:
            check_policy(name, objects, rules)
    made = kit.run("python3", DEPLOY / "monitoring/make_rule.py", "--print").stdout
    stored = (DEPLOY / "monitoring/prometheusrule.yaml").read_text()
    check("monitoring/prometheusrule.yaml is what make_rule.py makes of rules.yaml",
          [] if made == stored else ["run deploy/monitoring/make_rule.py"])
    kit.verdict()


if __name__ == "__main__":
    main()

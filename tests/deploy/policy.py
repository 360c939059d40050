"""policy.py - what we ask of manifests beyond their schema. Each rule takes all objects and returns complaints.

    RULES = {what must hold: rule(objects)}
"""
import re

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job")
GRACE_SLACK_S = 10  # between the end of a drain and the kill


def name_of(o):
    return f"{o['kind']}/{o['metadata']['name']}"


def of_kind(objects, *kinds):
    return [o for o in objects if o["kind"] in kinds]


def workloads(objects):
    """(name, pod template's metadata, its spec)"""
    return [(name_of(o), o["spec"]["template"].get("metadata") or {}, o["spec"]["template"]["spec"])
            for o in of_kind(objects, *WORKLOADS)]


def containers(spec):
    return (spec.get("initContainers") or []) + spec["containers"]


def all_containers(objects):
    return [(f"{name} {c['name']}", c, spec) for name, _, spec in workloads(objects) for c in containers(spec)]


def is_ours(container):
    return "/guildbus-" in "/" + container["image"]


def labels_match(selector, labels):
    return all(labels.get(key) == value for key, value in selector.items())


# ---- the pod security standard "restricted", and what we add to it ----

def restricted_pods(objects):
    complaints = []
    for name, _, spec in workloads(objects):
        pod = spec.get("securityContext") or {}
        if pod.get("runAsNonRoot") is not True:
            complaints.append(f"{name}: runAsNonRoot is not true")
        if not pod.get("runAsUser"):
            complaints.append(f"{name}: runAsUser is not set, or root")
        if (pod.get("seccompProfile") or {}).get("type") != "RuntimeDefault":
            complaints.append(f"{name}: seccompProfile is not RuntimeDefault")
        complaints += [f"{name}: {field} is set" for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field)]
        complaints += [f"{name}: volume {v['name']} is a hostPath" for v in spec.get("volumes") or []
                       if "hostPath" in v]
        if spec.get("automountServiceAccountToken") is not False:
            complaints.append(f"{name}: mounts a token of Kubernetes' API, which nobody needs")
    return complaints


def restricted_containers(objects):
    complaints = []
    for name, c, _ in all_containers(objects):
        own = c.get("securityContext") or {}
        if own.get("allowPrivilegeEscalation") is not False:
            complaints.append(f"{name}: allowPrivilegeEscalation is not false")
        if (own.get("capabilities") or {}).get("drop") != ["ALL"] or (own["capabilities"].get("add")):
            complaints.append(f"{name}: capabilities are not dropped")
        if own.get("privileged") or own.get("runAsUser") == 0 or own.get("runAsNonRoot") is False:
            complaints.append(f"{name}: is privileged or root")
        complaints += [f"{name}: hostPort {p['hostPort']}" for p in c.get("ports") or [] if p.get("hostPort")]
    return complaints


def read_only_roots(objects):
    return [f"{name}: readOnlyRootFilesystem is not true" for name, c, _ in all_containers(objects)
            if (c.get("securityContext") or {}).get("readOnlyRootFilesystem") is not True]


def namespaces_enforce(objects):
    label = "pod-security.kubernetes.io/enforce"
    return [f"{name_of(o)}: {label} is not restricted" for o in of_kind(objects, "Namespace")
            if (o["metadata"].get("labels") or {}).get(label) != "restricted"]


# ---- resources, probes, images ----

def resources_are_said(objects):
    complaints = []
    for name, c, _ in all_containers(objects):
        resources = c.get("resources") or {}
        wanted, limits = resources.get("requests") or {}, resources.get("limits") or {}
        complaints += [f"{name}: requests no {what}" for what in ("cpu", "memory") if what not in wanted]
        if "memory" not in limits or limits["memory"] != wanted.get("memory"):
            complaints.append(f"{name}: its limit of memory is not what it requests")
    return complaints


def probes_are_there(objects):
    """Of our programs and of what overlays add; a helper in a chart's pod has none."""
    complaints = []
    for name, c, spec in all_containers(objects):
        if c not in spec["containers"]:
            continue
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            if probe not in c:
                complaints.append(f"{name}: no {probe}")
        if is_ours(c):
            path = {p: ((c.get(p) or {}).get("httpGet") or {}).get("path") for p in ("livenessProbe", "readinessProbe")}
            if path != {"livenessProbe": "/livez", "readinessProbe": "/readyz"}:
                complaints.append(f"{name}: probes ask {path}")
    return complaints


def images_are_pinned(objects):
    return [f"{name}: image {c['image']} has no version" for name, c, _ in all_containers(objects)
            if not re.search(r"(:(?!latest$)[\w.-]+|@sha256:[0-9a-f]{64})$", c["image"])]


# ---- things that name each other ----

def disruption_budgets(objects):
    complaints, covered = [], set()
    pods = {name: meta.get("labels") or {} for name, meta, _ in workloads(objects)}
    for o in of_kind(objects, "PodDisruptionBudget"):
        chosen = {name for name, labels in pods.items() if labels_match(o["spec"]["selector"]["matchLabels"], labels)}
        if len(chosen) != 1:
            complaints.append(f"{name_of(o)}: selects {sorted(chosen) or 'nothing'}")
        covered |= chosen
    ours = [name for name, c, _ in all_containers(objects) if is_ours(c) and "nats-box" not in c["image"]]
    return complaints + [f"{name}: no disruption budget" for name in ours if name.split()[0] not in covered]


def selectors_select(objects):
    """Of Services, workloads, topology constraints, network policies and ServiceMonitors."""
    complaints = []
    pods = [(name, meta.get("labels") or {}, spec) for name, meta, spec in workloads(objects)]
    for o in of_kind(objects, "Service"):
        chosen = [spec for _, labels, spec in pods if labels_match(o["spec"]["selector"], labels)]
        if not chosen:
            complaints.append(f"{name_of(o)}: selects no pod")
        named = {p.get("name") for spec in chosen for c in containers(spec) for p in c.get("ports") or []}
        complaints += [f"{name_of(o)}: no pod has a port {p['targetPort']}" for p in o["spec"]["ports"]
                       if isinstance(p.get("targetPort"), str) and p["targetPort"] not in named]
    for o in of_kind(objects, "Deployment", "StatefulSet"):
        labels = o["spec"]["template"]["metadata"]["labels"]
        rules = o["spec"]["template"]["spec"].get("topologySpreadConstraints") or []
        for what in [o["spec"]["selector"], *[rule["labelSelector"] for rule in rules]]:
            if not labels_match(what["matchLabels"], labels):
                complaints.append(f"{name_of(o)}: selector {what['matchLabels']} is not its pods'")
    for o in of_kind(objects, "NetworkPolicy"):
        if not any(labels_match(o["spec"]["podSelector"].get("matchLabels") or {}, labels) for _, labels, _ in pods):
            complaints.append(f"{name_of(o)}: selects no pod")
    services = [o["metadata"].get("labels") or {} for o in of_kind(objects, "Service")]
    return complaints + [f"{name_of(o)}: selects no Service" for o in of_kind(objects, "ServiceMonitor")
                         if not any(labels_match(o["spec"]["selector"]["matchLabels"], s) for s in services)]


def references_exist(objects):
    """ConfigMaps, service accounts, HPA targets and backends are among the objects. Secrets come from elsewhere."""
    there = {name_of(o) for o in objects}
    wanted = []
    for name, _, spec in workloads(objects):
        wanted += [(name, f"ConfigMap/{v['configMap']['name']}") for v in spec.get("volumes") or [] if "configMap" in v]
        if spec.get("serviceAccountName"):
            wanted.append((name, f"ServiceAccount/{spec['serviceAccountName']}"))
        for c in containers(spec):
            wanted += [(name, f"ConfigMap/{source['configMapRef']['name']}") for source in c.get("envFrom") or []
                       if "configMapRef" in source]
    for o in of_kind(objects, "HorizontalPodAutoscaler"):
        target = o["spec"]["scaleTargetRef"]
        wanted.append((name_of(o), f"{target['kind']}/{target['name']}"))
    for o in of_kind(objects, "Ingress"):
        for rule in o["spec"]["rules"]:
            wanted += [(name_of(o), f"Service/{p['backend']['service']['name']}") for p in rule["http"]["paths"]]
    for o in of_kind(objects, "HTTPRoute"):
        for rule in o["spec"]["rules"]:
            wanted += [(name_of(o), f"Service/{backend['name']}") for backend in rule["backendRefs"]]
    return [f"{name}: there is no {what}" for name, what in wanted if what not in there]


def mounts_have_volumes(objects):
    complaints = []
    for o in of_kind(objects, *WORKLOADS):
        spec = o["spec"]["template"]["spec"]
        volumes = {v["name"] for v in spec.get("volumes") or []}
        volumes |= {claim["metadata"]["name"] for claim in o["spec"].get("volumeClaimTemplates") or []}
        used = {m["name"] for c in containers(spec) for m in c.get("volumeMounts") or []}
        complaints += [f"{name_of(o)}: volume {name} is mounted but not there" for name in used - volumes]
        complaints += [f"{name_of(o)}: volume {name} is mounted nowhere" for name in volumes - used]
    return complaints


# ---- what each program is ----

def shapes(objects):
    """The gateways keep name, volume and time to drain, and nothing scales them; edges are scaled; two coordinators."""
    complaints = []
    by_name = {name_of(o): o for o in objects}
    gateway = by_name.get("StatefulSet/guildbus-gateway")
    if not gateway:
        return ["StatefulSet/guildbus-gateway: is not there"]
    spec, pod = gateway["spec"], gateway["spec"]["template"]["spec"]
    if spec.get("podManagementPolicy") != "Parallel":
        complaints.append("gateway: podManagementPolicy is not Parallel")
    if spec.get("persistentVolumeClaimRetentionPolicy") != {"whenDeleted": "Retain", "whenScaled": "Retain"}:
        complaints.append("gateway: volumes are not retained")
    env = {e["name"]: e for e in pod["containers"][0]["env"]}
    drain_ms = int(env.get("DRAIN_MS", {}).get("value", 0))
    if not 0 < drain_ms / 1000 <= pod.get("terminationGracePeriodSeconds", 30) - GRACE_SLACK_S:
        complaints.append(f"gateway: DRAIN_MS {drain_ms} does not fit into terminationGracePeriodSeconds")
    if ((env.get("POD_ID", {}).get("valueFrom") or {}).get("fieldRef") or {}).get("fieldPath") != "metadata.name":
        complaints.append("gateway: POD_ID is not the pod's name")
    scaled = {o["spec"]["scaleTargetRef"]["name"]: o for o in of_kind(objects, "HorizontalPodAutoscaler")}
    if set(scaled) != {"guildbus-edge"}:
        complaints.append(f"autoscalers are of {sorted(scaled)}, not of the edge alone")
    if "replicas" in by_name["Deployment/guildbus-edge"]["spec"]:
        complaints.append("edge: replicas is the autoscaler's to say")
    return complaints


def settings_exist(settings):
    """settings: {program: names of its environment variables}"""
    def rule(objects):
        configs = {o["metadata"]["name"]: o.get("data") or {} for o in of_kind(objects, "ConfigMap")}
        complaints, shared, read = [], set(), set()
        for name, c, _ in all_containers(objects):
            found = re.search(r"(?:^|/)(guildbus-(?:gateway|edge|coordinator))[:@]", c["image"])
            if not found:
                continue
            known = settings[found[1]]
            read |= known
            complaints += [f"{name}: {found[1]} knows no {e['name']}" for e in c.get("env") or []
                           if e["name"] not in known]
            for source in c.get("envFrom") or []:
                shared |= set(configs.get((source.get("configMapRef") or {}).get("name"), {}))
        return complaints + [f"ConfigMap: no program knows {name}" for name in sorted(shared - read)]
    return rule


RESTRICTED = {
    "pods are restricted": restricted_pods,
    "containers are restricted": restricted_containers,
    "roots are read-only": read_only_roots,
    "resources are requested and limited": resources_are_said,
    "images have versions": images_are_pinned,
    "mounts and volumes fit": mounts_have_volumes,
}
RULES = {
    **RESTRICTED,
    "namespaces enforce it": namespaces_enforce,
    "probes": probes_are_there,
    "disruption budgets": disruption_budgets,
    "selectors select": selectors_select,
    "references exist": references_exist,
    "gateways, edges, coordinators are what they should be": shapes,
}

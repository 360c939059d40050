"""schemas.py - are these Kubernetes objects what the API takes? Two answers that know nothing of each other.

    models(objects)              npm's kubernetes-models, with the CRDs' (validate.mjs)
    kubeconform(objects, minor)  kubeconform with Kubernetes' own published schemas, strict, of one version

Both return complaints. kubeconform is built with go install; its schemas come with the Python package
kubernetes-validate, because the folder that it would download them from is not always to be reached.
"""
import json
import re
import shutil
import zipfile

import kit
from kit import Missing, cache_folder, go_tool, run

KUBECONFORM = "github.com/yannh/kubeconform/cmd/kubeconform@v0.7.0"
SCHEMAS = "kubernetes-validate==1.37.0"
VERSIONS = ("1.33.0", "1.37.0")  # the oldest and the newest that we look at
OTHERS = ("monitoring.coreos.com/", "gateway.networking.k8s.io/", "cert-manager.io/")  # only models() knows these


def models(objects):
    folder = kit.npm_folder()
    path = kit.dump(objects, kit.BUILD / "objects.json")
    done = run("node", "validate.mjs", path, cwd=folder)
    if done.returncode:
        return [f"validate.mjs: exit {done.returncode}: {done.stderr[-1500:]}"]
    return done.stdout.splitlines()


def beside_each_other(text):
    """A schema that looks for the others in its own folder and not at its $id."""
    schema = json.loads(text.replace('"/api/_definitions.json', '"_definitions.json'))
    schema.pop("$id", None)
    return json.dumps(schema)


def schema_folder():
    """Raises Missing."""
    folder = cache_folder() / f"kubernetes-schemas-{SCHEMAS.split('==')[1]}"
    if folder.exists():
        return folder
    pip = shutil.which("pip3")
    if not pip:
        raise Missing("pip3 is not installed, so there is no way to get Kubernetes' schemas (python3-pip)")
    draft = cache_folder() / "draft-schemas"
    shutil.rmtree(draft, ignore_errors=True)
    done = run(pip, "download", "--quiet", "--no-deps", "--dest", draft, SCHEMAS)
    if done.returncode:
        raise Missing(f"pip3 download {SCHEMAS} failed: {done.stderr[-600:]}")
    with zipfile.ZipFile(next(draft.glob("*.whl"))) as wheel:
        for name in wheel.namelist():
            found = re.fullmatch(r".*/v([0-9.]+)-local-strict/([^/]+\.json)", name)
            if found and found[1] in VERSIONS:
                path = draft / "schemas" / found[1] / found[2]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(beside_each_other(wheel.read(name).decode()))
    (draft / "schemas").rename(folder)
    shutil.rmtree(draft)
    return folder


def kubeconform(objects, version):
    """Raises Missing."""
    program = go_tool("kubeconform", KUBECONFORM)
    location = f"{schema_folder() / version}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    ours = [o for o in objects if not str(o.get("apiVersion")).startswith(OTHERS)]
    path = kit.dump({"apiVersion": "v1", "kind": "List", "items": ours}, kit.BUILD / "list.json")
    done = run(program, "-strict", "-kubernetes-version", version, "-schema-location", location, "-summary", path)
    complaints = [line.removeprefix(f"{path} - ") for line in done.stdout.splitlines() if "Summary" not in line]
    counted = re.search(r"Summary: (\d+) resource", done.stdout)
    if not counted or int(counted[1]) != len(ours):
        complaints.append(f"kubeconform saw not {len(ours)} objects: {done.stdout[-300:]}{done.stderr[-600:]}")
    if done.returncode and not complaints:
        complaints.append(f"kubeconform: exit {done.returncode}")
    return complaints

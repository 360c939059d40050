"""kit.py - what the checks of deploy/ share: a verdict a line, programs that may be missing, rendered manifests.

    check("name", complaints)   one line; the complaints below it
    verdict()                   exit 1 when any had complaints
    skip("what is missing")     exit 77
"""
import json
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "tests/deploy"
DEPLOY = ROOT / "deploy"
BUILD = ROOT / "build/deploy"
sys.path.insert(0, str(ROOT / "tests/smoke"))
from go_tools import Missing, cache_folder, go_tool  # noqa: E402, F401

SKIPPED = 77
MOST = 12  # complaints that are shown of one check
failures = []


def check(name, complaints):
    """complaints: a list of texts, empty when all is well."""
    print(f"{'FAILED' if complaints else 'ok':7} {name}", flush=True)
    for complaint in complaints[:MOST]:
        print(f"        {complaint}", flush=True)
    if len(complaints) > MOST:
        print(f"        and {len(complaints) - MOST} more", flush=True)
    if complaints:
        failures.append(name)


def verdict():
    if failures:
        print(f"failed: {', '.join(failures)}")
    sys.exit(1 if failures else 0)


def skip(missing):
    print(f"SKIPPED: {missing}", flush=True)
    sys.exit(1 if failures else SKIPPED)


def need(program, hint=""):
    path = shutil.which(program)
    if not path:
        skip(f"{program} is not installed{hint and ': ' + hint}")
    return path


def run(*argv, **options):
    """The finished process; its output is text."""
    return subprocess.run([str(word) for word in argv], capture_output=True, text=True, check=False, **options)


def yaml_module():
    try:
        import yaml
    except ImportError:
        skip("python3-yaml is not installed")
    return yaml


def kustomize(folder):
    """The objects that a folder renders to; a failure is a RuntimeError with kubectl's words."""
    done = run("kubectl", "kustomize", folder)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return [o for o in yaml_module().safe_load_all(done.stdout) if o]


def name_of(o):
    return f"{o.get('kind')}/{(o.get('metadata') or {}).get('name')}"


def settings_of(bin_dir, program):
    """Names of the environment variables that a program reads, from its --help."""
    told = run(bin_dir / program, "--help")
    names = set()
    for line in told.stdout.splitlines():
        word = line.strip().split(" ")[0]
        bare = word.removesuffix("[_FILE]")
        if line.startswith("  ") and bare.isupper():
            names |= {bare, bare + "_FILE"} if bare != word else {bare}
    return names


def npm_folder():
    """A folder with the packages of package-lock.json, installed once."""
    for program in ("node", "npm"):
        need(program)
    folder = BUILD / "npm"
    folder.mkdir(parents=True, exist_ok=True)
    lock = (HERE / "package-lock.json").read_text()
    installed = folder / "installed-lock.json"
    for name in ("package.json", "package-lock.json", "validate.mjs"):
        shutil.copy(HERE / name, folder)
    if not installed.exists() or installed.read_text() != lock:
        done = run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=folder)
        if done.returncode:
            skip(f"npm ci failed, the packages are not to be had: {done.stderr[-600:]}")
        installed.write_text(lock)
    return folder


def dump(objects, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(objects, indent=1))
    return path

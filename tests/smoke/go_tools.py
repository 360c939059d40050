"""go_tools.py - programs that Debian's packages do not have: cached, or built once with go install."""
import os
import pathlib
import shutil
import subprocess
import sys

BUILD_S = 540


class Missing(Exception):
    """The program is not here and cannot be made here."""


def cache_folder():
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(home) / "guildbus-tests"


def go_tool(name, module):
    """The program's path."""
    folder = cache_folder()
    path = folder / name
    if path.exists():
        return path
    if not shutil.which("go"):
        raise Missing(f"go is not installed, so there is no way to build {module}")
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"draft-{name}-{os.getpid()}"
    print(f"building {module}", file=sys.stderr, flush=True)
    try:
        built = subprocess.run(["go", "install", module], env={**os.environ, "GOBIN": str(draft)},
                               capture_output=True, text=True, timeout=BUILD_S)
        if built.returncode:
            raise Missing(f"go install {module} failed:\n{built.stderr[-2000:]}")
        (draft / name).rename(path)  # whoever else builds it makes the same
    except subprocess.TimeoutExpired as e:
        raise Missing(f"go install {module} did not end within {BUILD_S} s") from e
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return path

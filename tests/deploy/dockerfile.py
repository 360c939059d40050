"""dockerfile.py - reads the Dockerfile and carries its steps out in chroots, without Docker.

Only what our Dockerfile uses is understood: FROM name AS stage, WORKDIR, COPY [--from=] [--chown=], RUN in shell form,
and what says how the image is run. Anything else is an error.
"""
import hashlib
import os
import pathlib
import re
import shlex
import shutil
import subprocess

ABOUT_RUNNING = ("USER", "STOPSIGNAL", "ENTRYPOINT", "CMD")


class Broken(Exception):
    """A step is not understood or fails."""


class Stage:
    def __init__(self, base, name):
        self.base, self.name, self.steps, self.settings = base, name, [], {}


def parse(text):
    """{name: Stage}"""
    stages, stage = {}, None
    for line in re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", text)).splitlines():
        if not line.strip():
            continue
        word, rest = line.split(None, 1)
        if word == "FROM":
            found = re.fullmatch(r"(\S+) AS (\S+)", rest.strip())
            if not found:
                raise Broken(f"a stage without a name: {line}")
            stage = stages[found[2]] = Stage(found[1], found[2])
        elif word in ABOUT_RUNNING:
            stage.settings[word] = rest.strip()
        elif word in ("WORKDIR", "COPY", "RUN"):
            stage.steps.append((word, rest.strip()))
        else:
            raise Broken(f"not understood: {line}")
    return stages


def tracked_files(source):
    listed = subprocess.run(["git", "-C", source, "ls-files", "-z", "-co", "--exclude-standard"], check=True,
                            capture_output=True, text=True).stdout
    return [name for name in listed.split("\0") if name and (source / name).is_file()]


def copy_sources(source, into):
    for name in tracked_files(source):
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source / name, into / name)


def inside(root, path):
    return root / str(path).lstrip("/")


class Builder:
    def __init__(self, source, folder, base_root, say):
        self.source, self.folder = pathlib.Path(source), pathlib.Path(folder)
        self.base_root = base_root  # makes the root of an image that comes from a registry
        self.say, self.roots = say, {}

    def build(self, stage):
        root = self.folder / stage.name
        root.mkdir(parents=True)
        if stage.base != "scratch":
            self.base_root(stage.base, root)
        self.roots[stage.name] = root
        workdir = "/"
        for word, rest in stage.steps:
            self.say(f"{stage.name}: {word} {rest}")
            if word == "WORKDIR":
                workdir = rest
                inside(root, workdir).mkdir(parents=True, exist_ok=True)
            elif word == "COPY":
                self.copy(root, workdir, rest)
            else:
                in_chroot(root, workdir, rest, self.folder / f"{stage.name}.log")
        return root

    def copy(self, root, workdir, rest):
        words = shlex.split(rest)
        flags = dict(word[2:].split("=", 1) for word in words if word.startswith("--"))
        source, target = [word for word in words if not word.startswith("--")]
        into = inside(root, os.path.join(workdir, target))
        if "from" not in flags and source == ".":
            return copy_sources(self.source, into)
        origin = inside(self.roots[flags["from"]], source) if "from" in flags else self.source / source
        if not origin.exists():
            raise Broken(f"COPY {rest}: {source} is not there")
        if origin.is_dir():
            shutil.copytree(origin, into, symlinks=True, dirs_exist_ok=True)
        else:
            into.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(origin, into)
        for path in [into, *into.rglob("*")] if "chown" in flags else []:
            os.chown(path, *map(int, flags["chown"].split(":")), follow_symlinks=False)


def in_chroot(root, workdir, command, log):
    """As root, in a mount namespace of its own, so that what is mounted goes with it."""
    script = f"mount -t proc proc {shlex.quote(str(root))}/proc && exec chroot {shlex.quote(str(root))} \"$@\""
    argv = ["unshare", "--mount", "sh", "-c", script, "sh", "/usr/bin/env", "-i", "HOME=/root",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            *[f"{name}={value}" for name, value in os.environ.items() if name.lower().endswith("_proxy")],
            "/bin/sh", "-c", f"cd {workdir} && {command}"]
    with open(log, "a") as out:
        if subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out).returncode:
            raise Broken(f"RUN {command} failed:\n" + "".join(open(log).readlines()[-40:]))


def key_of(*texts):
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]

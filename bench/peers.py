"""peers.py - the bots that people would run instead, started as they run them."""
import hashlib
import json
import os
import pathlib
import shutil
import subprocess

from processes import Process, StartError, wait_for

HERE = pathlib.Path(__file__).resolve().parent / "peers"


class NoPeers(Exception):
    """They cannot be had here; the text says why."""


def install(folder):
    """Their packages, of the versions of package-lock.json, once; the folder to run them in."""
    for program in ("node", "npm"):
        if not shutil.which(program):
            raise NoPeers(f"{program} is missing (Node 18 or newer)")
    folder.mkdir(parents=True, exist_ok=True)
    for path in HERE.iterdir():
        shutil.copy(path, folder)
    mark = folder / "installed"
    wanted = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()
    if not mark.exists() or mark.read_text() != wanted:
        done = subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=folder, capture_output=True, text=True,
                              timeout=900)
        if done.returncode:
            raise NoPeers(f"npm ci failed: {done.stderr.strip()[-400:]}")
        mark.write_text(wanted)
    return folder


class Peer:
    """One of them: each line it prints is JSON; said() is all of them in one."""

    def __init__(self, name, script, folder, run_dir, env):
        path, self.folder = run_dir / f"{name}.db", run_dir
        self.process = Process(name, ["node", folder / script], run_dir / f"{name}.log",
                               {"DB": str(path), "HOME": os.environ.get("HOME", "/"), **env})

    def __enter__(self):
        self.process.start()
        return self

    def __exit__(self, *_):
        self.process.stop()

    @property
    def pid(self):
        return self.process.pid

    def said(self):
        merged = {}
        for line in self.process.log_text().splitlines():
            try:
                merged.update(json.loads(line))
            except ValueError as e:
                raise StartError(f"{self.process.name} said: {self.process.tail()}") from e
        return merged

    def wait_for(self, what, condition, timeout_s=600):
        return wait_for(what, lambda: condition(self.said()), timeout_s, [self.process], 0.02)

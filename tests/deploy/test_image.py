#!/usr/bin/env python3
"""Carries the Dockerfile out in chroots of Debian 12 and runs the programs in the roots that it makes, as the user that
it names, on a read-only root: each alone, then all of them as a cluster."""
import fcntl
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import dockerfile
import kit
from kit import ROOT, cache_folder, check, run, skip

sys.path.insert(0, str(ROOT / "tests/flow"))
PROGRAMS = {"gateway": ["guildbus-gateway"], "edge": ["guildbus-edge"], "coordinator": ["guildbus-coordinator"],
            "ctl": ["guildbusctl", "guildbusctl-api"]}
MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
SOURCES = """deb {mirror} bookworm main
deb {mirror} bookworm-updates main
deb http://deb.debian.org/debian-security bookworm-security main
"""
MOST_MIB = 80  # of an image; ICU's data are half of it


def say(text):
    print(f"        {text}", flush=True)


def debootstrap(root):
    """What debian:12-slim has, near enough: no more than the essential packages and apt."""
    kit.need("debootstrap")
    if subprocess.run(["debootstrap", "--variant=minbase", "bookworm", root, MIRROR], stdin=subprocess.DEVNULL,
                      stdout=open(f"{root}.log", "w"), stderr=subprocess.STDOUT).returncode:
        skip(f"debootstrap cannot make a Debian 12 from {MIRROR}, see {root}.log")
    (root / "etc/apt/sources.list").write_text(SOURCES.format(mirror=MIRROR))
    # this machine's way to the mirror
    for path in pathlib.Path("/etc/apt/apt.conf.d").glob("*"):
        if "Acquire::" in path.read_text():
            shutil.copy(path, root / "etc/apt/apt.conf.d")
    for name in ("resolv.conf", "hosts"):
        shutil.copy(f"/etc/{name}", root / "etc" / name)


def prepared(build_stage):
    """A root in which the steps up to the first RUN are done; kept for later runs, as Docker keeps layers."""
    first = [word for word, _ in build_stage.steps].index("RUN") + 1
    script = (ROOT / "deploy/local/packages.sh").read_text()
    key = dockerfile.key_of(MIRROR, script, *[" ".join(step) for step in build_stage.steps[:first]])
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    root = folder / f"image-root-{key}"
    with open(folder / "image-root.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            for old in folder.glob("image-root-*"):
                shutil.rmtree(old, ignore_errors=True)
            with tempfile.TemporaryDirectory(dir=folder, prefix="draft-image-") as draft:
                stage = dockerfile.Stage(build_stage.base, "base")
                stage.steps = build_stage.steps[:first]
                made = dockerfile.Builder(ROOT, draft, lambda _, into: debootstrap(into), say).build(stage)
                made.rename(root)
    return root, first


def build_images(folder):
    """{target: its root}"""
    stages = dockerfile.parse((ROOT / "deploy/Dockerfile").read_text())
    root, first = prepared(stages["build"])
    stages["build"].steps = [("WORKDIR", "/src"), *stages["build"].steps[first:]]

    def base_root(image, into):
        if image == stages["build"].base:
            subprocess.run(["cp", "-a", "--reflink=auto", f"{root}/.", into], check=True)
    builder = dockerfile.Builder(ROOT, folder, base_root, say)
    return stages, {name: builder.build(stage) for name, stage in stages.items()}


def chroot_command(root, program, bind=None):
    """Shell text that runs a program on a read-only root as the image's user, with the devices that runtimes give."""
    lines = [f"mount --bind '{root}' '{root}'", f"mkdir -p '{root}/dev'", f"mount -t tmpfs none '{root}/dev'"]
    for device in ("null", "urandom"):
        lines += [f"touch '{root}/dev/{device}'", f"mount --bind /dev/{device} '{root}/dev/{device}'"]
    lines.append(f"mount -o remount,bind,ro '{root}'")
    if bind:
        lines.insert(0, f"mkdir -p '{root}{bind}' && chown -R 65532:65532 '{bind}'")
        lines.append(f"mount --bind '{bind}' '{root}{bind}'")
    return " && ".join([*lines, f"exec chroot --userspec=65532:65532 '{root}' /usr/local/bin/{program} \"$@\""])


def versions(stages, roots):
    for target, programs in PROGRAMS.items():
        complaints = []
        if stages[target].settings.get("USER") != "65532:65532":
            complaints.append("USER is not 65532:65532")
        if f"/usr/local/bin/{programs[0]}" not in stages[target].settings.get("ENTRYPOINT", ""):
            complaints.append(f"ENTRYPOINT is not {programs[0]}")
        for program in programs:
            word = "--help" if program == "guildbusctl-api" else "--version"
            told = run("unshare", "--mount", "sh", "-c", chroot_command(roots[target], program), "sh", word)
            if program == "guildbusctl-api":  # wants a verb; that it is loaded is what is asked
                bad = "error while loading" in told.stderr
            else:
                bad = told.returncode or program not in told.stdout
            if bad:
                complaints.append(f"{program} {word}: exit {told.returncode}: {told.stdout}{told.stderr}")
        if any((roots[target] / name).exists() for name in ("usr/bin/sh", "bin/sh", "usr/bin/apt-get")):
            complaints.append("it has a shell or a package manager")
        size = sum(p.stat().st_size for p in roots[target].rglob("*") if p.is_file() and not p.is_symlink())
        if size > MOST_MIB << 20:
            complaints.append(f"{size >> 20} MiB, more than {MOST_MIB}")
        check(f"image {target}: {', '.join(programs)} on a read-only root as 65532, {size / 2**20:.1f} MiB, "
              f"{len(list((roots[target] / 'var/lib/dpkg/status.d').iterdir()))} Debian packages", complaints)
    decoder = run(roots["nats-box"] / "usr/local/bin/guildbusctl", "--version")
    check("image nats-box: guildbusctl is static", [] if not decoder.returncode else [decoder.stderr])


def wrappers(folder, roots, run_dir):
    """A folder of programs that run in their images; what no image has is this build's."""
    folder.mkdir()
    built = ROOT / "build/release/bin"
    for path in built.iterdir():
        (folder / path.name).symlink_to(path)
    for target in ("gateway", "edge", "coordinator"):
        program = PROGRAMS[target][0]
        (folder / program).unlink()
        quoted = chroot_command(roots[target], program, run_dir).replace("'", "'\\''")
        (folder / program).write_text(f"#!/bin/sh\nexec unshare --mount sh -c '{quoted}' sh \"$@\"\n")
        (folder / program).chmod(0o755)
    return folder


def cluster(roots, folder):
    """A whole Guildbus from the images: guilds are owned, interactions answered, all end as they should."""
    import flow as flows
    run_dir = folder / "run"
    flow = flows.Flow(wrappers(folder / "bin", roots, run_dir / "cluster"), run_dir)
    try:
        c = flow.cluster(guilds=6)
        for guild in flows.guilds_of(c)[:3]:
            flows.set_up(c, guild)
        flow.finish()
        complaints = []
    except Exception as e:  # whatever it is, it is what this check has to say
        flow.excerpts()
        complaints = [f"{type(e).__name__}: {e}"]
    finally:
        flow.end_all()
    check("a cluster from the images: guilds owned, interactions answered, clean end", complaints)


def main():
    if os.geteuid():
        skip("only root may chroot")
    if run("unshare", "--mount", "true").returncode:
        skip("no mount namespaces may be made here")
    kit.need("git")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="guildbus-image-", dir="/var/tmp"))
    try:
        stages, roots = build_images(folder)
        check("the Dockerfile's steps run in a Debian 12", [])
        versions(stages, roots)
        cluster(roots, folder)
    except dockerfile.Broken as e:
        check("the Dockerfile's steps run in a Debian 12", [str(e)])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    kit.verdict()


if __name__ == "__main__":
    main()

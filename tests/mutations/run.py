#!/usr/bin/env python3
"""run.py - ./dev mutations: the code is broken on purpose, and something must notice.

    copy of the tree ─▶ build ─▶ the tests pass ─▶ each patch of this folder: apply, build, its test fails, undo

A patch begins with what it breaks, and lines that say what else there is to know:

    invariant: I5                                    of docs/reliability.md
    test: unit/gateway/owner test_name               a ctest, and of a unit test the function that is to fail
    chaos: --seed 9 --for 60                         options of tests/chaos/chaos.py, which is to fail too

The last line is one JSON object; the exit code is 1 when a mutation is missed, a patch does not apply any more, it does
not build, or something fails without a mutation.
"""
import argparse
import contextlib
import dataclasses
import filecmp
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
NOT_COPIED = {"build", "node_modules", "__pycache__"}
PROGRAMS = ("guildbus-gateway", "guildbus-edge", "guildbus-coordinator", "guildbus-discord-sim")
TEST_S, CHAOS_EXTRA_S = 400, 600


class Wrong(Exception):
    """Neither caught nor missed: the mutation could not be tried."""


def say(text):
    print(text, flush=True)


# ---- what there is ----

@dataclasses.dataclass
class Mutation:
    path: pathlib.Path
    what: str
    invariant: str
    tests: list   # (ctest name, function or "")
    chaos: list   # options; empty: none

    @property
    def name(self):
        return self.path.stem

    def files(self):
        return re.findall(r"^\+\+\+ b/(\S+)", self.path.read_text(), re.M)


def read_mutation(path):
    what, *lines = path.read_text().split("\n---", 1)[0].splitlines()
    known = {"invariant": [], "test": [], "chaos": []}
    for line in filter(str.strip, lines):
        key, _, value = line.partition(": ")
        if key not in known or not value:
            raise Wrong(f"{path.name}: what is \"{line}\"?")
        known[key].append(value)
    if len(known["invariant"]) != 1 or not known["test"]:
        raise Wrong(f"{path.name}: needs one line invariant: and at least one line test:")
    tests = [(name, function) for name, _, function in (test.partition(" ") for test in known["test"])]
    return Mutation(path, what, known["invariant"][0], tests, " ".join(known["chaos"]).split())


def all_mutations(names):
    mutations = [read_mutation(path) for path in sorted(HERE.glob("*.patch"))]
    unknown = set(names) - {m.name for m in mutations}
    if unknown:
        raise Wrong("no such mutation: " + ", ".join(sorted(unknown)))
    return [m for m in mutations if not names or m.name in names]


# ---- patches ----

def patch(folder, mutation, *options):
    """What is wrong with it, or nothing. No fuzz: a patch that fits only nearly may break something else."""
    done = subprocess.run(["patch", "-p1", "--fuzz=0", "--force", "--no-backup-if-mismatch", "--reject-file=-", *options,
                           "-d", folder, "-i", mutation.path], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode else ""


def check(mutations):
    """Fast: each patch applies to this tree, and the test that is to catch it is there."""
    bad = 0
    for m in mutations:
        wrong = patch(ROOT, m, "--dry-run")
        if wrong:
            say(f"{m.name}: the patch does not apply any more: make it anew\n  " + wrong.replace("\n", "\n  "))
        gone = [function for test, function in m.tests if function and not is_in_source(test, function)]
        for function in gone:
            say(f"{m.name}: there is no {function} any more")
        bad += bool(wrong or gone)
    say(f"{len(mutations)} mutations, {bad} to be mended")
    return not bad


def is_in_source(test, function):
    kind, folder, thing = test.split("/", 2)
    text = (ROOT / "tests" / kind / folder / f"test_{thing}.c").read_text()
    return re.search(rf"\b{re.sub('_(sqlite|postgresql)$', '', function)}\b", text)


# ---- the copy and its build ----

class Copy:
    def __init__(self, folder, jobs, revision):
        self.tree, self.build, self.jobs = folder / "tree", folder / "build", jobs
        self.tree.mkdir(parents=True, exist_ok=True)
        with source_tree(revision) as source:
            take_over(source, self.tree)

    def configure(self):
        # a mutation is not to be caught by a warning
        self._run(["cmake", "-S", self.tree, "-B", self.build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Debug", "-DWERROR=OFF"])

    def make(self, targets):
        self._run(["ninja", "-C", self.build, f"-j{self.jobs}", *targets])

    def _run(self, command):
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        if done.returncode:
            raise Wrong("it does not build:\n" + "\n".join((done.stdout + done.stderr).splitlines()[-15:]))

    @contextlib.contextmanager
    def broken_by(self, mutation):
        whole = {self.tree / name: (self.tree / name).read_bytes() for name in mutation.files()}
        try:
            wrong = patch(self.tree, mutation)
            if wrong:
                raise Wrong("the patch does not apply any more: make it anew\n" + wrong)
            yield
        finally:
            for path, data in whole.items():
                path.write_bytes(data)


@contextlib.contextmanager
def source_tree(revision):
    if not revision:
        yield ROOT
        return
    with tempfile.TemporaryDirectory(prefix="guildbus-mutations-") as folder:
        archive = subprocess.run(["git", "-C", ROOT, "archive", revision], capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
        yield pathlib.Path(folder)


def files_of(folder):
    for where, folders, names in os.walk(folder):
        folders[:] = [f for f in folders if f not in NOT_COPIED and not f.startswith(".")]
        for name in names:
            yield pathlib.Path(where, name).relative_to(folder)


def take_over(source, target):
    """What is the same keeps its time, so that a second run builds little."""
    wanted = set(files_of(source))
    for path in set(files_of(target)) - wanted:
        (target / path).unlink()
    for path in wanted:
        into = target / path
        if not into.exists() or not filecmp.cmp(source / path, into, shallow=False):
            into.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / path, into)


def targets_of(mutations, with_chaos):
    tests = {test for m in mutations for test, _ in m.tests}
    units = {"{1}_test_{2}".format(*test.split("/")) for test in tests if test.startswith("unit/")}
    whole = any(not test.startswith("unit/") for test in tests) or with_chaos
    return sorted(units) + ([*PROGRAMS, "chaos_clock"] if whole else [])


# ---- who notices ----

@dataclasses.dataclass
class Outcome:
    failed: bool
    text: str = ""   # the first that failed


def first_match(pattern, text, otherwise):
    found = re.search(pattern, text, re.M)
    return found[1].strip() if found else otherwise


def run_test(copy, test, function):
    command = ["ctest", "--test-dir", copy.build, "-R", f"^{re.escape(test)}$", "-V", "--no-tests=error"]
    env = {**os.environ, **({"TEST_FILTER": function} if function else {})}
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, errors="replace", env=env,
                          timeout=TEST_S)
    text = re.sub(r"^\d+: ", "", done.stdout, flags=re.M)
    if "***Skipped" in text or "No tests were found" in text:
        raise Wrong(f"{test} does not run here")
    if not done.returncode:
        if function and f"OK ] {function}" not in text:
            raise Wrong(f"{test} has no {function}")
        return Outcome(False)
    if f"RUN      ] {function}\n" in text and "***Timeout" in text:
        return Outcome(True, f"`{test}`: {function} does not end")
    if function and f"FAILED  ] {function}" not in text:
        raise Wrong(f"{test} failed, but not in {function}:\n" + "\n".join(text.splitlines()[-20:]))
    why = first_match(r"^(?:ERROR: |\[  ERROR   \] --- (?!\[))(.+)", text, "failed")
    return Outcome(True, f"`{test}`: {function + ': ' if function else ''}{why}")


def run_chaos(copy, options):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="guildbus-mutations-chaos-"))
    command = [sys.executable, copy.tree / "tests/chaos/chaos.py", "--bin", copy.build / "bin", "--folder", folder, *options]
    seconds = float(options[options.index("--for") + 1]) if "--for" in options else 60
    chaos = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, errors = chaos.communicate(timeout=seconds + CHAOS_EXTRA_S)
        told = json.loads(out.splitlines()[-1])
    except (ValueError, IndexError):
        raise Wrong("chaos did not come to an end:\n" + "\n".join(errors.splitlines()[-15:]))
    finally:
        if chaos.poll() is None:
            chaos.terminate()  # it ends what it has started
            chaos.communicate()
        shutil.rmtree(folder, ignore_errors=True)
    if not told["violations"]:
        return Outcome(False)
    counts = ", ".join(f"{name} {n}" for name, n in sorted(told["by_invariant"].items()))
    first = first_match(r"^VIOLATION (.+)", errors, "")
    return Outcome(True, f"chaos {' '.join(options)} ({counts}): {first}")


# ---- a run ----

class Run:
    def __init__(self, args, mutations):
        self.args, self.mutations = args, mutations
        self.caught, self.missed, self.wrong, self.rows = [], [], [], []
        self.copy = Copy(pathlib.Path(args.folder), args.jobs, args.revision)

    def chaos_of(self, mutation):
        return mutation.chaos if self.args.chaos else []

    def prepare(self):
        self.targets = targets_of(self.mutations, any(map(self.chaos_of, self.mutations)))
        self.copy.configure()
        self.copy.make(self.targets)

    def control(self):
        """Without a mutation all of it passes; else a failure would say nothing."""
        for test, function in sorted({pair for m in self.mutations for pair in m.tests}):
            outcome = run_test(self.copy, test, function)
            if outcome.failed:
                raise Wrong(f"unbroken code fails, too: {outcome.text}")
        for options in sorted({tuple(self.chaos_of(m)) for m in self.mutations} - {()}):
            outcome = run_chaos(self.copy, list(options))
            if outcome.failed:
                raise Wrong(f"unbroken code fails, too: {outcome.text}")

    def catches(self, mutation):
        """What noticed it. The cheapest comes first; chaos is asked as well."""
        found = []
        with self.copy.broken_by(mutation):
            self.copy.make(self.targets)
            for test, function in mutation.tests:
                outcome = run_test(self.copy, test, function)
                if outcome.failed:
                    found.append(outcome.text)
                    break
            chaos = self.chaos_of(mutation)
            if chaos:
                outcome = run_chaos(self.copy, chaos)
                found.append(outcome.text if outcome.failed else f"(chaos {' '.join(chaos)} does not see it)")
        return found

    def try_one(self, mutation):
        begin = time.monotonic()
        try:
            found = self.catches(mutation)
        except (Wrong, subprocess.TimeoutExpired) as e:
            self.wrong.append(mutation.name)
            say(f"{mutation.name}: NOT TRIED: {e}")
            return
        caught = any(not text.startswith("(") for text in found)
        (self.caught if caught else self.missed).append(mutation.name)
        verdict = "caught by " + "; ".join(found) if caught else " ".join(["NOT CAUGHT", *found])
        say(f"{mutation.name} ({mutation.invariant}): {mutation.what} {verdict} [{time.monotonic() - begin:.0f} s]")
        self.rows.append(f"| `{mutation.name}` | {mutation.what} | {mutation.invariant} | {'<br>'.join(found) or 'nothing'} |")

    def summary(self):
        return {"mutations": len(self.mutations), "caught": len(self.caught), "missed": self.missed, "not_tried": self.wrong}


def arguments():
    p = argparse.ArgumentParser(prog="./dev mutations", description=__doc__.splitlines()[0])
    p.add_argument("names", nargs="*", metavar="NAME", help="these only (all)")
    p.add_argument("--list", action="store_true", help="say what there is and end")
    p.add_argument("--check", action="store_true", help="only look whether each patch still applies")
    p.add_argument("--chaos", action="store_true", help="let chaos look, too, at those that it can see (a minute or two each)")
    p.add_argument("--table", action="store_true", help="print the table of docs/reliability.md at the end")
    p.add_argument("--revision", default="", metavar="REV", help="what git has there, not what is in the folder")
    p.add_argument("--folder", default=str(ROOT / "build/mutations"), help="of the copy and its build (build/mutations)")
    p.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N", help="of the build (%(default)s)")
    return p.parse_args()


def main():
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        mutations = all_mutations(args.names)
        if args.list:
            for m in mutations:
                say(f"{m.name} ({m.invariant}): {m.what}")
            return 0
        if args.check:
            return 0 if check(mutations) else 1
        run = Run(args, mutations)
        run.prepare()
        run.control()
    except (Wrong, subprocess.TimeoutExpired) as e:
        print(f"./dev mutations: {e}", file=sys.stderr)
        return 1
    for mutation in mutations:
        run.try_one(mutation)
    if args.table:
        say("\n".join(["| mutation | what it breaks | | caught by |", "|---|---|---|---|", *run.rows]))
    say(json.dumps(run.summary()))
    return 1 if run.missed or run.wrong else 0


if __name__ == "__main__":
    sys.exit(main())

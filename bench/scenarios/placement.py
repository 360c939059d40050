"""placement - a large bot's placement, failover and rebalancing on a simulated clock, by the coordinator's own code.

    1,000 pods and 1,000,000 guilds (--quick: 100 and 20,000): placed; pods, then a rack lost; pods added, restarted in
    turn; a tenth of the guilds ten times as busy. Once, however many repeats: the same seed gives the same moves.
"""
import json
import subprocess

from processes import StartError


PATIENCE_S = 3600  # some minutes of CPU, on a machine that may have others to do


def simulate(bench):
    argv = [bench.bin / "guildbus-placement", "--seed", bench.SEED, *(["--quick"] if bench.args.quick else [])]
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=PATIENCE_S)
    if done.returncode:
        raise StartError(done.stderr.strip())
    return json.loads(done.stdout)


def run(bench):
    found = simulate(bench)
    phases = {phase.pop("name"): [phase] for phase in found.pop("phases")}
    return {"the simulation": [found], **phases}


def targets(_results):
    return {}

#!/usr/bin/env python3
"""browser.py - starts a cluster, lets its guilds live a little, and has Chromium visit the portal (run.sh)."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "smoke"))
from cluster import Cluster, Options, StartError  # noqa: E402
from portal import save_settings  # noqa: E402
from traffic import start_traffic, wait_for_traffic, wait_until_applied  # noqa: E402


def visit(cluster):
    cluster.start()
    cluster.wait_until_owned()
    save_settings(cluster)
    start_traffic(cluster, {"events": 2000, "interactions": 40})
    wait_for_traffic(cluster)
    if not wait_until_applied(cluster):
        raise StartError("not every event was applied")
    return subprocess.run([HERE / "run.sh"], check=False,
                          env={**os.environ, "PORTAL_URL": cluster.portal_url,
                               "SIM_ADMIN_URL": cluster.sim_admin}).returncode


def main():
    run_dir = pathlib.Path(tempfile.mkdtemp(prefix="guildbus-browser-"))
    try:
        with Cluster(Options(run_dir=run_dir)) as cluster:
            code = visit(cluster)
    except StartError as e:
        print(e, file=sys.stderr)
        code = 1
    if code in (0, 77):
        shutil.rmtree(run_dir, ignore_errors=True)
    else:
        print(f"logs: {run_dir}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())

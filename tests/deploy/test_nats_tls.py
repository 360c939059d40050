#!/usr/bin/env python3
"""NATS as the component nats has it: TLS by an authority of our own and a user for each program. The programs connect when
SSL_CERT_FILE names the authority, and not without it, nor to a server of another name."""
import argparse
import os
import pathlib
import sys
import tempfile

import kit
from kit import ROOT, check, run

sys.path.insert(0, str(ROOT / "tests/smoke"))
from processes import HOST, Process, StartError, answers, free_port, http_request, wait_for  # noqa: E402

LIMIT_S = 60


def openssl(*words):
    done = run("openssl", *words)
    if done.returncode:
        raise RuntimeError(f"openssl {words[0]}: {done.stderr}")


def certificates(folder, name):
    """ca.crt, and tls.crt with tls.key for a server of that name."""
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *key, "-keyout", folder / "ca.key", "-out", folder / "ca.crt", "-days", "2", "-subj", "/CN=ca")
    openssl("req", *key, "-keyout", folder / "tls.key", "-out", folder / "tls.csr", "-subj", "/CN=nats")
    (folder / "names").write_text(f"subjectAltName=DNS:{name}\n")
    openssl("x509", "-req", "-in", folder / "tls.csr", "-CA", folder / "ca.crt", "-CAkey", folder / "ca.key",
            "-CAcreateserial", "-days", "2", "-extfile", folder / "names", "-out", folder / "tls.crt")


def nats(folder, bin_dir):
    """(process, port)"""
    done = run(bin_dir / "guildbusctl", "nats-keys", folder / "keys")
    if done.returncode:
        raise RuntimeError(f"guildbusctl nats-keys: {done.stderr}")
    keys = dict(line.split("=", 1) for line in (folder / "keys/nats.env").read_text().split())
    port, monitor = free_port(), free_port()
    (folder / "auth.conf").write_text((kit.DEPLOY / "nats/auth.conf").read_text())
    (folder / "nats.conf").write_text(f"""include auth.conf
host: {HOST}
port: {port}
http: "{HOST}:{monitor}"
jetstream {{ store_dir: "{folder}/store" }}
tls {{ cert_file: "{folder}/tls.crt", key_file: "{folder}/tls.key", ca_file: "{folder}/ca.crt" }}
""")
    p = Process("nats", ["nats-server", "-c", folder / "nats.conf"], folder / "nats.log", keys).start()
    wait_for("nats-server answers", answers(f"http://{HOST}:{monitor}/healthz"), LIMIT_S, [p])
    return p, port


def coordinator(folder, name, bin_dir, port, host, authority):
    """A started coordinator and the address of its readiness."""
    admin = free_port()
    env = {"NATS_URL": f"tls://{host}:{port}", "NATS_NKEY_SEED_FILE": folder / "keys/coordinator.seed",
           "DATA_DIR": folder / name, "API_PORT": "0", "ADMIN_PORT": admin, "SSL_CERT_FILE": authority or ""}
    log = folder / f"{name}.log"
    p = Process(name, [bin_dir / "guildbus-coordinator"], log, {k: str(v) for k, v in env.items()}).start()
    return p, f"http://{HOST}:{admin}/readyz"


def connects(folder, bin_dir, port):
    p, ready = coordinator(folder, "trusting", bin_dir, port, "localhost", folder / "ca.crt")
    try:
        wait_for("the coordinator is ready over TLS", answers(ready), LIMIT_S, [p])
        return []
    except StartError as e:
        return [str(e)]
    finally:
        p.stop()


def refuses(folder, name, bin_dir, port, host, authority):
    """It says that it cannot reach NATS, and is not ready."""
    p, ready = coordinator(folder, name, bin_dir, port, host, authority)
    try:
        wait_for("the coordinator was refused", lambda: "event=nats_unreachable" in p.log_path.read_text(), LIMIT_S, [p])
        status = http_request("GET", ready)[0]
        return [] if status == 503 else [f"/readyz says {status}"]
    except StartError as e:
        return [str(e)]
    finally:
        p.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/release/bin")
    args = parser.parse_args()
    for program in ("openssl", "nats-server"):
        kit.need(program)
    os.environ.pop("SSL_CERT_DIR", None)  # of this machine; an image has none
    with tempfile.TemporaryDirectory(prefix="guildbus-tls-") as folder:
        folder = pathlib.Path(folder)
        certificates(folder, "localhost")
        server, port = nats(folder, args.bin)
        try:
            check("connects with the authority", connects(folder, args.bin, port))
            check("does not without it", refuses(folder, "doubting", args.bin, port, "localhost", None))
            check("does not to another name", refuses(folder, "elsewhere", args.bin, port, HOST, folder / "ca.crt"))
        finally:
            server.stop()
    kit.verdict()


if __name__ == "__main__":
    main()

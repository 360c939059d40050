#!/usr/bin/env python3
"""TLS to NATS: programs show certificates of their own, and take no server that is not the one they were told of."""
import shutil
import subprocess

from flow import HOST, LIMIT_S, Skipped, answers, expect, free_port, run, say, wait_for

CONFIG = """include "{auth}"
tls {{ cert_file: "{folder}/{server}.pem", key_file: "{folder}/{server}.key"
      ca_file: "{folder}/ca.pem", verify: true }}
"""


class Certificates:
    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        self._authority("ca")
        self._authority("other-ca")
        self._certificate("server", f"IP:{HOST},DNS:localhost")
        self._certificate("elsewhere", "DNS:nats.example")
        self._certificate("program", "DNS:guildbus")

    def _openssl(self, *words):
        done = subprocess.run(["openssl", *words], cwd=self.folder, capture_output=True, text=True, timeout=60)
        expect(done.returncode == 0, f"openssl {words}: {done.stderr}")

    def _authority(self, name):
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                      "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")

    def _certificate(self, name, names):
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                      "-keyout", f"{name}.key", "-out", f"{name}.csr")
        (self.folder / f"{name}.ext").write_text(f"subjectAltName={names}\n")
        self._openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                      "-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.pem")

    def env(self, ca="ca", own="program"):
        env = {"NATS_CA_FILE": self.folder / f"{ca}.pem"} if ca else {}
        if own:
            env.update({"NATS_CERT_FILE": self.folder / f"{own}.pem", "NATS_KEY_FILE": self.folder / f"{own}.key"})
        return env


def server(flow, certificates, name):
    """(process, url) of a nats-server that shows this certificate and asks for one."""
    auth, port, monitor = flow.nats_users(), free_port(), free_port()
    config = flow.folder / f"{name}.conf"
    config.write_text(CONFIG.format(auth=auth.config.relative_to(flow.folder), folder=certificates.folder, server=name))
    p = flow.spawn(name, ["nats-server", "-a", HOST, "-p", port, "-m", monitor, "-js",
                          "-sd", flow.folder / f"{name}-js", "-c", config], auth.server_env)
    wait_for("nats-server answers", answers(f"http://{HOST}:{monitor}/healthz"), LIMIT_S, [p])
    return p, f"nats://{HOST}:{port}"


def coordinator(flow, name, url, env):
    (flow.folder / name).mkdir()
    return flow.spawn(name, ["guildbus-coordinator"], {"NATS_URL": url, "DATA_DIR": flow.folder / name,
                                                       "API_PORT": free_port(), "ADMIN_PORT": free_port(), **env})


def edge(flow, name, url, env):
    return flow.spawn(name, ["guildbus-edge"], {
        "NATS_URL": url, "DISCORD_PUBLIC_KEY": "ab" * 32, "DISCORD_APPLICATION_ID": "1000000000000000001",
        "HTTP_PORT": free_port(), "ADMIN_PORT": free_port(), **env})


def expect_ready(p):
    wait_for(f"{p.name} is ready", answers(f"http://{HOST}:{p.env['ADMIN_PORT']}/readyz"), LIMIT_S, [p])


def expect_unreachable(flow, p, why):
    """It says why in each line that tells of a try."""
    wait_for(f"{p.name} says why it has no connection", lambda: "nats_unreachable" in p.log_text(), LIMIT_S, [p])
    line = next(line for line in p.log_text().splitlines() if "nats_unreachable" in line)
    expect(why in line, f"{p.name} does not say {why}: {line}")
    flow.kill(p)
    say(f"{p.name}: {line.split('text=')[1]}")


def body(flow):
    if not shutil.which("openssl"):
        raise Skipped("the openssl command is not installed, nobody makes certificates")
    certificates = Certificates(flow.folder / "certificates")
    _, url = server(flow, certificates, "server")
    expect_ready(coordinator(flow, "coordinator", url, certificates.env()))
    expect_ready(edge(flow, "edge", url.replace(HOST, "localhost"), certificates.env()))
    expect_ready(edge(flow, "edge-tls-url", url.replace("nats:", "tls:"), certificates.env()))
    say("with the right certificates programs work")

    unknown = "unable to get local issuer certificate"
    expect_unreachable(flow, edge(flow, "other-authority", url, certificates.env(ca="other-ca")), unknown)
    expect_unreachable(flow, edge(flow, "no-authority", url, {}), unknown)
    expect_unreachable(flow, edge(flow, "no-certificate", url, certificates.env(own=None)), "nats_unreachable")
    _, elsewhere = server(flow, certificates, "elsewhere")
    expect_unreachable(flow, edge(flow, "another-host", elsewhere, certificates.env()), "mismatch")
    broken = certificates.env()
    broken["NATS_KEY_FILE"] = certificates.folder / "elsewhere.key"
    p = edge(flow, "another-key", url, broken)
    flow.expect_exit(p, 1)
    expect("key values mismatch" in p.log_text(), f"it does not say what is wrong:\n{p.tail()}")


run(body)

"""nats_auth.py - least privilege for a NATS server of ours: deploy/nats/auth.conf, its keys, and a user for tests.

    auth = NatsAuth(folder, bin_dir)       nats-server -c auth.config, with auth.server_env
    auth.of("guildbus-edge")               what the program needs in its environment
    violations(log text)                   what the server refused, line by line
    nats_auth.py FOLDER BIN_DIR            the same files, for a shell

The tests' user may do everything; it stands in no file but the one written here. Test tools log in with LOGIN, which a
server without users passes over.
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
AUTH_CONF = ROOT / "deploy/nats/auth.conf"
USER, PASSWORD = "tests", "tests"
LOGIN = {"user": USER, "pass": PASSWORD}
INBOX = "_INBOX.operator"  # gateways and coordinators may answer there
USERS = {"guildbus-edge": "edge", "guildbus-gateway": "gateway", "guildbus-coordinator": "coordinator"}
REFUSED = re.compile(r"(?:Publish|Subscription) Violation - .*|authentication error - .*")


def with_tests_user(conf):
    """The same configuration with one user more."""
    first = "  users: [\n"
    if conf.count(first) != 1:
        raise ValueError(f"{AUTH_CONF} does not have its users where they are looked for")
    return conf.replace(first, f"{first}    {{ user: {USER}, password: {PASSWORD} }}\n")


class NatsAuth:
    def __init__(self, folder, bin_dir, conf=None):
        """conf: another text than auth.conf's"""
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        keys = self.folder / "keys"
        subprocess.run([pathlib.Path(bin_dir) / "guildbusctl", "nats-keys", keys], check=True, capture_output=True,
                       timeout=60)
        self.config = self.folder / "auth.conf"
        self.config.write_text(with_tests_user(AUTH_CONF.read_text() if conf is None else conf))
        self.server_env = dict(line.split("=", 1) for line in (keys / "nats.env").read_text().split())

    def seed_file(self, user):
        return self.folder / "keys" / f"{user}.seed"

    def of(self, program):
        """{NAME: value} for a program's environment; nothing for those that do not speak NATS."""
        user = USERS.get(program)
        return {"NATS_NKEY_SEED_FILE": str(self.seed_file(user))} if user else {}


def violations(text):
    return REFUSED.findall(text)


if __name__ == "__main__":
    NatsAuth(sys.argv[1], sys.argv[2])

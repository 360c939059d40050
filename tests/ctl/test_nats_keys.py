#!/usr/bin/env python3
"""guildbusctl nats-keys and rotate-nats-key: files, their modes, what stays and what changes.

usage: test_nats_keys.py GUILDBUSCTL
"""
import base64
import os
import pathlib
import stat
import subprocess
import sys
import tempfile
import unittest

CTL = sys.argv[1]
USERS = ("edge", "gateway", "coordinator", "operator")


def crc16(data):
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xffff
    return crc.to_bytes(2, "little")


def raw(key):
    data = base64.b32decode(key + "=" * (-len(key) % 8))
    assert crc16(data[:-2]) == data[-2:], key
    return data[:-2]


class NatsKeys(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.temporary.name) / "keys"

    def tearDown(self):
        self.temporary.cleanup()

    def ctl(self, code, *args):
        done = subprocess.run([CTL, *map(str, args)], capture_output=True, text=True, timeout=60,
                              env={"PATH": os.environ["PATH"]})
        self.assertEqual(done.returncode, code, done)
        for seed in self.seeds().values():
            self.assertFalse(len(seed) > 50 and seed in done.stdout + done.stderr)
        return done

    def seeds(self):
        return {path.name: path.read_text().strip() for path in self.folder.glob("*.seed")}

    def env(self):
        return dict(line.split("=") for line in (self.folder / "nats.env").read_text().splitlines())

    def test_it_makes_two_keys_for_each_user(self):
        self.ctl(0, "nats-keys", self.folder)
        self.assertEqual(set(self.seeds()), {f"{u}{s}.seed" for u in USERS for s in ("", ".spare")})
        self.assertEqual(len(set(self.seeds().values())), 8)
        self.assertEqual(set(self.env()), {f"{u.upper()}_NKEY{s}" for u in USERS for s in ("", "_SPARE")})
        self.assertEqual(len(set(self.env().values())), 8)
        self.assertEqual(stat.S_IMODE(self.folder.stat().st_mode), 0o700)
        for name, seed in self.seeds().items():
            self.assertEqual(stat.S_IMODE((self.folder / name).stat().st_mode), 0o600)
            self.assertTrue(seed.startswith("SU") and len(raw(seed)) == 34)
        for key in self.env().values():
            self.assertTrue(key.startswith("U") and len(raw(key)) == 33)

    def test_keys_that_are_there_stay(self):
        self.ctl(0, "nats-keys", self.folder)
        seeds, env = self.seeds(), self.env()
        (self.folder / "operator.seed").unlink()
        (self.folder / "nats.env").unlink()
        done = self.ctl(0, "nats-keys", self.folder)
        self.assertEqual(done.stdout.count("made "), 1)
        now = self.seeds()
        self.assertEqual([name for name in seeds if now[name] != seeds[name]], ["operator.seed"])
        self.assertEqual([name for name in env if self.env()[name] != env[name]], ["OPERATOR_NKEY"])

    def test_the_spare_key_becomes_the_key(self):
        self.ctl(0, "nats-keys", self.folder)
        seeds, env = self.seeds(), self.env()
        self.ctl(0, "rotate-nats-key", self.folder, "gateway")
        self.assertEqual(self.seeds()["gateway.seed"], seeds["gateway.spare.seed"])
        self.assertEqual(self.env()["GATEWAY_NKEY"], env["GATEWAY_NKEY_SPARE"])
        self.assertNotIn(self.env()["GATEWAY_NKEY_SPARE"], env.values())
        self.assertNotIn(self.seeds()["gateway.spare.seed"], seeds.values())
        changed = {name for name in env if self.env()[name] != env[name]}
        self.assertEqual(changed, {"GATEWAY_NKEY", "GATEWAY_NKEY_SPARE"})

    def test_what_is_wrong_is_said_and_changes_nothing(self):
        self.ctl(1, "nats-keys", self.folder / "in" / "nowhere")
        self.ctl(1, "rotate-nats-key", self.folder, "edge")
        self.ctl(0, "nats-keys", self.folder)
        env, path = self.env(), self.folder / "edge.spare.seed"
        good = path.read_text()
        for wrong in ("", "x\n", good[:-2] + ("A" if good[-2] != "A" else "B") + "\n", good.strip() + "A\n",
                      "SA" + good[2:], good.lower()):
            path.write_text(wrong)
            for verb in (("nats-keys", self.folder), ("rotate-nats-key", self.folder, "edge")):
                self.assertIn("edge.spare.seed is no NKey seed", self.ctl(1, *verb).stderr)
            self.assertEqual(self.env(), env)
        for args in (("nats-keys",), ("nats-keys", "a", "b"), ("rotate-nats-key", self.folder),
                     ("rotate-nats-key", self.folder, "nobody")):
            self.assertIn("guildbusctl", self.ctl(2, *args).stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])

#!/usr/bin/env python3
"""guildbusctl decode, as built: JSON and exit code 0 whatever stands on stdin, nothing on stderr.

usage: test_decode.py GUILDBUSCTL [static]
"""
import json, os, pathlib, random, re, shutil, subprocess, sys, tempfile, unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORPUS = ROOT / "tests/fuzz/corpus"
CTL = sys.argv[1]
STATIC = "static" in sys.argv[2:]
PROTO = (ROOT / "messages/guildbus.proto").read_text()
ZEROS = {"", "0", *re.findall(r"(\w+) = 0;", PROTO)}


def decode(body, *args):
    done = subprocess.run([CTL, "decode", *args], input=body, capture_output=True, timeout=60)
    assert done.returncode == 0, (done.returncode, body[:80])
    assert done.stderr == b"", done.stderr
    return done.stdout.decode()


def is_zero(value):
    return value in ZEROS if isinstance(value, str) else not value


def fields_added_since(got, expected):
    """Whether got is expected, but for members that a newer schema has added: these are zero (of an enum: its name)."""
    if isinstance(expected, dict) and isinstance(got, dict):
        return (all(k in got and fields_added_since(got[k], v) for k, v in expected.items())
                and all(is_zero(got[k]) for k in got.keys() - expected.keys()))
    if isinstance(expected, list) and isinstance(got, list):
        return len(got) == len(expected) and all(map(fields_added_since, got, expected))
    return got == expected


def kinds():
    body = re.search(r"message Envelope \{\s*oneof body \{(.*?)\}", PROTO, re.S)[1]
    return re.findall(r"^\s*\w+ (\w+) = \d+;", body, re.M)


class Decode(unittest.TestCase):
    def test_each_kind_gives_its_json(self):
        self.assertGreater(len(kinds()), 20)
        for kind in kinds():
            body = (CORPUS / f"envelope/{kind}_0").read_bytes()
            expected = json.loads((CORPUS / f"envelope_json/{kind}_0.json").read_text())
            self.assertTrue(fields_added_since(json.loads(decode(body)), expected), kind)

    def test_ids_are_exact(self):
        event = b"\x12\x0b\x08" + b"\xff" * 9 + b"\x01"  # event.guild_id = 2^64 - 1
        self.assertEqual(json.loads(decode(event))["event"]["guildId"], str(2**64 - 1))

    def test_truncated_and_flipped_bodies_give_json(self):
        chance = random.Random(7)
        for kind in kinds():
            body = (CORPUS / f"envelope/{kind}_0").read_bytes()
            for cut in {1, len(body) // 2, max(len(body) - 1, 1)}:
                json.loads(decode(body[:cut]))
            flipped = bytearray(body)
            flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
            json.loads(decode(bytes(flipped)))

    def test_garbage_gives_json(self):
        chance = random.Random(8)
        for size in [1, 2, 3, 5, 8, 100, 1000, 5000, 100000]:
            json.loads(decode(chance.randbytes(size)))
        json.loads(decode(b"\x0a" * 3000))
        json.loads(decode(b"\x0a\x00" * 3000))

    def test_unknown_protobuf_is_dumped_by_its_wire_format(self):
        got = json.loads(decode(b"\x08\x96\x01\x12\x03abc\x1a\x02\xff\xfe\x22\x04\x08\x01\x12\x00",
                                "--subject", "pod.gw-1.control"))
        self.assertEqual(got, {"subject": "pod.gw-1.control", "expected": "control", "wire": [
            {"field": 1, "varint": "150"}, {"field": 2, "text": "abc"}, {"field": 3, "hex": "fffe"},
            {"field": 4, "message": [{"field": 1, "varint": "1"}, {"field": 2, "text": ""}]}]})

    def test_other_bytes_are_hex(self):
        self.assertEqual(json.loads(decode(b"\xff\x00\xfe")), {"size": 3, "hex": "ff00fe"})
        large = json.loads(decode(b"\xff" * 10000))
        self.assertEqual((large["size"], len(large["hexOfBegin"])), (10000, 8192))

    def test_json_is_laid_out_and_otherwise_left_alone(self):
        self.assertEqual(decode(b' {"a":[1.10,18446744073709551616,{}],"b":"\\u00e9","a":[]}\n'),
                         '{\n  "a": [\n    1.10,\n    18446744073709551616,\n    {}\n  ],\n'
                         '  "b": "\\u00e9",\n  "a": []\n}\n')

    def test_text_is_a_json_string(self):
        self.assertEqual(decode(b"+ACK"), '"+ACK"\n')

    def test_nothing_is_empty(self):
        self.assertEqual(decode(b""), "(empty)\n")

    def test_wrong_options_do_not_matter(self):
        self.assertEqual(decode(b"[]", "--subject"), "[]\n")
        self.assertEqual(decode(b"[]", "--nonsense", "x"), "[]\n")

    def test_a_closed_pipe_does_not_matter(self):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run([CTL, "decode"], input=b"[1]", stdout=writer, stderr=subprocess.PIPE)
        os.close(writer)
        self.assertEqual((done.returncode, done.stderr), (0, b""))


class Copied(unittest.TestCase):
    """Away from its place: only a static program runs where no shared library is."""

    def setUp(self):
        if not STATIC:
            self.skipTest("linked dynamically, as under a sanitizer")
        self.place = tempfile.TemporaryDirectory()
        self.addCleanup(self.place.cleanup)
        self.copy = shutil.copy(CTL, self.place.name)

    def test_the_program_asks_for_no_interpreter(self):
        header = pathlib.Path(CTL).read_bytes()
        self.assertEqual(header[:5], b"\x7fELF\x02")
        offset = int.from_bytes(header[32:40], "little")
        size, count = (int.from_bytes(header[i:i + 2], "little") for i in (54, 56))
        types = [int.from_bytes(header[offset + i * size:][:4], "little") for i in range(count)]
        self.assertNotIn(3, types)  # PT_INTERP

    def test_a_copy_decodes_without_any_library(self):
        done = subprocess.run([self.copy, "decode"], input=b"\x0a\x02\x08\x03", capture_output=True,
                              env={"LD_LIBRARY_PATH": "/nowhere"})
        self.assertEqual(json.loads(done.stdout), {"error": {"status": 3, "text": ""}})

    def test_a_copy_says_what_the_other_verbs_lack(self):
        done = subprocess.run([self.copy, "pods"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("guildbusctl-api", done.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])

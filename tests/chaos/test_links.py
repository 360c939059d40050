#!/usr/bin/env python3
"""Links do what their mode says, and go on as if nothing had been when they are open again."""
import pathlib
import socket
import sys
import threading
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "smoke")]
import tempfile  # noqa: E402

from processes import HOST, Process, free_port, wait_for  # noqa: E402
from stage import Links  # noqa: E402

WAIT_S = 20


def serve(listener, word):
    """Answers each line with the word before it."""
    def talk(connection):
        with connection, connection.makefile("rwb", 0) as lines:
            for line in lines:
                lines.write(word + line)
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=talk, args=(connection,), daemon=True).start()


class Modes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        control, cls.port = free_port(), free_port()
        log = pathlib.Path(cls.folder.name) / "proxy.log"
        cls.proxy = Process("proxy", [sys.executable, HERE / "proxy.py", control], log).start()
        wait_for("the proxy listens", lambda: "listening" in cls.proxy.log_text(), WAIT_S, [cls.proxy])
        cls.links = Links(control)
        cls.listeners = [socket.create_server((HOST, 0)) for _ in range(2)]
        for listener, word in zip(cls.listeners, (b"a:", b"b:")):
            threading.Thread(target=serve, args=(listener, word), daemon=True).start()
        targets = [[HOST, listener.getsockname()[1]] for listener in cls.listeners]
        cls.links.order({"links": {"one": {"port": cls.port, "targets": targets[:1], "tells": True}}})
        cls.both = free_port()
        cls.links.order({"links": {"both": {"port": cls.both, "targets": [[HOST, free_port()], targets[1]]}}})

    @classmethod
    def tearDownClass(cls):
        cls.links.close()
        cls.proxy.stop()
        for listener in cls.listeners:
            listener.close()
        cls.folder.cleanup()

    def setUp(self):
        self.mode("open")
        self.connect()

    def tearDown(self):
        self.end()

    def end(self):
        self.lines.close()
        self.socket.close()

    def mode(self, mode, **more):
        self.links.order({"link": "one", "mode": mode, **more})

    def connect(self, port=None):
        if hasattr(self, "lines"):
            self.end()
        self.socket = socket.create_connection((HOST, port or self.port), WAIT_S)
        self.lines = self.socket.makefile("rwb", 0)

    def ask(self, line=b"x\n"):
        self.lines.write(line)
        return self.lines.readline()

    def silent(self):
        self.socket.settimeout(0.3)
        with self.assertRaises(TimeoutError):
            self.socket.recv(1)
        self.socket.settimeout(WAIT_S)

    def test_open_passes_everything(self):
        self.assertEqual(self.ask(), b"a:x\n")
        long = b"y" * 1000000 + b"\n"
        self.assertEqual(self.ask(long), b"a:" + long)

    def test_cut_resets_what_is_there_and_what_comes(self):
        self.ask()
        self.mode("cut")
        with self.assertRaises(OSError):
            self.socket.recv(1)
            raise ConnectionResetError  # an orderly end would do as well
        with self.assertRaises(OSError):
            self.connect()
            self.ask()
            raise ConnectionResetError
        self.mode("open")
        self.connect()
        self.assertEqual(self.ask(), b"a:x\n")

    def test_stall_loses_nothing(self):
        self.ask()
        self.mode("stall")
        self.socket.sendall(b"1\n2\n")
        self.silent()
        self.mode("open")
        self.assertEqual([self.lines.readline(), self.lines.readline()], [b"a:1\n", b"a:2\n"])

    def test_what_connects_while_stalled_waits(self):
        self.mode("stall")
        self.connect()
        self.socket.sendall(b"1\n")
        self.silent()
        self.mode("open")
        self.assertEqual(self.lines.readline(), b"a:1\n")

    def test_drop_is_half_open(self):
        self.ask()
        for way in ("out", "in"):
            self.mode("drop", way=way)
            self.socket.sendall(b"1\n")
            self.silent()
            self.mode("open")
            with self.assertRaises(OSError):  # bytes are missing: it cannot go on
                self.socket.recv(1)
                raise ConnectionResetError
            self.connect()
            self.assertEqual(self.ask(), b"a:x\n")

    def test_slow_keeps_the_order(self):
        self.mode("slow", delay_ms=100)
        begin = time.monotonic()
        self.socket.sendall(b"1\n")
        time.sleep(0.02)
        self.socket.sendall(b"2\n")
        self.assertEqual([self.lines.readline(), self.lines.readline()], [b"a:1\n", b"a:2\n"])
        self.assertGreaterEqual(time.monotonic() - begin, 0.2)

    def test_a_target_that_does_not_listen_is_passed_over(self):
        for _ in range(3):
            self.connect(self.both)
            self.assertEqual(self.ask(), b"b:x\n")


if __name__ == "__main__":
    unittest.main()

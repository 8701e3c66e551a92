"""relayd as a process: its exit codes, its first line, its log, and a start with nothing open.

Environment: RELAYD and RELAY, the programs.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "outside"))
import relay_wire as wire  # noqa: E402

RELAYD, RELAY = os.environ["RELAYD"], os.environ["RELAY"]
FAILURE_SECONDS = 60
SECRET = "never-to-be-logged"


def frame(kind, **fields):
    return wire.Frame(kind, **fields).encode()


class Running:
    """A relayd on a Unix socket, with its stderr in a file."""

    def __init__(self, test, *flags, closed=()):
        folder = tempfile.TemporaryDirectory()
        test.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "relay.sock")
        self.log_path = os.path.join(folder.name, "log")
        redirections = "".join(f" {number}<&-" for number in closed)
        command = f'exec "$0" "$@"{redirections}'
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                ["/bin/sh", "-c", command, RELAYD, "--listen", f"unix:{self.path}", *flags],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
        test.addCleanup(self.process.stdout.close)
        test.addCleanup(self.process.wait)
        test.addCleanup(self.process.kill)
        self.ready = self.process.stdout.readline().decode()

    def connect(self):
        """A socket to it, once it listens; it has said so unless its stdout was closed."""
        while True:
            try:
                connection = socket.socket(socket.AF_UNIX)
                connection.settimeout(FAILURE_SECONDS)
                connection.connect(self.path)
                return connection
            except OSError:
                connection.close()
                if self.process.poll() is not None:
                    raise

    def wait_for(self, words):
        """Until the log has them."""
        until = time.monotonic() + FAILURE_SECONDS
        while words not in self.log():
            if time.monotonic() > until:
                raise AssertionError(f"no {words!r} in {self.log()!r}")
            time.sleep(0.001)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(FAILURE_SECONDS)

    def log(self):
        with open(self.log_path, encoding="utf-8") as log:
            return log.read()


class Start(unittest.TestCase):
    def run_relayd(self, *arguments, **streams):
        return subprocess.run([RELAYD, *arguments], capture_output=not streams, text=True, check=False,
                              timeout=FAILURE_SECONDS, **streams)

    def test_says_where_it_listens(self):
        relayd = Running(self)
        self.assertEqual(relayd.ready, f"ready unix:{relayd.path}\n")
        self.assertEqual(relayd.stop(), 0)

    def test_with_standard_descriptors_closed_serves_and_stops(self):
        for closed in ((0,), (1,), (2,), (0, 1, 2)):
            with self.subTest(closed=closed):
                relayd = Running(self, closed=closed)
                relayd.connect().close()
                server = f"unix:{relayd.path}"
                worker = subprocess.Popen([RELAY, "receive", "c", "--server", server, "--echo", "--count", "1", "-q"])
                got = subprocess.run([RELAY, "send", "c", "--server", server, "--data", "x"], capture_output=True,
                                     check=False, timeout=FAILURE_SECONDS)
                self.assertEqual((got.returncode, got.stdout, worker.wait(FAILURE_SECONDS)), (0, b"x", 0))
                self.assertEqual(relayd.stop(), 0)

    def test_what_it_does_not_understand_is_a_usage_error(self):
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as config:
            config.write("queue-cuont = 7\n")
            config.flush()
            for arguments, words in (
                    (["--bogus"], "--bogus"),
                    (["--queue-count", "0"], "--queue-count: '0' is not a number from 1"),
                    (["--listen", "http://127.0.0.1"], "http://127.0.0.1"),
                    (["--config", config.name], f"{config.name}: line 1: no option is called 'queue-cuont'"),
                    (["--config", "/nowhere/at/all"], "/nowhere/at/all"),
                    (["--config", ""], "--config: it needs the name of a file"),
                    (["--max-window-bytes", "64KiB"], "--initial-window-bytes")):
                with self.subTest(arguments=arguments):
                    got = self.run_relayd(*arguments)
                    self.assertEqual((got.returncode, got.stdout), (64, ""))
                    self.assertTrue(got.stderr.startswith("relayd: "), got.stderr)
                    self.assertIn(words, got.stderr)

    def test_an_address_in_use_is_named(self):
        relayd = Running(self)
        got = self.run_relayd("--listen", f"unix:{relayd.path}")
        self.assertEqual(got.returncode, 1)
        self.assertIn(f"bind unix:{relayd.path}: address already in use", got.stderr)

    def test_a_ready_line_that_cannot_be_written_is_a_failure(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            got = self.run_relayd("--listen", "tcp://127.0.0.1:0", stdout=full, stderr=subprocess.PIPE)
        self.assertEqual(got.returncode, 1)
        self.assertIn("write to stdout: No space left on device", got.stderr)

    def test_help_that_cannot_be_written_is_a_failure(self):
        for option in ("--help", "--version"):
            with self.subTest(option=option), open("/dev/full", "w", encoding="utf-8") as full:
                got = self.run_relayd(option, stdout=full, stderr=subprocess.PIPE)
                self.assertEqual((got.returncode, got.stderr),
                                 (1, "relayd: write to stdout: No space left on device\n"))


class Log(unittest.TestCase):
    def faults(self):
        hello = wire.PREFACE + frame(wire.Type.HELLO, payload=b"\x08\x01")
        return {
            "bad_preface": b"GET / HTTP/1.1\r\n" + SECRET.encode(),
            "before_hello": wire.PREFACE + frame(wire.Type.PING, payload=b"12345678"),
            "bad_version": wire.PREFACE + frame(wire.Type.HELLO, payload=b"\x08\x02\x1a\x12" + SECRET.encode()),
            "second_hello": hello + frame(wire.Type.HELLO, payload=b"\x08\x01"),
            "bad_header": hello + frame(wire.Type.PING, slot=1, payload=b"12345678"),
            "malformed": hello + frame(wire.Type.PING, payload=b"1234567"),
            "server_frame": hello + frame(wire.Type.WELCOME),
            "payload_too_large": hello + b"\xff\xff\xff\xff" + frame(wire.Type.PING)[4:],
        }

    def test_every_connection_ends_in_one_line_with_its_name_and_no_secret(self):
        relayd = Running(self)
        for end, said in self.faults().items():
            with self.subTest(end=end), relayd.connect() as connection:
                connection.sendall(said)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
        self.assertEqual(relayd.stop(), 0)
        log = relayd.log()
        line = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z level=info event=connection_end "
                          rf"connection=\d+ peer=unix:{re.escape(relayd.path)} end=(\w+)$", re.MULTILINE)
        self.assertEqual(line.findall(log), list(self.faults()))
        self.assertNotIn(SECRET, log)

    def test_sigusr1_writes_the_counts(self):
        relayd = Running(self)
        relayd.connect().close()
        relayd.process.send_signal(signal.SIGUSR1)
        relayd.wait_for("event=metrics connections=")
        self.assertEqual(relayd.stop(), 0)
        self.assertGreaterEqual(len(re.findall("event=metrics connections=", relayd.log())), 2)


if __name__ == "__main__":
    unittest.main()

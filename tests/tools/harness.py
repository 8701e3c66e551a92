"""What the tests of the command `relay` stand on: a relayd of their own on a free port, workers and senders as
processes, and waits for what they say. Every wait has a bound, which is a failure and never a pause.
"""

import collections
import faulthandler
import fcntl
import os
import queue
import re
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import unittest

RELAY = os.environ["RELAY"]
RELAYD = os.environ["RELAYD"]
SANITIZED = os.environ.get("RELAY_SANITIZE", "") != ""
FAILURE_SECONDS = 60 if SANITIZED else 20
# For a whole test, the longest of which streams 2 GiB: whoever hangs is told of by name, and not by ctest.
TEST_SECONDS = 150

OK = 0
CANCELLED, UNKNOWN, INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND = 11, 12, 13, 14, 15
RESOURCE_EXHAUSTED, INTERNAL, UNAVAILABLE = 18, 23, 24
USAGE, NO_INPUT, IO = 64, 66, 74

Result = collections.namedtuple("Result", "code out err")


class Process:
    """A process of ours, whose lines on stderr are kept as they come."""

    def __init__(self, arguments, **popen):
        environment = {**os.environ, **popen.pop("env", {})}
        popen = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **popen}
        self.process = subprocess.Popen(arguments, bufsize=0, env=environment, **popen)
        self.stdin, self.stdout, self.pid = self.process.stdin, self.process.stdout, self.process.pid
        self.lines = queue.Queue()
        self.seen = []
        self.pump = None
        if self.process.stderr is not None:
            self.pump = threading.Thread(target=self._pump)
            self.pump.start()

    def _pump(self):
        with self.process.stderr as stderr:
            pending = b""
            while data := stderr.read(65536):
                *lines, pending = (pending + data).split(b"\n")
                for line in lines:
                    self.lines.put(line.decode(errors="replace"))
            self.lines.put(None)

    def wait_for(self, pattern):
        """The next line on stderr in which the pattern is found, as a match."""
        fails_at = time.monotonic() + FAILURE_SECONDS
        while True:
            try:
                line = self.lines.get(timeout=max(0, fails_at - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None:
                raise AssertionError(f"no line like {pattern!r} on stderr, but {self.seen}")
            self.seen.append(line)
            if match := re.search(pattern, line):
                return match

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self):
        return self.process.wait(FAILURE_SECONDS)

    def result(self):
        """Waits for the end, with what is left of stdout, and all of stderr."""
        out = b""
        if self.stdin is not None and not self.stdin.closed:
            self.stdin.close()
        if self.stdout is not None and not self.stdout.closed:
            out = read_to_end(self)
        code = self.wait()
        while (line := self.lines.get(timeout=FAILURE_SECONDS)) is not None:
            self.seen.append(line)
        return Result(code, out, "".join(line + "\n" for line in self.seen))

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.pump is not None:
            self.pump.join(FAILURE_SECONDS)
        for stream in (self.stdin, self.stdout):
            if stream is not None:
                stream.close()


def read_to_end(process):
    """All of the process's stdout; killed, so that this ends, when it takes too long."""
    timer = threading.Timer(FAILURE_SECONDS, process.process.kill)
    timer.start()
    try:
        return process.stdout.read()
    finally:
        timer.cancel()


class Terminal:
    """The side of a terminal that a person looks at."""

    def __init__(self, test, columns=80, rows=24):
        self.screen, self.tty = os.openpty()
        test.addCleanup(os.close, self.screen)
        self.resize(columns, rows)
        self.text = ""

    def resize(self, columns, rows=24):
        fcntl.ioctl(self.screen, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def close_tty(self):
        os.close(self.tty)

    def read(self):
        """False once nobody has the terminal open."""
        try:
            data = os.read(self.screen, 65536)
        except OSError:
            return False
        self.text += data.decode()
        return True

    def read_until(self, pattern):
        while not re.search(pattern, self.text) and self.read():
            pass

    def read_to_end(self):
        while self.read():
            pass


class RelayTest(unittest.TestCase):
    """A relayd, and all that a test starts is stopped behind it."""

    relayd_flags = ()

    def setUp(self):
        self.processes = []
        watchdog = threading.Timer(TEST_SECONDS, self._give_up)
        watchdog.start()
        self.addCleanup(watchdog.cancel)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.server = self.start_relayd("tcp://127.0.0.1:0", *self.relayd_flags).address

    def start(self, arguments, **popen):
        process = Process(arguments, **popen)
        self.processes.append(process)
        self.addCleanup(process.stop)
        return process

    def _give_up(self):
        """Says where the test hangs, and ends it with all that it started."""
        print(f"{self.id()} hangs:", file=sys.stderr)
        for process in self.processes:
            state = "runs" if process.process.poll() is None else f"ended with {process.process.returncode}"
            print(f"  {process.process.args} {state}: {process.seen}", file=sys.stderr)
            process.process.kill()
        faulthandler.dump_traceback()
        os._exit(1)

    def start_relayd(self, listen, *flags, log_level="warning"):
        relayd = self.start([RELAYD, "--listen", listen, "--log-level", log_level, *flags])
        word, _, relayd.address = relayd.stdout.readline().decode().strip().partition(" ")
        self.assertEqual(word, "ready")
        return relayd

    def metrics(self, relayd):
        """Of a relayd that logs at info."""
        relayd.signal(signal.SIGUSR1)
        line = relayd.wait_for("event=metrics.*frames_mirrored=").string
        return {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", line)}

    def relay(self, *arguments, **popen):
        """Starts the command; its server is this test's unless told otherwise."""
        popen["env"] = {"RELAY_SERVER": self.server, **popen.get("env", {})}
        return self.start([RELAY, *arguments], **popen)

    def worker(self, channel, *arguments, **popen):
        process = self.relay("receive", channel, "--verbose", *arguments, **popen)
        process.wait_for("waiting for requests")
        return process

    def sender(self, channel, *arguments, **popen):
        return self.relay("send", channel, *arguments, **{"stdin": subprocess.PIPE, **popen})

    def send(self, channel, *arguments, body=b"", **popen):
        """One request with a small body, to its end."""
        process = self.sender(channel, *arguments, **popen)
        try:
            process.stdin.write(body)
        except BrokenPipeError:
            pass
        return process.result()

    def path(self, name):
        return os.path.join(self.folder, name)

    def file(self, name, content):
        with open(self.path(name), "wb") as file:
            file.write(content)
        return self.path(name)

    def gate(self, name):
        """A FIFO: a command that reads it waits until the test opens it."""
        os.mkfifo(self.path(name))
        return self.path(name)

    def interrupt(self, process):
        process.signal(signal.SIGINT)

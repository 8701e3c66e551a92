"""A relayd as a process among others: what it logs, what it counts, what it takes of the host.

Environment: RELAYD, the program; RELAY_SANITIZE where it was built with a sanitizer.
"""

import collections
import os
import re
import signal
import subprocess
import threading
import time

FAILURE_SECONDS = 60
TICKS = os.sysconf("SC_CLK_TCK")
SANITIZED = os.environ.get("RELAY_SANITIZE", "") != ""

# What is to be nothing when everybody has left.
GAUGES = dict.fromkeys("connections clients channels exchanges held_bytes".split(), 0)


class Relayd:
    """A relayd on a port of its own. Its log is read as it comes, unless `stderr` says where else it goes."""

    def __init__(self, *flags, listen="tcp://127.0.0.1:0", under=(), env=None, **popen):
        popen.setdefault("stderr", subprocess.PIPE)
        self.process = subprocess.Popen([*under, os.environ["RELAYD"], "--listen", listen, *flags],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        env={**os.environ, **(env or {})}, **popen)
        self.pid = self.process.pid
        self.lines = []
        self._come = threading.Condition()
        self._pump = None
        if self.process.stderr is not None:
            self._pump = threading.Thread(target=self._read_log, daemon=True)
            self._pump.start()
        word, _, self.address = self.process.stdout.readline().decode().strip().partition(" ")
        if word != "ready":
            self.close()
            raise AssertionError(f"relayd {' '.join(flags)} did not start: {self.lines}")

    def _read_log(self):
        for line in self.process.stderr:
            with self._come:
                self.lines.append(line.decode(errors="replace").rstrip())
                self._come.notify_all()

    def wait_for_line(self, pattern, since=0):
        """The first match in a line of the log from the given one on."""
        found = []

        def here():
            found[:] = filter(None, (re.search(pattern, line) for line in self.lines[since:]))
            return bool(found)

        with self._come:
            if not self._come.wait_for(here, FAILURE_SECONDS):
                raise AssertionError(f"no line with {pattern!r} in: {self.lines[-20:]}")
        return found[0]

    def metrics(self):
        """All counts by name, those of ends too; 0 for what was not counted."""
        since = len(self.lines)
        self.process.send_signal(signal.SIGUSR1)
        counts = self.wait_for_line("event=metrics(.*)", since)[1] + self.wait_for_line("event=ends(.*)", since)[1]
        return collections.Counter({name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", counts)})

    def wait_until(self, **counts):
        """Returns all counts once those named are as given."""
        fails_at = time.monotonic() + FAILURE_SECONDS
        while True:
            now = self.metrics()
            if all(now[name] == value for name, value in counts.items()):
                return now
            if time.monotonic() > fails_at:
                raise AssertionError(f"{counts} did not come; now {dict(now)}")

    def cpu_seconds(self):
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def stop(self):
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(FAILURE_SECONDS)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self._pump is not None:
            self._pump.join()
            self.process.stderr.close()
        self.process.stdout.close()

"""relayd on a host that runs short: of descriptors, of calls that succeed, of somebody who reads its log.

Environment: RELAYD, the program; FAILING_CALLS, the library that makes its system calls fail.
"""

import collections
import errno
import fcntl
import os
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import uuid

OUTSIDE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "outside")
sys.path.insert(0, OUTSIDE)
from harness import Client, Line  # noqa: E402
from process import FAILURE_SECONDS, SANITIZED, Relayd  # noqa: E402
from relay_wire import FIN, Code, Status, Type, open_socket  # noqa: E402

# A loop that spins takes all of a processor.
MOST_CPU = 0.5
REST_SECONDS = 0.1


class HostTest(unittest.TestCase):

    def setUp(self):
        self.lines = []

    def serve(self, *flags, **options):
        self.relayd = Relayd(*flags, **options)
        self.addCleanup(self.relayd.close)
        return self.relayd

    def connect(self):
        """A connection that has said HELLO."""
        line = Line(self.relayd.address)
        self.addCleanup(line.close)
        self.lines.append(line)
        line.greet(agent="host")
        return line

    def welcomed(self):
        line = self.connect()
        line.await_welcome()
        return line

    def check_stop(self):
        """Everybody leaves, and relayd ends well."""
        while self.lines:
            self.lines.pop().close()
        self.assertEqual(self.relayd.stop(), 0)

    def check_exchange(self, line):
        """A whole exchange between two slots of the connection, which are free again afterwards."""
        channel = uuid.uuid4().bytes
        sender, receiver = (Client(self, line, slot, channel) for slot in (1, 2))
        receiver.receive()
        request = sender.start(body=b"ping", flags=FIN)
        self.assertEqual(receiver.expect_request(request, FIN).body, b"ping")
        receiver.finish(request, b"pong")
        self.assertEqual(sender.expect_response(request, FIN).body, b"pong")
        for client in (sender, receiver):
            client.leave()
            client.expect_leave(Code.OK)

    def check_cpu(self, until):
        """Calls `until`, through which relayd may not spin."""
        cpu, began = self.relayd.cpu_seconds(), time.monotonic()
        until()
        share = (self.relayd.cpu_seconds() - cpu) / (time.monotonic() - began)
        print(f"{self.id().rpartition('.')[2]}: {100 * share:.0f} % of a processor", file=sys.stderr)
        self.assertLess(share, MOST_CPU)


class Descriptors(HostTest):

    def test_connections_are_bounded_by_what_there_is(self):
        for hard in (64, 128):
            with self.subTest(hard=hard):
                relayd = self.serve(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (32, hard)))
                most = int(relayd.wait_for_line(r"level=warning event=max_connections_lowered from=16384 to=(\d+) "
                                                rf"descriptors={hard}$")[1])
                self.assertGreater(most, hard / 3)  # several threads take some
                lines = [self.welcomed() for _ in range(most)]
                refused = self.connect().read_frame()
                self.assertEqual(refused.type, Type.GOAWAY)
                status = Status.decode(refused.payload)
                self.assertEqual((status.code, status.end), (Code.RESOURCE_EXHAUSTED, "max_connections"))
                self.assertLess(relayd.descriptors(), hard)
                lines.pop().close()
                relayd.wait_until(peer_closed=1)
                lines.append(self.welcomed())
                for line in lines:
                    line.barrier()
                self.check_exchange(lines[0])
                self.check_stop()

    @unittest.skipIf(SANITIZED, "a sanitizer opens a pipe to look whether memory is there, and fails without one")
    def test_without_any_left_it_rests_serves_and_goes_on(self):
        relayd = self.serve()
        inside = self.welcomed()
        soft, hard = resource.prlimit(relayd.pid, resource.RLIMIT_NOFILE)
        self.assertEqual(soft, hard)
        resource.prlimit(relayd.pid, resource.RLIMIT_NOFILE, (relayd.descriptors(), hard))
        began = time.monotonic()
        waiting = [self.connect() for _ in range(8)]

        def ten_rests():
            seen = 0
            for _ in range(10):
                relayd.wait_for_line("level=warning event=accept_failed .*too many open files", seen)
                seen = len(relayd.lines)
                self.check_exchange(inside)

        self.check_cpu(ten_rests)
        self.assertGreaterEqual(time.monotonic() - began, 9 * REST_SECONDS)
        resource.prlimit(relayd.pid, resource.RLIMIT_NOFILE, (soft, hard))
        for line in waiting:  # nobody who came meanwhile was let go
            line.await_welcome()
            line.barrier()
        self.check_stop()


class ThreadsTest(unittest.TestCase):

    @unittest.skipIf(SANITIZED, "a sanitizer takes more address space than there is here")
    def test_a_thread_that_cannot_be_started_is_said_before_it_is_ready(self):
        most_bytes = 500 << 20  # fewer than the stacks of 64 threads
        with tempfile.TemporaryDirectory() as folder:
            ended = subprocess.run(
                [os.environ["RELAYD"], "--threads", "64", "--listen", f"unix:{folder}/socket"],
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes)),
                capture_output=True, text=True, timeout=FAILURE_SECONDS)
            self.assertEqual(os.listdir(folder), [])
        self.assertEqual(ended.returncode, 1, ended.stderr)
        self.assertRegex(ended.stderr, r"relayd: start thread \d+ of 64: ")
        self.assertNotIn("ready", ended.stdout)


@unittest.skipIf(SANITIZED, "a sanitizer's own interceptors come first")
class Calls(HostTest):

    def setUp(self):
        super().setUp()
        self.report = tempfile.NamedTemporaryFile("r", encoding="ascii")
        self.addCleanup(self.report.close)

    def serve_failing(self, **plans):
        plans = {f"FAIL_{call}": f"{every}:" + ",".join(map(str, errors)) for call, (every, errors) in plans.items()}
        return self.serve(env={"LD_PRELOAD": os.environ["FAILING_CALLS"], "FAIL_REPORT": self.report.name, **plans})

    def failed(self):
        """How many calls of each name have failed, once relayd has ended."""
        self.check_stop()
        return collections.Counter({name: int(count) for name, count in
                                    re.findall(r"FAIL_(\w+)=(\d+)", self.report.read())})

    def test_accepts_that_fail(self):
        rests = ("ENFILE", "ENOMEM", "ENOBUFS")
        goes_on = ("ECONNABORTED", "EINTR", "EPROTO", "EAGAIN")
        relayd = self.serve_failing(ACCEPT4=(2, [getattr(errno, name) for name in rests + goes_on]))

        def come():
            for line in [self.welcomed() for _ in range(24)]:
                self.check_exchange(line)

        self.check_cpu(come)
        self.assertGreaterEqual(self.failed()["ACCEPT4"], len(rests + goes_on))
        for words in ("file table overflow", "not enough memory", "no buffer space available"):
            relayd.wait_for_line(f"event=accept_failed .*{words}")

    def test_reads_and_writes_that_fail_or_fall_short(self):
        errors = [errno.EINTR, 0, errno.EAGAIN]
        relayd = self.serve_failing(RECV=(3, errors), SEND=(3, errors))
        peer = [sys.executable, "-B", os.path.join(OUTSIDE, "peer.py")]
        there = ["--server", relayd.address, "short"]
        body = os.urandom(4 << 20)
        with subprocess.Popen([*peer, "receive", *there, "--echo", "--count", "1"]) as receiver:
            got = subprocess.run([*peer, "send", *there], input=body, capture_output=True, check=False,
                                 timeout=FAILURE_SECONDS)
            self.assertEqual((got.returncode, got.stderr), (0, b""))
            self.assertTrue(got.stdout == body)
            self.assertEqual(receiver.wait(FAILURE_SECONDS), 0)
        failed = self.failed()
        self.assertGreaterEqual(failed["RECV"], len(errors))
        self.assertGreaterEqual(failed["SEND"], len(errors))


class Log(HostTest):

    NOISE = 300

    def make_noise(self):
        """A line of the log for each of NOISE connections."""
        for _ in range(self.NOISE):
            with open_socket(self.relayd.address, FAILURE_SECONDS) as noise:
                noise.sendall(b"GET / HTTP/1.1\r\n\r\n")
                while noise.recv(4096):
                    pass

    def test_a_full_disk_stops_nothing(self):
        with open("/dev/full", "wb") as full:
            self.serve(stderr=full)
        self.make_noise()
        self.check_exchange(self.welcomed())
        self.check_stop()

    def test_a_pipe_that_nobody_holds_stops_nothing(self):
        reading, writing = os.pipe()
        self.serve(stderr=writing)
        os.close(writing)
        os.close(reading)
        self.make_noise()
        self.check_exchange(self.welcomed())
        self.check_stop()

    def test_lines_that_nobody_reads_are_lost_and_counted(self):
        reading, writing = os.pipe()
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 2 * resource.getpagesize())
        self.serve(stderr=writing)
        os.close(writing)
        self.make_noise()
        self.check_exchange(self.welcomed())
        self.lines.pop().close()
        with open(reading, encoding="ascii") as log:
            lines = [log.readline()]  # and the pipe has room again
            self.relayd.process.send_signal(signal.SIGTERM)
            lines += log.readlines()
        self.assertEqual(self.relayd.process.wait(FAILURE_SECONDS), 0)
        kept = sum("event=connection_end" in line for line in lines)
        lost = int(re.search(r"log_lines_lost=(\d+)", "".join(lines))[1])
        self.assertGreater(lost, 0)
        self.assertEqual(kept + lost, self.NOISE + 1)  # and the one that was served
        for line in lines:
            self.assertRegex(line, r"^\d{4}-\d\d-\d\dT\S+Z level=\w+ event=")


class Signals(HostTest):

    def test_writing_to_who_is_gone_is_no_signal(self):
        relayd = self.serve()
        with open(f"/proc/{relayd.pid}/status", encoding="ascii") as status:
            ignored = int(re.search(r"^SigIgn:\s*(\w+)$", status.read(), re.MULTILINE)[1], 16)
        self.assertTrue(ignored >> (signal.SIGPIPE - 1) & 1)
        for _ in range(100):
            line = self.welcomed()
            for _ in range(100):
                line.send(Type.PING, payload=b"answered")
            line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            line.close()
        self.check_exchange(self.welcomed())
        self.check_stop()

    def test_a_storm_of_signals_disturbs_no_exchange(self):
        relayd = self.serve()
        stop = threading.Event()
        sent = 0

        def storm():
            nonlocal sent
            # Thousands a second. Without a pause in between a process that handles them comes to nothing else.
            while not stop.wait(0.0001):
                relayd.process.send_signal(signal.SIGUSR1)
                sent += 1

        storming = threading.Thread(target=storm)
        storming.start()
        try:
            line = self.welcomed()
            exchanges = 0
            while exchanges < 200 or sent < 200:
                self.check_exchange(line)
                exchanges += 1
        finally:
            stop.set()
            storming.join()
        written = sum("event=metrics" in line for line in relayd.lines)
        print(f"{exchanges} exchanges, {sent} signals, {written} times the counts", file=sys.stderr)
        self.check_stop()


if __name__ == "__main__":
    unittest.main()

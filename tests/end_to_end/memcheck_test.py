"""Every kind of frame, both ways, through a relayd under valgrind: no byte that was never written goes onto the wire,
and nothing is read that is not there.

Environment: RELAYD, the program.
"""

import os
import shutil
import signal
import struct
import sys
import unittest
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "outside"))
import harness  # noqa: E402
from harness import Client, Line  # noqa: E402
from process import FAILURE_SECONDS, SANITIZED, Relayd  # noqa: E402
from relay_wire import FIN, IDEMPOTENT, PREFACE, RECEIVE, REQUEST, RESPONSE  # noqa: E402
from relay_wire import Code, End, Field, Frame, Hello, Start, Status, Type  # noqa: E402

FOUND_EXIT = 99
EXTEND, UNKNOWN_TYPE = 14, 200
harness.FAILURE_SECONDS = FAILURE_SECONDS  # valgrind takes its time


class Memcheck(unittest.TestCase):

    def setUp(self):
        if SANITIZED:
            self.skipTest("a program with a sanitizer does not run under valgrind")
        if shutil.which("valgrind") is None:
            self.skipTest("valgrind is not installed: tools/setup --ci")
        self.relayd = Relayd("--queue-count", "2", under=("valgrind", "--quiet", f"--error-exitcode={FOUND_EXIT}"))
        self.addCleanup(self.relayd.close)
        self.channel = uuid.uuid4().bytes
        self.lines = []

    def connect(self):
        line = Line(self.relayd.address)
        self.addCleanup(line.close)
        self.lines.append(line)
        return line

    def client(self, slot=1, line=None):
        if line is None:
            line = self.connect()
            line.greet(agent="memcheck")
            line.await_welcome()
        return Client(self, line, slot, self.channel, key=b"a key")

    def test_every_kind_of_frame(self):
        self.stream_both_ways()
        self.hold_and_shed()
        self.move_to_another_receiver()
        self.time_and_resets()
        self.waits()
        self.take_over()
        self.faults()
        self.crumbs()
        self.drain()
        found = "\n".join(line for line in self.relayd.lines if line.startswith("=="))
        self.assertEqual((self.relayd.process.wait(FAILURE_SECONDS), found), (0, ""))

    def stream_both_ways(self):
        sender, receiver = self.client(), self.client()
        receiver.receive()
        start = Start(method="m", content_type="t", metadata=[Field(key="k", value=b"v")])
        request = sender.start(start=start, body=b"first", timeout_ms=60000, extension_ms=1000)
        self.assertEqual(receiver.expect_request(request).body, b"first")
        receiver.answer(request, b"early", start=start)
        sender.expect_response(request)
        large = bytes(100000)
        for _ in range(4):
            sender.chunk(request, large[:50000])
            receiver.expect_chunk(request, large[:50000])
            receiver.chunk(request, large[:50000], RESPONSE)
            sender.expect_chunk(request, large[:50000], RESPONSE)
        receiver.send(EXTEND, request, struct.pack(">I", 60500))
        frame = receiver.next()
        self.assertEqual(frame.type, EXTEND, frame)
        receiver.window(request, 1 << 20, REQUEST)
        sender.expect_window(request, 1 << 20, REQUEST)
        sender.window(request, 1 << 20, RESPONSE)
        receiver.expect_window(request, 1 << 20, RESPONSE)
        sender.chunk(request, large)
        receiver.expect_chunk(request, large)
        sender.end(request)
        receiver.expect_end(request)
        payload = End(status=Status(code=Code.NOT_FOUND, message="words"), metadata=start.metadata).encode()
        receiver.send(Type.END, request, payload, RESPONSE | RECEIVE)
        self.assertEqual(sender.expect_end(request, RESPONSE), payload)
        receiver.withdraw()
        receiver.expect_withdrawn()
        for client in (sender, receiver):
            client.leave()
            client.expect_leave(Code.OK)

    def hold_and_shed(self):
        senders, receiver = [self.client() for _ in range(3)], self.client()
        requests = []
        for sender in senders[:2]:
            requests.append(sender.start(body=b"held"))
            sender.chunk(requests[-1], b"and more")
            sender.end(requests[-1])
            sender.sync()
        senders[2].expect_reset(senders[2].start(), Code.RESOURCE_EXHAUSTED)
        for sender, request in zip(senders, requests):
            receiver.receive()
            receiver.expect_request(request)
            receiver.expect_chunk(request, b"and more")
            receiver.expect_end(request)
            receiver.finish(request, b"done")
            sender.expect_response(request, FIN)

    def move_to_another_receiver(self):
        sender, first, second = (self.client() for _ in range(3))
        first.receive()
        request = sender.start(body=b"kept", flags=IDEMPOTENT)
        sender.chunk(request, b"kept, too")
        sender.window(request, 1 << 20, RESPONSE)
        first.expect_request(request, IDEMPOTENT)
        first.expect_chunk(request, b"kept, too")
        second.receive()
        second.sync()
        first.line.close()
        self.assertEqual(second.expect_request(request, IDEMPOTENT).attempt, 2)
        second.expect_chunk(request, b"kept, too")
        second.expect_window(request, 1 << 20, RESPONSE)
        second.reset(request, Code.INTERNAL, "words " * 400)
        sender.expect_reset(request, Code.INTERNAL)

    def time_and_resets(self):
        sender, receiver = self.client(), self.client()
        receiver.receive()
        request = sender.start(timeout_ms=1)
        sender.expect_reset(request, Code.DEADLINE_EXCEEDED)
        receiver.withdraw()
        while receiver.next().type != Type.RECEIVE:  # the request may have come, and its end
            pass
        receiver.receive()
        request = sender.start()
        receiver.expect_request(request)
        sender.reset(request, Code.CANCELLED, "no more")
        receiver.expect_reset(request, Code.CANCELLED)
        request = sender.start()
        sender.expect_reset(sender.start(), Code.FAILED_PRECONDITION)
        sender.reset(request)
        sender.sync()

    def waits(self):
        receiver = self.client()
        receiver.receive(wait_ms=0)
        receiver.expect_nothing_came()
        receiver.receive(wait_ms=1)
        receiver.expect_nothing_came()
        receiver.send(UNKNOWN_TYPE, uuid.uuid4().bytes, b"dropped")
        receiver.chunk(uuid.uuid4().bytes, b"late")
        receiver.sync()

    def take_over(self):
        first = self.client()
        first.receive()
        first.sync()
        line = self.client(slot=7).line
        Client(self, line, 1, self.channel, id=first.id, key=b"a key").sync()
        first.expect_leave(Code.ABORTED)
        refused = Client(self, line, 2, self.channel, id=first.id, key=b"another key")
        refused.expect_leave(Code.ALREADY_EXISTS)

    def faults(self):
        hello = PREFACE + Frame(Type.HELLO, payload=Hello(version=1).encode()).encode()
        for said in (b"GET / HTTP/1.1\r\n", PREFACE + bytes(24), hello + hello, hello + b"\xff" * 24,
                     hello + Frame(Type.PING, payload=b"short").encode(),
                     hello + Frame(Type.START, REQUEST, 1, uuid.uuid4().bytes, b"cut").encode()):
            line = self.connect()
            line.send_bytes(said)
            self.assertEqual([frame.type for frame in line.read_to_end()][-1], Type.GOAWAY)

    def crumbs(self):
        """A frame that comes byte by byte is put together in memory of its own."""
        sender, receiver = self.client(), self.client()
        receiver.receive()
        request = sender.start()
        receiver.expect_request(request)
        for byte in Frame(Type.CHUNK, REQUEST | FIN, 1, request, b"crumbs").encode():
            sender.line.send_bytes(bytes([byte]))
        self.assertEqual(receiver.expect(Type.CHUNK, request, REQUEST | FIN), b"crumbs")
        receiver.finish(request)
        sender.expect_response(request, FIN)

    def drain(self):
        for line in self.lines:
            line.close()
        sender, receiver, queued = self.client(), self.client(), self.client()
        receiver.receive()
        request = sender.start()
        receiver.expect_request(request)
        waiting = queued.start()
        queued.sync()
        self.relayd.process.send_signal(signal.SIGUSR1)
        self.relayd.process.send_signal(signal.SIGTERM)
        queued.expect_reset(waiting, Code.UNAVAILABLE)
        sender.end(request)
        receiver.expect_end(request)
        receiver.finish(request)
        sender.expect_response(request, FIN)
        for client in (sender, receiver, queued):
            self.assertEqual(client.line.next().type, Type.GOAWAY)
            client.line.send(Type.GOAWAY)
            client.line.close()


if __name__ == "__main__":
    unittest.main()

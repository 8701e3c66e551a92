"""What is no client: other protocols on the port, bytes that trickle, lengths and names that promise too much.

Environment: RELAYD, the program.
"""

import os
import random
import socket
import sys
import time
import unittest
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "outside"))
from harness import Line  # noqa: E402
from process import GAUGES, SANITIZED, Relayd  # noqa: E402
from relay_wire import HEADER, NIL, PREFACE, REQUEST, Code, Frame, Hello, Join, Status, Type, channel_id  # noqa: E402

OPENING = PREFACE + Frame(Type.HELLO, payload=Hello(version=1, agent="a byte at a time").encode()).encode()
OTHERS = {
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(range(189)),
    "HTTP": b"GET / HTTP/1.1\r\nHost: relay\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "zeros": bytes(64),
    "another version of the preface": b"RELAY/2\n",
    "another end of the line": b"RELAY/1\r\n",
}


class Noise(unittest.TestCase):

    def serve(self, *flags):
        self.relayd = Relayd(*flags)
        self.addCleanup(self.relayd.close)
        return self.relayd

    def connect(self):
        line = Line(self.relayd.address)
        self.addCleanup(line.close)
        return line

    def greeted(self):
        line = self.connect()
        line.greet(agent="noise")
        line.await_welcome()
        return line

    def check_refused(self, line, code, end):
        """GOAWAY for the end as the last frame."""
        line.read_to_end()
        self.assertEqual(line.last.type, Type.GOAWAY)
        status = Status.decode(line.last.payload)
        self.assertEqual((Code(status.code).name, status.end), (code.name, end))

    def ends_in_the_log(self):
        return [line.partition(" end=")[2].split()[0] for line in self.relayd.lines if "event=connection_end" in line]

    def test_other_protocols_are_told_so_in_one_line_of_the_log_each(self):
        relayd = self.serve()
        seed = random.randrange(1 << 32)
        print(f"noise: seed {seed}", file=sys.stderr)
        chance = random.Random(seed)
        said = [*OTHERS.values(), *(bytes([chance.choice(range(1, 80))]) + chance.randbytes(chance.randrange(9, 2000))
                                    for _ in range(50))]
        for bytes_said in said:
            line = self.connect()
            line.send_bytes(bytes_said)
            self.check_refused(line, Code.INVALID_ARGUMENT, "bad_preface")
            line.close()
        relayd.wait_until(**GAUGES, bad_preface=len(said))
        self.assertEqual(self.ends_in_the_log(), ["bad_preface"] * len(said))

    def test_hello_has_an_absolute_time(self):
        relayd = self.serve("--hello-timeout", "500ms", "--linger-time", "60s")
        began = time.monotonic()
        trickling = [self.connect() for _ in range(100)]
        lines = [*trickling, self.connect()]  # and one that says nothing
        for byte in OPENING[:-1]:  # would take longer than the time, were it an idle one
            for line in trickling:
                line.send_bytes(bytes([byte]))
            timed_out = relayd.metrics()["hello_timeout"]
            self.assertTrue(timed_out == 0 or time.monotonic() - began >= 0.5)
            if timed_out == len(lines):
                break
            time.sleep(0.02)  # the pace of the trickle
        relayd.wait_until(hello_timeout=len(lines))
        for line in lines:
            line.socket.shutdown(socket.SHUT_WR)
            self.check_refused(line, Code.DEADLINE_EXCEEDED, "hello_timeout")
            line.close()
        relayd.wait_until(**GAUGES, hello_timeout=len(lines))

    @unittest.skipIf(SANITIZED, "a sanitizer's memory is not the program's")
    def test_nothing_is_allocated_from_a_declared_length(self):
        relayd = self.serve()
        lines = [self.greeted() for _ in range(300)]
        most = lines[0].limits.max_payload_bytes
        before = self.resident_bytes()
        for line in lines:
            line.send_bytes(HEADER.pack(most, Type.CHUNK, REQUEST, 1, uuid.uuid4().bytes) + b"x")
        self.greeted().barrier()
        grown = self.resident_bytes() - before
        print(f"declared {len(lines) * most >> 20} MiB, grown by {grown >> 10} KiB", file=sys.stderr)
        self.assertLess(grown, len(lines) * most / 10)
        self.assertEqual(relayd.metrics()["connections"], len(lines) + 1)

    def resident_bytes(self):
        with open(f"/proc/{self.relayd.pid}/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def test_names_that_promise_too_much(self):
        self.serve()
        for name, end in (("x" * 256, "channel_name"), ("x" * 60000, "channel_name"), ("a\0b", "channel_name")):
            with self.subTest(bytes=len(name)):
                line = self.greeted()
                join = Join(client_id=uuid.uuid4().bytes, channel_id=channel_id(name), channel_name=name)
                line.send(Type.JOIN, 1, NIL, join.encode())
                self.check_refused(line, Code.INVALID_ARGUMENT, end)
        line = self.greeted()
        line.send(Type.JOIN, 1, NIL, Join(client_id=uuid.uuid4().bytes, channel_id=NIL).encode() + b"\x1a\x02\xc3\x28")
        self.check_refused(line, Code.INVALID_ARGUMENT, "malformed")

    def test_where_the_program_lies_in_memory_is_chance(self):
        """The seed of the hash of slots is an address: of a program at a fixed place, a peer could compute it."""
        with open(os.environ["RELAYD"], "rb") as program:
            self.assertEqual(program.read(18)[16:], b"\x03\x00", "not position-independent")


if __name__ == "__main__":
    unittest.main()

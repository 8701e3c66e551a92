"""A relayd whose memory runs out loses connections, says so, and lives; with memory back, it works as before.

Environment: RELAYD, the program; RELAY_SANITIZE where it was built with a sanitizer, which takes all address space.
"""

import contextlib
import os
import re
import resource
import sys
import unittest
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "outside"))
from harness import Client, Line  # noqa: E402
from process import GAUGES, SANITIZED, Relayd  # noqa: E402
from relay_wire import FIN  # noqa: E402

ROOM_BYTES = 64 << 20
BODY_BYTES = 60_000  # within the first window, and a few of them within what a socket takes
SLOTS = 64


def address_space(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return int(re.search(r"VmSize:\s+(\d+) kB", status.read())[1]) * 1024


@unittest.skipIf(SANITIZED, "a sanitizer takes all address space")
class Memory(unittest.TestCase):

    def connected(self, relayd):
        line = Line(relayd.address)
        self.addCleanup(line.close)
        line.greet(agent="memory")
        line.await_welcome()
        return line

    def fill(self, relayd, channel):
        """A connection more, with requests that nobody takes."""
        line = Line(relayd.address)
        with contextlib.suppress(OSError, AssertionError):  # it may be the one that is lost
            line.greet(agent="memory")
            for slot in range(1, SLOTS + 1):
                Client(self, line, slot, channel).start(body=b"x" * BODY_BYTES)
            line.barrier()
        return line

    def test_connections_are_lost_and_not_the_process(self):
        channel = uuid.uuid4().bytes
        with contextlib.closing(Relayd("--queue-bytes", "64GiB", "--queue-bytes-total", "64GiB")) as relayd:
            most = address_space(relayd.pid) + ROOM_BYTES
            resource.prlimit(relayd.pid, resource.RLIMIT_AS, (most, most))
            lines = []
            while relayd.metrics()["memory"] == 0:
                self.assertLess(len(lines) * SLOTS * BODY_BYTES, 2 * ROOM_BYTES, "the memory did not run out")
                lines.append(self.fill(relayd, channel))
            relayd.wait_for_line("event=memory_short")
            for line in lines:
                line.close()
            relayd.wait_until(**GAUGES)
            sender = Client(self, self.connected(relayd), 1, channel)
            receiver = Client(self, self.connected(relayd), 1, channel)
            receiver.receive()
            request = sender.start(flags=FIN)
            receiver.expect_request(request, FIN)
            receiver.finish(request)
            sender.expect_response(request, FIN)


if __name__ == "__main__":
    unittest.main(verbosity=2)

"""2 GiB through `relay send | relay receive --echo`, both ways, with equal checksums, and the most memory that any of
the three processes ever had. A build with sanitizers, which are slow and take memory of their own, gets 64 MiB, and
no look at the memory.
"""

import hashlib
import os
import re
import threading
import unittest

from harness import OK, SANITIZED, RelayTest

BLOCK_BYTES = 1 << 20
TOTAL_BYTES = 64 << 20 if SANITIZED else 2 << 30
MAX_RESIDENT_KIB = 64 << 10


def peak_resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return int(re.search(r"^VmHWM:\s+(\d+) kB$", status.read(), re.MULTILINE)[1])


class BigBody(RelayTest):
    def test_streams_both_ways_in_little_memory(self):
        relayd = self.start_relayd("tcp://127.0.0.1:0")
        self.server = relayd.address
        worker = self.worker("big", "--echo")
        sender = self.sender("big")
        sent = hashlib.sha256()
        feeder = threading.Thread(target=self.feed, args=(sender.stdin, sent))
        feeder.start()
        received = hashlib.sha256()
        received_bytes = 0
        # The sender's stdin is still open: all of it has come back, and all three still run.
        while received_bytes < TOTAL_BYTES and (data := sender.stdout.read(BLOCK_BYTES)):
            received.update(data)
            received_bytes += len(data)
        feeder.join()
        self.assertEqual(received_bytes, TOTAL_BYTES)
        self.assertEqual(received.hexdigest(), sent.hexdigest())
        if not SANITIZED:
            peaks = {process: peak_resident_kib(pid) for process, pid in
                     (("sender", sender.pid), ("worker", worker.pid), ("relayd", relayd.pid))}
            self.assertLess(max(peaks.values()), MAX_RESIDENT_KIB, peaks)
        self.assertEqual(sender.result(), (OK, b"", ""))
        worker.wait_for(r"  OK$")

    def feed(self, stdin, digest):
        block = bytearray(os.urandom(BLOCK_BYTES))
        try:
            for number in range(TOTAL_BYTES // BLOCK_BYTES):
                block[:8] = number.to_bytes(8, "big")
                digest.update(block)
                view = memoryview(block)
                while view:
                    view = view[stdin.write(view):]
        except BrokenPipeError:
            pass


if __name__ == "__main__":
    unittest.main()

"""Peer death over real sockets: who dies, how far the exchange is, in which manner, and what the other side is told.

The table below is PROTOCOL.md, "Ends that are not END". Every cell is played: the exchange runs up to its step, one
side dies, the other is told what the table says and nothing more, goes on with somebody else, and when all have left
every gauge is back at nothing.

Environment: RELAYD, the program.
"""

import contextlib
import multiprocessing
import os
import socket
import struct
import sys
import time
import unittest
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "outside"))
from harness import Client, Line  # noqa: E402
from network import Network  # noqa: E402
from process import GAUGES, Relayd  # noqa: E402
from relay_wire import FIN, IDEMPOTENT, RESPONSE, Code, Type  # noqa: E402

BEFORE_START, QUEUED, ASSIGNED, MID_REQUEST, REQUEST_ENDED, MID_RESPONSE, AFTER_END = STEPS = (
    "before START", "queued", "assigned", "mid-request", "request ended", "mid-response", "after END")

# What the other side sees: a RESET, which says that the request may have run, since it was handed out; or nothing.
NOTHING = "nothing"
CANCELLED = (Code.CANCELLED, "sender_lost")
UNAVAILABLE = (Code.UNAVAILABLE, "receiver_lost")
MOVED = "nothing: another receiver gets it, attempt 2"

#                       step            sender dies  receiver dies  receiver of an idempotent request dies
TABLE = {
    BEFORE_START:                      (NOTHING,     NOTHING,       NOTHING),
    QUEUED:                            (NOTHING,     NOTHING,       NOTHING),
    ASSIGNED:                          (CANCELLED,   UNAVAILABLE,   MOVED),
    MID_REQUEST:                       (CANCELLED,   UNAVAILABLE,   MOVED),
    REQUEST_ENDED:                     (CANCELLED,   UNAVAILABLE,   MOVED),
    MID_RESPONSE:                      (CANCELLED,   UNAVAILABLE,   UNAVAILABLE),
    AFTER_END:                         (NOTHING,     NOTHING,       NOTHING),
}
CELLS = [(who, flags, step, TABLE[step][column]) for step in STEPS
         for column, (who, flags) in enumerate((("sender", 0), ("receiver", 0), ("receiver", IDEMPOTENT)))]


def connected(address):
    line = Line(address)
    line.greet(agent="death")
    line.await_welcome()
    return line


class Mortal:
    """The client that dies, in this process."""

    def __init__(self, test, address, channel):
        self.line = connected(address)
        self.client = Client(test, self.line, 1, channel)

    def __getattr__(self, verb):
        return getattr(self.client, verb)

    def fin(self):
        self.line.socket.shutdown(socket.SHUT_WR)

    def rst(self):
        self.line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.line.close()

    def close(self):
        self.line.close()


class Process:
    """The client that dies, as a process of its own: it does what it is told until it is killed."""

    def __init__(self, test, address, channel):
        context = multiprocessing.get_context("fork")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=self.live, args=(other, test, address, channel))
        self.process.start()
        other.close()

    @staticmethod
    def live(pipe, test, address, channel):
        client = Client(test, connected(address), 1, channel)
        while True:
            verb, arguments, fields = pipe.recv()
            try:
                result = getattr(client, verb)(*arguments, **fields)
                pipe.send(None if result is client else result)
            except Exception as error:  # told where the test can see it
                pipe.send(error)

    def __getattr__(self, verb):
        def call(*arguments, **fields):
            self.pipe.send((verb, arguments, fields))
            result = self.pipe.recv()
            if isinstance(result, Exception):
                raise result
            return result

        return call

    def sigkill(self):
        self.process.kill()

    def close(self):
        self.process.kill()
        self.process.join()
        self.pipe.close()


class Cell:
    """One exchange between a client that will die and one that stays."""

    def __init__(self, test, cell, address, mortal):
        self.test, self.cell = test, cell
        self.who, self.flags, self.step, self.expected = cell
        self.channel = uuid.uuid4().bytes
        self.line = connected(address)
        self.stays = Client(test, self.line, 1, self.channel)
        self.dies = mortal(test, address, self.channel)
        self.sender, self.receiver = (self.dies, self.stays) if self.who == "sender" else (self.stays, self.dies)
        self.request = self.play()
        self.dies.sync()

    def play(self):
        """The exchange up to its step. Returns the request's id."""
        sender, receiver = self.sender, self.receiver
        if self.step == BEFORE_START:
            receiver.receive()
            receiver.sync()
            return None
        if self.step != QUEUED:
            receiver.receive()
        request = sender.start(flags=self.flags)
        if self.step == QUEUED:
            sender.sync()
            return request
        receiver.expect_request(request, self.flags)
        if self.step == ASSIGNED:
            return request
        sender.chunk(request, b"ping")
        receiver.expect_chunk(request, b"ping")
        if self.step == MID_REQUEST:
            return request
        sender.end(request)
        receiver.expect_end(request)
        if self.step == REQUEST_ENDED:
            return request
        receiver.answer(request)
        receiver.chunk(request, b"pong", RESPONSE)
        sender.expect_response(request)
        sender.expect_chunk(request, b"pong", RESPONSE)
        if self.step == MID_RESPONSE:
            return request
        receiver.end(request, RESPONSE)
        sender.expect_end(request, RESPONSE)
        return request

    def check(self):
        """The other side is dead, and the server knows it."""
        if self.expected not in (NOTHING, MOVED):
            code, end = self.expected
            status = self.stays.expect_reset(self.request, code)
            self.test.assertEqual((status.end, status.may_have_run), (end, True))
        self.stays.expect_quiet()
        stranger = Client(self.test, self.line, 2, self.channel)
        if self.who == "sender":
            self.check_receiver(stranger)
        else:
            self.check_sender(stranger)
        self.stays.expect_quiet()

    def close(self):
        self.line.close()
        self.dies.close()

    def check_receiver(self, sender):
        if self.step == QUEUED:
            self.stays.receive(wait_ms=0)
            self.stays.expect_nothing_came()
        if self.step != BEFORE_START:  # there it waits all the while
            self.stays.receive()
        self.exchange(sender, self.stays)

    def check_sender(self, receiver):
        if self.expected != MOVED and self.step not in (BEFORE_START, QUEUED):
            receiver.receive()
            return self.exchange(self.stays, receiver)
        request = self.stays.start(flags=self.flags) if self.step == BEFORE_START else self.request
        receiver.receive()
        attempt = 2 if self.expected == MOVED else 1
        self.test.assertEqual(receiver.expect_request(request, self.flags).attempt, attempt)
        if self.step in (MID_REQUEST, REQUEST_ENDED):
            receiver.expect_chunk(request, b"ping")
        if self.step == REQUEST_ENDED:
            receiver.expect_end(request)
        receiver.finish(request, b"pong")
        self.test.assertEqual(self.stays.expect_response(request, FIN).attempt, attempt)

    def exchange(self, sender, receiver):
        request = sender.start(flags=FIN)
        receiver.expect_request(request, FIN)
        receiver.finish(request)
        sender.expect_response(request, FIN)


LOST_ENDS = ("sender_lost", "receiver_lost")


def lost_ends(cells):
    """How often the server has counted each."""
    ends = [expected[1] for _, _, _, expected in cells if expected not in (NOTHING, MOVED)]
    # A request that was queued when its sender died has ended too: there was nobody to tell.
    ends += ["sender_lost" for who, _, step, _ in cells if (who, step) == ("sender", QUEUED)]
    return {end: ends.count(end) for end in LOST_ENDS}


class Death(unittest.TestCase):

    def serve(self, *flags, **options):
        relayd = Relayd(*flags, **options)
        self.addCleanup(relayd.close)
        return relayd

    def label(self, cell):
        who, flags, step, _ = cell
        return self.subTest(who=who, idempotent=bool(flags), step=step)

    def check_all_gone(self, relayd, ends):
        counts = relayd.wait_until(**GAUGES)
        self.assertEqual(counts["requests_accepted"], counts["requests_ended"])
        self.assertEqual({end: counts[end] for end in ends}, ends)

    # One cell after the other, each with its own count of ends.

    def check_each(self, manner, mortal, connection_ends):
        relayd = self.serve()
        for cell in CELLS:
            before = relayd.wait_until(**GAUGES)
            with self.label(cell), contextlib.closing(Cell(self, cell, relayd.address, mortal)) as played:
                getattr(played.dies, manner)()
                relayd.wait_until(connections=1)
                played.check()
            counts = relayd.wait_until(**GAUGES)
            counts.subtract(before)
            with self.label(cell):
                self.assertEqual({end: counts[end] for end in LOST_ENDS}, lost_ends([cell]))
                # The one that died, and the one that stayed, when it closes at last.
                connections = [end for end in ("peer_closed", "peer_lost", "heartbeat") for _ in range(counts[end])]
                self.assertIn(connections, [sorted([end, "peer_closed"]) for end in connection_ends])
        self.check_all_gone(relayd, lost_ends(CELLS))

    def test_fin(self):
        self.check_each("fin", Mortal, ["peer_closed"])

    def test_rst(self):
        self.check_each("rst", Mortal, ["peer_lost"])

    def test_sigkill_of_a_process(self):
        self.check_each("sigkill", Process, ["peer_closed", "peer_lost"])

    def test_rst_of_a_sender_that_waits_half_closed(self):
        relayd = self.serve()
        with contextlib.closing(connected(relayd.address)) as line:
            receiver = Client(self, line, 1, uuid.uuid4().bytes)
            receiver.receive()
            sender = Mortal(self, relayd.address, receiver.channel)
            request = sender.start(flags=FIN)
            receiver.expect_request(request, FIN)
            sender.line.send(Type.GOAWAY)
            sender.fin()
            receiver.expect_quiet()  # and the end of the sender's input was read in a turn before that was known
            sender.rst()
            receiver.expect_reset(request, Code.CANCELLED)
            receiver.expect_quiet()
        self.check_all_gone(relayd, {"sender_lost": 1, "peer_lost": 1, "peer_closed": 1})

    # All cells at once: nothing is heard of those who die any more, and only the heartbeat tells.

    def check_black_hole(self, relayd, cells, fall_silent):
        with contextlib.ExitStack() as closing:
            began = time.monotonic()
            played = [closing.enter_context(contextlib.closing(cell)) for cell in cells()]
            self.assertEqual(relayd.metrics()["heartbeat"], 0)
            self.assertEqual(relayd.metrics()["connections"], 2 * len(CELLS))
            fall_silent()
            silent = time.monotonic()
            while (found := relayd.metrics()["heartbeat"]) < len(CELLS):
                self.assertTrue(found == 0 or time.monotonic() - began >= self.DEAD_SECONDS)
                self.assertLess(time.monotonic() - silent, 60)
                for cell in played:
                    cell.line.barrier()
            print(f"black hole: all found {time.monotonic() - silent:.2f} s after the last had fallen silent, "
                  f"of {self.DEAD_SECONDS} s", file=sys.stderr)
            for cell in played:
                with self.label(cell.cell):
                    cell.check()
        self.check_all_gone(relayd, {"heartbeat": len(CELLS), "peer_closed": len(CELLS), **lost_ends(CELLS)})

    HEARTBEAT = ("--heartbeat-interval", "1s", "--heartbeat-misses", "6")
    DEAD_SECONDS = 6

    def test_a_peer_that_stops(self):
        relayd = self.serve(*self.HEARTBEAT)
        self.check_black_hole(relayd, lambda: (Cell(self, cell, relayd.address, Mortal) for cell in CELLS),
                              lambda: None)

    def test_a_link_that_drops_everything(self):
        with Network(self) as network:
            with network.inside(network.SERVER):
                relayd = self.serve(*self.HEARTBEAT, listen=f"tcp://{network.ADDRESS}:0")

            def far(*arguments):
                with network.inside(network.PEER):
                    return Mortal(*arguments)

            def cells():
                for cell in CELLS:
                    with network.inside(network.SERVER):
                        yield Cell(self, cell, relayd.address, far)

            self.check_black_hole(relayd, cells, network.cut)


if __name__ == "__main__":
    unittest.main()

"""What the conformance tests stand on: a relayd of their own, connections that sort what they read by slot, and
clients with a verb for each frame. Every wait is bounded by a socket timeout, which is a failure and never a pause:
PING and its PONG tell that the server has dealt with all that came before.
"""

import collections
import os
import signal
import struct
import subprocess
import time
import unittest
import uuid

import relay_wire as wire
from relay_wire import FIN, NIL, REQUEST, RESPONSE, Code, Frame, Join, Receive, Reset, Start, StartPayload, Status, Type

FAILURE_SECONDS = 60


class RelaydDidNotStart(Exception):
    pass


class Relayd:
    """A relayd process that listens on a port of its own."""

    def __init__(self, *flags, listen="tcp://127.0.0.1:0"):
        self.process = subprocess.Popen([os.environ["RELAYD"], "--listen", listen, *flags],
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        word, _, self.address = self.process.stdout.readline().strip().partition(" ")
        if word != "ready":
            self.stop()
            raise RelaydDidNotStart(f"relayd {' '.join(flags)} said {word!r} instead of ready")

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def exit_code(self):
        return self.process.wait(FAILURE_SECONDS)

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class Line(wire.Connection):
    """A connection of a test. What is read waits in a queue for each slot until the test asks for it."""

    def __init__(self, address):
        super().__init__(address, FAILURE_SECONDS)
        self.frames = collections.defaultdict(collections.deque)
        self.last = None
        self.fails_at = 0

    def read_sorted(self):
        """Reads one frame into its slot's queue; answers PING. False at the end of the stream."""
        if time.monotonic() > self.fails_at:
            raise AssertionError(f"nothing but PING came; unread: {dict(self.frames)}")
        frame = self.read_frame()
        if frame is None:
            return False
        self.last = frame
        if frame.type == Type.PING:
            self.send(Type.PONG, payload=frame.payload)
        else:
            self.frames[frame.slot].append(frame)
        return True

    def read_until(self, here):
        self.fails_at = time.monotonic() + FAILURE_SECONDS
        while not here():
            if not self.read_sorted():
                raise AssertionError(f"the server closed the connection; unread: {dict(self.frames)}")

    def next(self, slot=0):
        self.read_until(lambda: self.frames[slot])
        return self.frames[slot].popleft()

    def barrier(self):
        """Returns when the server has dealt with everything that was sent on this connection before."""
        pong = Frame(Type.PONG, payload=os.urandom(8))
        self.send(Type.PING, payload=pong.payload)
        self.read_until(lambda: pong in self.frames[0])
        self.frames[0].remove(pong)

    def read_to_end(self):
        """Everything up to the end of the stream, unread frames first."""
        self.fails_at = time.monotonic() + FAILURE_SECONDS
        while self.read_sorted():
            pass
        return [frame for slot in sorted(self.frames) for frame in self.frames[slot]]


class Client:
    """A client on a slot."""

    def __init__(self, test, line, slot, channel, id=None, key=b""):
        self.test, self.line, self.slot, self.channel = test, line, slot, channel
        self.id = uuid.uuid4().bytes if id is None else id
        self.line.send(Type.JOIN, slot, payload=Join(client_id=self.id, channel_id=channel, key=key).encode())

    def send(self, type, id=NIL, payload=b"", flags=0):
        self.line.send(type, self.slot, id, payload, flags)

    # What a client says.

    def receive(self, wait_ms=None):
        self.send(Type.RECEIVE, payload=Receive(wait_ms=wait_ms).encode())

    def withdraw(self):
        self.send(Type.RECEIVE, payload=Receive(withdraw=True).encode())

    def start(self, request=None, body=b"", flags=0, start=Start(), **block):
        """Sends START REQUEST and returns the request's id."""
        request = request or uuid.uuid4().bytes
        start = start if isinstance(start, bytes) else start.encode()
        self.send(Type.START, request, StartPayload(start=start, body=body, **block).encode(), REQUEST | flags)
        return request

    def answer(self, request, body=b"", flags=0, start=Start(), **block):
        start = start if isinstance(start, bytes) else start.encode()
        self.send(Type.START, request, StartPayload(start=start, body=body, **block).encode(), RESPONSE | flags)

    def chunk(self, request, body, direction=REQUEST):
        self.send(Type.CHUNK, request, body, direction)

    def end(self, request, direction=REQUEST, payload=b""):
        self.send(Type.END, request, payload, direction)

    def window(self, request, total, direction):
        self.send(Type.WINDOW, request, struct.pack(">Q", total), direction)

    def reset(self, request, code=Code.OK, message="", requeue=False):
        status = Status(code=code, message=message) if code else None
        self.send(Type.RESET, request, Reset(status=status, requeue=requeue).encode())

    def leave(self):
        self.send(Type.LEAVE, self.id, Status().encode())

    def finish(self, request, body=b""):
        """The whole response in one frame."""
        self.answer(request, body, FIN)

    def sync(self):
        self.line.barrier()
        return self

    # What a client hears.

    def next(self):
        return self.line.next(self.slot)

    def expect(self, type, id=NIL, flags=0):
        frame = self.next()
        self.test.assertEqual((Type(frame.type).name, frame.flags, frame.id), (type.name, flags, id), frame)
        return frame.payload

    def expect_start(self, request, direction, flags=0):
        return StartPayload.decode(self.expect(Type.START, request, direction | flags))

    def expect_request(self, request, flags=0):
        return self.expect_start(request, REQUEST, flags)

    def expect_response(self, request, flags=0):
        return self.expect_start(request, RESPONSE, flags)

    def expect_chunk(self, request, body, direction=REQUEST):
        self.test.assertEqual(self.expect(Type.CHUNK, request, direction), body)

    def expect_end(self, request, direction=REQUEST):
        return self.expect(Type.END, request, direction)

    def expect_window(self, request, total, direction):
        self.test.assertEqual(wire.window_total(self.expect(Type.WINDOW, request, direction)), total)

    def expect_reset(self, request, code):
        status = Reset.decode(self.expect(Type.RESET, request)).status or Status()
        self.test.assertEqual(Code(status.code).name, code.name, status)
        return status

    def expect_leave(self, code):
        status = Status.decode(self.expect(Type.LEAVE, self.id))
        self.test.assertEqual(Code(status.code).name, code.name, status)

    def expect_nothing_came(self):
        self.test.assertEqual(Receive.decode(self.expect(Type.RECEIVE)), Receive())

    def expect_withdrawn(self):
        self.test.assertTrue(Receive.decode(self.expect(Type.RECEIVE)).withdraw)

    def expect_quiet(self):
        """Nothing more has come for the slot, up to what the server has dealt with by now."""
        self.line.barrier()
        self.test.assertEqual(list(self.line.frames[self.slot]), [])


class ConformanceTest(unittest.TestCase):
    """One relayd for each class, with the class's FLAGS; clients on connections of their own unless a test says so."""

    FLAGS = ()

    @classmethod
    def setUpClass(cls):
        cls.relayd = Relayd(*cls.FLAGS)
        cls.addClassCleanup(cls.relayd.stop)

    def setUp(self):
        self.channel = uuid.uuid4().bytes

    def connect(self):
        """A connection, before its preface."""
        line = Line(self.relayd.address)
        self.addCleanup(line.close)
        return line

    def greeted(self):
        line = self.connect()
        line.greet(agent="conformance")
        line.await_welcome()
        return line

    def client(self, line=None, slot=1, channel=None, **join):
        return Client(self, line or self.greeted(), slot, channel or self.channel, **join)

    def sender(self, **join):
        return self.client(**join).sync()

    def receiver(self, wait_ms=None, **join):
        """A client that the server knows to be waiting."""
        client = self.client(**join)
        client.receive(wait_ms)
        return client.sync()

    def assigned(self, flags=0, body=b"", **block):
        """A sender and a receiver with a request that has been handed out."""
        sender, receiver = self.sender(), self.receiver()
        request = sender.start(flags=flags, body=body, **block)
        receiver.expect_request(request, flags)
        return sender, receiver, request

    def expect_goaway(self, line, code=Code.INVALID_ARGUMENT):
        """GOAWAY with the rule in a few words as the last frame, then the end of the stream."""
        line.read_to_end()
        last = line.last
        self.assertIsNotNone(last, "the connection was closed without a word")
        self.assertEqual((Type(last.type).name, last.flags, last.slot, last.id), ("GOAWAY", 0, 0, NIL))
        status = Status.decode(last.payload)
        self.assertEqual(Code(status.code).name, code.name, status)
        self.assertIn(len(status.message.encode()), range(1, 101), status)

    def expect_closed(self, line):
        """The end of the stream; nothing but farewells that say OK before it."""
        for frame in line.read_to_end():
            self.assertEqual((frame.type, Status.decode(frame.payload).code), (Type.GOAWAY, Code.OK), frame)

    def check_exchange(self, sender, receiver, body=b"ping"):
        """A whole exchange in one frame each way."""
        receiver.receive()
        request = sender.start(body=body, flags=FIN)
        self.assertEqual(receiver.expect_request(request, FIN).body, body)
        receiver.finish(request, body.upper())
        self.assertEqual(sender.expect_response(request, FIN).body, body.upper())


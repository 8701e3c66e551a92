#!/usr/bin/env python3
"""A sender and a receiver over relay_wire.py, which share nothing with the project's own client.

    peer.py send --server tcp://HOST:PORT CHANNEL [--method M] < body > response
    peer.py receive --server tcp://HOST:PORT CHANNEL [--count N] [--echo | --upper]

Both stream in constant memory: neither holds more than a window of either body. A receiver without --echo or
--upper writes the request to stdout and answers with an empty body. Exit code 1 and a line on stderr where the
exchange ended in any other way than OK.
"""

import argparse
import collections
import os
import select
import sys
import uuid

import relay_wire as wire
from relay_wire import Code, Type

SLOT = 1
STDIN, STDOUT = 0, 1


class Ended(Exception):
    """The exchange, or the stay on the channel, ended otherwise than by an END that says OK."""


class Peer:
    """One client on a connection of its own."""

    def __init__(self, options):
        self.connection = wire.Connection(options.server)
        self.connection.greet(agent="peer.py/1")
        self.send(Type.JOIN, wire.NIL, wire.Join(
            client_id=uuid.uuid4().bytes, channel_id=wire.channel_id(options.channel),
            channel_name=options.channel).encode())
        self.connection.await_welcome()
        self.connection.keep_alive()

    def send(self, type, id, payload=b"", flags=0):
        self.connection.send(type, SLOT, id, payload, flags)

    def frames(self):
        """The frames for the slot that are here already."""
        while (frame := self.connection.take_frame()) is not None:
            if frame.type == Type.PING:
                self.connection.send(Type.PONG, payload=frame.payload)
            elif frame.type == Type.LEAVE:
                raise Ended(f"the server ended the stay: {wire.Status.decode(frame.payload)}")
            elif frame.type == Type.GOAWAY:
                print(f"peer: GOAWAY {wire.Status.decode(frame.payload)}", file=sys.stderr)
            elif frame.slot == SLOT:
                yield frame

    def wait(self, *others):
        """Waits for the socket or one of the other descriptors; returns those of the others that are ready."""
        silence = self.connection.socket.gettimeout()
        ready, _, _ = select.select([self.connection.socket, *others], [], [], None if others else silence)
        if not ready:
            raise Ended("the server is silent")
        if self.connection.socket in ready and not self.connection.fill():
            raise Ended("the server closed the connection")
        return [other for other in others if other in ready]


def check_end(payload):
    status = wire.End.decode(payload).status
    if status is not None and status.code != Code.OK:
        raise Ended(f"END: {status}")


def write_all(data):
    while data:
        data = data[os.write(STDOUT, data):]


def send(options):
    peer = Peer(options)
    request = uuid.uuid4().bytes
    writer = wire.Writer(peer.connection, SLOT, request, wire.REQUEST)
    reader = wire.Reader(peer.connection, SLOT, request, wire.RESPONSE)
    writer.start(wire.Start(method=options.method))
    stdin_open = True
    while True:
        for frame in peer.frames():
            if frame.id != request:
                continue
            if frame.type == Type.WINDOW:
                writer.on_window(frame.payload)
            elif frame.type == Type.RESET:
                raise Ended(f"RESET: {wire.Reset.decode(frame.payload).status}")
            elif frame.type == Type.START:
                body = wire.StartPayload.decode(frame.payload).body
                write_all(body)
                reader.took(wire.body_cost(body))
            elif frame.type == Type.CHUNK:
                write_all(frame.payload)
                reader.took(wire.FRAME_COST + len(frame.payload))
            elif frame.type == Type.END:
                check_end(frame.payload)
                return
            if frame.flags & wire.FIN:
                return
        if peer.wait(*([STDIN] if stdin_open and writer.room() else [])):
            body = os.read(STDIN, writer.room())
            if body:
                writer.chunk(body)
            else:
                stdin_open = False
                writer.end()


class Work:
    """One request in a receiver's hands: what has come and does not fit the response's credit yet, and the credit."""

    def __init__(self, peer, frame, options):
        self.id = frame.id
        self.options = options
        self.writer = wire.Writer(peer.connection, SLOT, frame.id, wire.RESPONSE)
        self.reader = wire.Reader(peer.connection, SLOT, frame.id, wire.REQUEST)
        self.held = collections.deque()
        self.request_ended = False
        self.writer.start(wire.Start())
        body = wire.StartPayload.decode(frame.payload).body
        self.take(body, wire.body_cost(body), frame.flags)

    def take(self, body, cost, flags):
        self.held.append((body, cost))
        self.request_ended = bool(flags & wire.FIN)

    def advance(self):
        """Hands on what there is credit for."""
        while self.held:
            body, cost = self.held.popleft()
            rest = self.consume(body)
            if rest:
                self.held.appendleft((rest, cost))
                return
            self.reader.took(cost)

    def consume(self, body):
        """Returns what there was no credit for."""
        if not (self.options.echo or self.options.upper):
            write_all(body)
            return b""
        while body and (room := self.writer.room()):
            part, body = body[:room], body[room:]
            self.writer.chunk(part.upper() if self.options.upper else part)
        return body

    def done(self):
        return self.request_ended and not self.held


def receive(options):
    peer = Peer(options)
    peer.send(Type.RECEIVE, wire.NIL, wire.Receive().encode())
    work, answered = None, 0
    while True:
        for frame in peer.frames():
            if frame.type == Type.START:
                work = Work(peer, frame, options)
            elif work is None or frame.id != work.id:
                continue
            elif frame.type == Type.WINDOW:
                work.writer.on_window(frame.payload)
            elif frame.type == Type.CHUNK:
                work.take(frame.payload, wire.FRAME_COST + len(frame.payload), frame.flags)
            elif frame.type == Type.END:
                work.request_ended = True
            elif frame.type == Type.RESET:
                print(f"peer: RESET {wire.Reset.decode(frame.payload).status}", file=sys.stderr)
                work = None
                peer.send(Type.RECEIVE, wire.NIL, wire.Receive().encode())
                continue
            work.advance()
            if work.done():
                answered += 1
                more = answered != options.count
                work.writer.end(flags=wire.RECEIVE if more else 0)
                work = None
                if not more:
                    return leave(peer)
        peer.wait()


def leave(peer):
    """GOAWAY, and to the end of the stream, so that nothing that was sent is cut off."""
    peer.connection.send(Type.GOAWAY, payload=wire.Status().encode())
    while peer.connection.read_frame() is not None:
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    for name, run in (("send", send), ("receive", receive)):
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        command.add_argument("--server", required=True)
        command.add_argument("channel")
        if name == "send":
            command.add_argument("--method", default="")
        else:
            command.add_argument("--count", type=int, default=0, help="stop after N requests; 0: never")
            command.add_argument("--echo", action="store_true")
            command.add_argument("--upper", action="store_true")
    options = parser.parse_args()
    try:
        options.run(options)
    except (Ended, OSError, wire.WireError) as error:
        sys.exit(f"peer: {error}")


if __name__ == "__main__":
    main()

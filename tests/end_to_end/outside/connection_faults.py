"""Faults of a connection: each draws GOAWAY with the rule as the connection's last frame, then the end of the
stream, while everybody else's exchanges go on. What is no fault, and only looks like one, stands at the end.
"""

import os
import random
import struct
import uuid

from harness import ConformanceTest
from relay_wire import (FIN, HEADER, IDEMPOTENT, NIL, PREFACE, RECEIVE, REQUEST, REQUIRE_RECEIVER, RESPONSE, Code,
                        Frame, Hello, Join, Receive, Reset, StartPayload, Status, Type, channel_id)

ID = uuid.UUID("8d3c1f0e-5a77-4b6e-9c55-0a1b2c3d4e5f").bytes
CHANNEL = uuid.UUID("1f0e8d3c-5a77-4b6e-9c55-0a1b2c3d4e5f").bytes
STREAM_TYPES = (Type.START, Type.CHUNK, Type.END, Type.WINDOW)
ALL_FLAGS = (REQUEST, RESPONSE, FIN, IDEMPOTENT, REQUIRE_RECEIVER, RECEIVE, 0x40, 0x80)
DEFAULT_MAX_PAYLOAD_BYTES = 128 * 1024

# A frame of each type with nothing wrong in it.
SOUND = {
    Type.HELLO: Frame(Type.HELLO, payload=Hello(version=1).encode()),
    Type.JOIN: Frame(Type.JOIN, 0, 1, NIL, Join(client_id=ID, channel_id=CHANNEL).encode()),
    Type.LEAVE: Frame(Type.LEAVE, 0, 1, ID),
    Type.RECEIVE: Frame(Type.RECEIVE, 0, 1),
    Type.START: Frame(Type.START, REQUEST, 1, ID, StartPayload().encode()),
    Type.CHUNK: Frame(Type.CHUNK, REQUEST, 1, ID, b"body"),
    Type.END: Frame(Type.END, REQUEST, 1, ID),
    Type.WINDOW: Frame(Type.WINDOW, REQUEST, 1, ID, struct.pack(">Q", 1)),
    Type.RESET: Frame(Type.RESET, 0, 1, ID, Reset().encode()),
    Type.PING: Frame(Type.PING, payload=b"8 bytes!"),
    Type.PONG: Frame(Type.PONG, payload=b"8 bytes!"),
    Type.GOAWAY: Frame(Type.GOAWAY, payload=Status().encode()),
}


def flags_belong(type, flags):
    if type not in STREAM_TYPES:
        return flags == 0
    direction, extra = flags & (REQUEST | RESPONSE), flags & ~(REQUEST | RESPONSE)
    if direction not in (REQUEST, RESPONSE):
        return False
    allowed = {Type.START: FIN, Type.CHUNK: FIN}.get(type, 0)
    if type == Type.START and direction == REQUEST:
        allowed |= IDEMPOTENT | REQUIRE_RECEIVER
    if direction == RESPONSE and (type == Type.END or flags & FIN):
        allowed |= RECEIVE
    return extra & ~allowed == 0


class ConnectionFaultTest(ConformanceTest):
    """Each case is a name and the bytes that are the fault; a pair on other connections works on after each."""

    def setUp(self):
        super().setUp()
        self.bystanders = self.sender(), self.client()
        self.check_exchange(*self.bystanders)

    def check_faults(self, cases, prepare, code=Code.INVALID_ARGUMENT):
        for name, fault in cases:
            with self.subTest(name):
                line = prepare()
                line.send_bytes(fault if isinstance(fault, bytes) else fault.encode())
                self.expect_goaway(line, code)
                line.close()
                self.check_exchange(*self.bystanders)

    def opened(self):
        """A connection that has said its preface and nothing else."""
        line = self.connect()
        line.send_bytes(PREFACE)
        return line

    def joined(self):
        return self.sender(channel=uuid.uuid4().bytes, id=ID).line

    def sending(self):
        """A connection with the live request ID on slot 1."""
        client = self.sender(channel=uuid.uuid4().bytes)
        client.start(ID)
        return client.line

    def working(self):
        """A connection that has been handed the request ID on slot 1."""
        channel = uuid.uuid4().bytes
        sender, receiver = self.sender(channel=channel), self.receiver(channel=channel)
        sender.start(ID)
        receiver.expect_request(ID)
        return receiver.line


class Preface(ConnectionFaultTest):

    def test_wrong_preface(self):
        noise = random.Random(20).randbytes(4096)
        client_hello = bytes.fromhex("16030100c5010000c10303") + noise[:32] + bytes(154)
        self.check_faults((
            ("another version", b"RELAY/2\n"),
            ("lower case", b"relay/1\n"),
            ("last byte wrong", b"RELAY/1\r\n"),
            ("HTTP GET", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
            ("TLS ClientHello", client_hello),
            ("noise", noise),
            ("zeros", bytes(64)),
            ("no preface", SOUND[Type.HELLO].encode()),
            ("much behind it", b"GET / HTTP/1.1\r\n" + bytes(200_000)),
        ), self.connect)

    def test_anything_before_hello(self):
        self.check_faults(((type.name, frame) for type, frame in SOUND.items() if type != Type.HELLO), self.opened)

    def test_first_hello_out_of_shape(self):
        hello = SOUND[Type.HELLO]
        self.check_faults((
            ("slot", hello._replace(slot=1)),
            ("id", hello._replace(id=ID)),
            *((f"flags {flag:#x}", hello._replace(flags=flag)) for flag in ALL_FLAGS),
            ("cut varint", hello._replace(payload=b"\x08\xff")),
            ("field longer than the rest", hello._replace(payload=b"\x08\x01\x12\x7fab")),
            ("group", hello._replace(payload=b"\x08\x01\x0b")),
            ("agent not UTF-8", hello._replace(payload=b"\x08\x01\x12\x02\xff\xfe")),
            ("over the limit", HEADER.pack(DEFAULT_MAX_PAYLOAD_BYTES + 1, Type.HELLO, 0, 0, NIL)),
        ), self.opened)

    def test_other_versions_are_unimplemented(self):
        self.check_faults(((f"version {version}", Frame(Type.HELLO, payload=Hello(version=version).encode()))
                           for version in (0, 2, 2**32 - 1)), self.opened, Code.UNIMPLEMENTED)

    def test_second_hello(self):
        self.check_faults((("second HELLO", SOUND[Type.HELLO]),), self.greeted)


class Header(ConnectionFaultTest):

    def test_flags_where_none_belong(self):
        for type, frame in SOUND.items():
            flags = range(64) if type in STREAM_TYPES else ALL_FLAGS
            self.check_faults(((f"{type.name} flags {bits:#04x}", frame._replace(flags=bits))
                               for bits in flags if not flags_belong(type, bits)), self.greeted)

    def test_unknown_flag_bits(self):
        self.check_faults(((f"{type.name} with {bit:#x}", frame._replace(flags=frame.flags | bit))
                           for type, frame in SOUND.items() for bit in (0x40, 0x80)), self.greeted)

    def test_slot_where_none_belongs(self):
        for type in (Type.PING, Type.PONG, Type.GOAWAY):
            self.check_faults(((f"{type.name} slot {slot}", SOUND[type]._replace(slot=slot))
                               for slot in (1, 65535)), self.greeted)

    def test_no_slot_where_one_belongs(self):
        self.check_faults(((type.name, frame._replace(slot=0)) for type, frame in SOUND.items() if frame.slot),
                          self.greeted)

    def test_id_where_none_belongs(self):
        for type in (Type.JOIN, Type.RECEIVE, Type.PING, Type.PONG, Type.GOAWAY):
            self.check_faults(((f"{type.name} id {id.hex()}", SOUND[type]._replace(id=id))
                               for id in (ID, bytes(15) + b"\x01", b"\x80" + bytes(15))), self.greeted)

    def test_no_id_where_one_belongs(self):
        self.check_faults(((type.name, SOUND[type]._replace(id=NIL)) for type in STREAM_TYPES), self.joined)

    def test_length_over_the_limit_is_refused_on_the_header_alone(self):
        self.check_faults(((f"{type.name} of {size}", HEADER.pack(size, type, frame.flags, frame.slot, frame.id))
                           for type, frame in SOUND.items()
                           for size in (DEFAULT_MAX_PAYLOAD_BYTES + 1, 2**32 - 1)), self.greeted)

    def test_welcome_is_the_servers_to_say(self):
        self.check_faults((("WELCOME", Frame(Type.WELCOME)),), self.greeted)


class SmallPayloadLimit(ConnectionFaultTest):
    FLAGS = ("--max-payload-bytes", "65536")

    def test_at_the_limit_and_one_over(self):
        line = self.greeted()
        line.send(Type.CHUNK, 1, ID, bytes(65536), REQUEST)
        line.barrier()
        self.check_faults((("over", HEADER.pack(65537, Type.CHUNK, REQUEST, 1, ID)),), self.greeted)


class Payload(ConnectionFaultTest):

    def test_control_payload_that_does_not_parse(self):
        garbage = {"cut varint": b"\x08\xff", "field longer than the rest": b"\x0a\x7fab", "field 0": b"\x00\x01"}
        for type in (Type.RECEIVE, Type.LEAVE, Type.GOAWAY):
            self.check_faults(((f"{type.name} {name}", SOUND[type]._replace(payload=payload))
                               for name, payload in garbage.items()), self.joined)
        self.check_faults(((f"JOIN {name}", SOUND[Type.JOIN]._replace(payload=payload))
                           for name, payload in garbage.items()), self.greeted)
        self.check_faults(((f"RESET {name}", SOUND[Type.RESET]._replace(payload=payload))
                           for name, payload in garbage.items()), self.sending)

    def test_window_not_of_8_bytes(self):
        window = SOUND[Type.WINDOW]._replace(flags=RESPONSE)
        self.check_faults(((f"{size} bytes", window._replace(payload=bytes(size))) for size in (0, 4, 7, 9)),
                          self.sending)

    def test_ping_not_of_8_bytes(self):
        self.check_faults(((f"{size} bytes", Frame(Type.PING, payload=bytes(size))) for size in (0, 7, 9)),
                          self.greeted)

    def test_join_with_ids_not_of_16_bytes(self):
        sound = {"client_id": ID, "channel_id": CHANNEL}
        self.check_faults(((f"{field} of {size}", Frame(Type.JOIN, 0, 1, NIL, Join(
            **sound | {field: b"\x01" * size}).encode())) for field in sound for size in (0, 15, 17)), self.greeted)

    def test_join_of_a_bound_slot(self):
        self.check_faults((("bound slot", SOUND[Type.JOIN]),), self.joined)

    def test_name_that_does_not_give_its_channel_id(self):
        def join(name, id):
            return Frame(Type.JOIN, 0, 1, NIL, Join(client_id=ID, channel_id=id, channel_name=name).encode())

        self.check_faults((
            ("a name", join("thumbnails", CHANNEL)),
            ("another name's id", join("thumbnails", channel_id("thumbnail"))),
            ("a UUID as a name", join(str(uuid.UUID(bytes=ID)), CHANNEL)),
        ), self.greeted)

    def test_start_out_of_shape(self):
        def start(payload):
            return SOUND[Type.START]._replace(payload=payload)

        block = StartPayload().encode()
        self.check_faults((
            ("empty", start(b"")),
            ("one byte short of its block", start(block[:39])),
            ("announces a Start and has none", start(StartPayload(start=b"\x0a\x01m").encode()[:40])),
            ("one byte short of its Start", start(StartPayload(start=b"\x0a\x01m").encode()[:-1])),
        ), self.joined)

    def test_server_fields_of_a_start_not_zero(self):
        for direction, prepare in ((REQUEST, self.joined), (RESPONSE, self.working)):
            cases = []
            for place in (*range(16), *range(20, 26)):
                payload = bytearray(StartPayload().encode())
                payload[place] = 1
                cases.append((f"byte {place} flags {direction}", SOUND[Type.START]._replace(
                    flags=direction, payload=bytes(payload))))
            self.check_faults(cases, prepare)

    def test_response_start_shorter_than_its_block(self):
        self.check_faults((("one byte short", Frame(Type.START, RESPONSE, 1, ID, bytes(39))),), self.working)


class AfterTheFault(ConformanceTest):

    def test_clients_of_the_connection_leave(self):
        sender, receiver, request = self.assigned()
        sender.line.send(Type.PING, payload=b"short")
        self.expect_goaway(sender.line)
        receiver.expect_reset(request, Code.CANCELLED)

    def test_frames_behind_the_fault_do_nothing(self):
        receiver = self.receiver()
        sender = self.sender()
        sender.line.send_bytes(
            Frame(Type.PING).encode() + SOUND[Type.START]._replace(id=uuid.uuid4().bytes).encode())
        self.expect_goaway(sender.line)
        receiver.expect_quiet()


class NoFault(ConformanceTest):

    def test_every_flag_that_belongs(self):
        line = self.greeted()
        for type in STREAM_TYPES:
            for bits in range(64):
                if flags_belong(type, bits):
                    line.send_bytes(SOUND[type]._replace(id=uuid.uuid4().bytes, flags=bits).encode())
        line.barrier()
        self.assertFalse(line.frames[0])

    def test_unknown_types_are_dropped(self):
        client = self.sender()
        for type in (0, 17, 100, 255):
            for payload in (b"", b"something", bytes(DEFAULT_MAX_PAYLOAD_BYTES)):
                client.line.send(type, 0, NIL, payload)
        client.sync().expect_quiet()
        self.check_exchange(client, self.client())

    def test_payload_of_exactly_the_limit(self):
        sender, receiver, request = self.assigned()
        body = os.urandom(DEFAULT_MAX_PAYLOAD_BYTES)
        sender.chunk(request, body)
        receiver.expect_chunk(request, body)

    def test_bytes_one_at_a_time(self):
        receiver = self.receiver()
        line = self.connect()
        request, client_id = uuid.uuid4().bytes, uuid.uuid4().bytes
        for byte in PREFACE + b"".join(frame.encode() for frame in (
                SOUND[Type.HELLO],
                Frame(Type.JOIN, 0, 1, NIL, Join(client_id=client_id, channel_id=self.channel).encode()),
                SOUND[Type.START]._replace(id=request, payload=StartPayload(body=b"first").encode()),
                SOUND[Type.CHUNK]._replace(id=request, payload=b"second"),
                SOUND[Type.END]._replace(id=request))):
            line.send_bytes(bytes([byte]))
        self.assertEqual(receiver.expect_request(request).body, b"first")
        receiver.expect_chunk(request, b"second")
        receiver.expect_end(request)

    def test_everything_in_one_segment_and_before_welcome(self):
        line = self.connect()
        request = uuid.uuid4().bytes
        line.send_bytes(PREFACE + b"".join(frame.encode() for frame in (
            SOUND[Type.HELLO],
            Frame(Type.JOIN, 0, 1, NIL, Join(client_id=ID, channel_id=self.channel).encode()),
            Frame(Type.JOIN, 0, 65535, NIL, Join(client_id=CHANNEL, channel_id=self.channel).encode()),
            Frame(Type.RECEIVE, 0, 65535, NIL, Receive().encode()),
            SOUND[Type.START]._replace(id=request, flags=REQUEST | FIN))))
        line.await_welcome()
        frame = line.next(65535)
        self.assertEqual((frame.type, frame.flags, frame.id), (Type.START, REQUEST | FIN, request))
        self.assertEqual(StartPayload.decode(frame.payload).peer, ID)

    def test_join_with_a_name_that_gives_its_id(self):
        for name in ("thumbnails", "", "Größe", str(uuid.UUID(bytes=CHANNEL))):
            line = self.greeted()
            id = channel_id(name) if name else self.channel
            line.send(Type.JOIN, 1, payload=Join(client_id=ID, channel_id=id, channel_name=name).encode())
            line.barrier()
            self.assertFalse(line.frames[0] + line.frames[1])

    def test_kept_bytes_of_a_start_are_not_looked_at(self):
        receiver, sender = self.receiver(), self.sender()
        receiver.expect_request(sender.start(kept=b"whatever"))

    def test_start_and_end_are_not_parsed_but_handed_on(self):
        sender, receiver = self.sender(), self.receiver()
        request = sender.start(start=b"\xff\xff")
        self.assertEqual(receiver.expect_request(request).start, b"\xff\xff")
        sender.end(request, payload=b"\xff")
        self.assertEqual(receiver.expect_end(request), b"\xff")

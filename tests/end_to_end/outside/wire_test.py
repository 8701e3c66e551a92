"""The codec of relay_wire.py against literal bytes: what it says must not depend on what it reads."""

import unittest

import relay_wire as wire
from relay_wire import Type

ID = bytes(range(16))


class Frames(unittest.TestCase):

    def test_header_is_big_endian_length_type_flags_slot_id(self):
        frame = wire.Frame(Type.CHUNK, wire.REQUEST | wire.FIN, 0x0102, ID, b"abc")
        self.assertEqual(frame.encode(), b"\x00\x00\x00\x03" b"\x07" b"\x05" b"\x01\x02" + ID + b"abc")

    def test_type_numbers(self):
        self.assertEqual([Type.HELLO, Type.RECEIVE, Type.START, Type.WINDOW, Type.GOAWAY], [1, 5, 6, 9, 13])

    def test_start_block(self):
        payload = wire.StartPayload(ID, 0x01020304, 0x05060708, 0x090A, 0x0B0C0D0E, b"reserved", b"ST", b"body")
        data = (ID + b"\x01\x02\x03\x04" b"\x05\x06\x07\x08" b"\x09\x0a" b"\x00\x02" b"\x0b\x0c\x0d\x0e"
                b"reserved" b"ST" b"body")
        self.assertEqual(payload.encode(), data)
        self.assertEqual(wire.StartPayload.decode(data), payload)

    def test_start_payload_cut_short(self):
        for data in (bytes(39), bytes(27) + b"\x01" + bytes(12)):
            with self.assertRaises(wire.WireError):
                wire.StartPayload.decode(data)


class Messages(unittest.TestCase):
    VECTORS = (
        (wire.Hello(version=1, agent="a"), b"\x08\x01" b"\x12\x01a"),
        (wire.Hello(observer=True), b"\x20\x01"),
        (wire.Receive(), b""),
        (wire.Receive(wait_ms=0), b"\x08\x00"),
        (wire.Receive(wait_ms=300), b"\x08\xac\x02"),
        (wire.Receive(withdraw=True), b"\x10\x01"),
        (wire.Start(method="m", metadata=[wire.Field(key="k", value=b"v"), wire.Field(key="k")]),
         b"\x0a\x01m" b"\x1a\x06" b"\x0a\x01k" b"\x12\x01v" b"\x1a\x03" b"\x0a\x01k"),
        (wire.Status(code=4, message="late", end="deadline", may_have_run=True, retry_after_ms=1),
         b"\x08\x04" b"\x12\x04late" b"\x1a\x08deadline" b"\x20\x01" b"\x28\x01"),
        (wire.End(status=wire.Status()), b"\x0a\x00"),
        (wire.Reset(status=wire.Status(code=14), requeue=True), b"\x0a\x02\x08\x0e" b"\x10\x01"),
        (wire.Welcome(max_payload_bytes=131072), b"\x18\x80\x80\x08"),
    )

    def test_vectors_both_ways(self):
        for message, data in self.VECTORS:
            with self.subTest(data=data):
                self.assertEqual(message.encode(), data)
                self.assertEqual(type(message).decode(data), message)

    def test_absent_wait_is_not_a_wait_of_zero(self):
        self.assertIsNone(wire.Receive.decode(b"").wait_ms)
        self.assertEqual(wire.Receive.decode(b"\x08\x00").wait_ms, 0)

    def test_unknown_fields_are_passed_over(self):
        data = b"\xf8\x07\x05" b"\xf2\x07\x02xx" b"\xfd\x07abcd" b"\xf9\x07abcdefgh" b"\x10\x01"
        self.assertEqual(wire.Receive.decode(data), wire.Receive(withdraw=True))

    def test_what_does_not_parse(self):
        for data in (b"\xff", b"\x08", b"\x12\x05ab", b"\x0b", b"\x0a\x01a", b"\x80" * 11):
            with self.subTest(data=data), self.assertRaises(wire.WireError):
                wire.Hello.decode(data)


class Channels(unittest.TestCase):

    def test_name_is_uuid5_under_the_channel_namespace(self):
        self.assertEqual(str(wire.CHANNEL_NAMESPACE), str(wire.uuid.uuid5(
            wire.uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8"), "relay:channel")))
        self.assertEqual(wire.channel_id("thumbnails")[6] >> 4, 5)

    def test_uuid_is_taken_as_it_is(self):
        self.assertEqual(wire.channel_id("00010203-0405-0607-0809-0A0B0C0D0E0F"), ID)


class FakeConnection:
    def __init__(self):
        self.limits = wire.Welcome(initial_window_bytes=1000, max_payload_bytes=600)
        self.sent = []

    def send(self, *frame):
        self.sent.append(wire.Frame(frame[0], frame[4] if len(frame) > 4 else 0, *frame[1:4]))


class Credit(unittest.TestCase):

    def test_writer_stays_within_window_and_payload(self):
        writer = wire.Writer(FakeConnection(), 1, ID, wire.REQUEST)
        self.assertEqual(writer.room(), 600)
        writer.chunk(bytes(600))
        self.assertEqual(writer.room(), 1000 - 624 - 24)
        writer.chunk(bytes(352))
        self.assertEqual((writer.cost, writer.room()), (1000, 0))
        writer.on_window((1025).to_bytes(8, "big"))
        writer.on_window((1).to_bytes(8, "big"))
        self.assertEqual(writer.room(), 1)

    def test_reader_gives_credit_back_in_half_windows(self):
        connection = FakeConnection()
        reader = wire.Reader(connection, 1, ID, wire.REQUEST)
        reader.took(499)
        self.assertEqual(connection.sent, [])
        reader.took(1)
        self.assertEqual(connection.sent,
                         [wire.Frame(Type.WINDOW, wire.REQUEST, 1, ID, (1500).to_bytes(8, "big"))])


if __name__ == "__main__":
    unittest.main()

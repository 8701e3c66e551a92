"""The relay wire protocol in the Python standard library: messages, frames, a blocking connection, credit.

Written from the protocol's page alone, so that it shows what the page leaves out. It shares nothing with the
project's C++. `peer.py` is the program on top of it; the conformance tests use its lower half to say wrong things.
"""

import enum
import socket
import struct
import threading
import time
import uuid
from typing import NamedTuple

PREFACE = b"RELAY/1\n"
NIL = bytes(16)
HEADER = struct.Struct(">IBBH16s")
BLOCK = struct.Struct(">16sIIHHI8s")
MIRROR_BLOCK = struct.Struct(">QQIB3s16s16s")
FRAME_COST = 24  # what a frame that carries body costs, on top of the body
CHANNEL_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "relay:channel")

# What a client may count on before WELCOME has come.
SMALLEST_PAYLOAD_BYTES = 64 * 1024
SMALLEST_WINDOW_BYTES = 64 * 1024

Type = enum.IntEnum(
    "Type",
    "HELLO WELCOME JOIN LEAVE RECEIVE START CHUNK END WINDOW RESET PING PONG GOAWAY EXTEND OBSERVE MIRROR", start=1)

REQUEST, RESPONSE, FIN, IDEMPOTENT, REQUIRE_RECEIVER, RECEIVE = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20

Code = enum.IntEnum(
    "Code",
    "OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED "
    "RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS "
    "UNAUTHENTICATED", start=0)


class WireError(Exception):
    """The other side said something that the protocol does not allow."""


# ---- Messages: as much of protobuf as the protocol uses ----

UINT, OPTIONAL_UINT, BOOL, STRING, BYTES = "uint", "optional uint", "bool", "string", "bytes"
DEFAULTS = {UINT: 0, OPTIONAL_UINT: None, BOOL: False, STRING: "", BYTES: b""}


def encode_varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode_varint(data, at):
    """Returns the value and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise WireError("varint cut short")
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value & (1 << 64) - 1, at
    raise WireError("varint of more than ten bytes")


class Message:
    """A message whose FIELDS map a name to (number, kind); a kind is one above, a Message, or [Message]."""

    FIELDS = {}

    def __init__(self, **values):
        for name, (_, kind) in self.FIELDS.items():
            default = [] if isinstance(kind, list) else DEFAULTS.get(kind) if isinstance(kind, str) else None
            setattr(self, name, values.pop(name, default))
        if values:
            raise TypeError(f"{type(self).__name__} has no field {', '.join(values)}")

    def encode(self):
        out = bytearray()
        for name, (number, kind) in self.FIELDS.items():
            value = getattr(self, name)
            if isinstance(kind, list):
                for item in value:
                    out += _delimited(number, item.encode())
            elif value is None or (kind in DEFAULTS and kind != OPTIONAL_UINT and not value):
                continue
            elif kind in (UINT, OPTIONAL_UINT, BOOL):
                out += encode_varint(number << 3) + encode_varint(int(value))
            else:
                out += _delimited(number, value if kind == BYTES else value.encode())
        return bytes(out)

    @classmethod
    def decode(cls, data):
        message = cls()
        names = {number: (name, kind) for name, (number, kind) in cls.FIELDS.items()}
        for number, wire_type, value in _wire_fields(bytes(data)):
            if number not in names:
                continue
            name, kind = names[number]
            if wire_type != (0 if kind in (UINT, OPTIONAL_UINT, BOOL) else 2):
                raise WireError(f"{cls.__name__}.{name} has wire type {wire_type}")
            if kind == BOOL:
                value = bool(value)
            elif kind == STRING:
                value = value.decode("utf-8")
            elif isinstance(kind, list):
                value = getattr(message, name) + [kind[0].decode(value)]
            elif not isinstance(kind, str):
                value = kind.decode(value)
            setattr(message, name, value)
        return message

    def __eq__(self, other):
        return type(self) is type(other) and vars(self) == vars(other)

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items() if value)})"


def _delimited(number, data):
    return encode_varint(number << 3 | 2) + encode_varint(len(data)) + data


def _wire_fields(data):
    at = 0
    while at < len(data):
        tag, at = decode_varint(data, at)
        wire_type = tag & 7
        if wire_type == 0:
            value, at = decode_varint(data, at)
        elif wire_type in (1, 2, 5):
            size, at = decode_varint(data, at) if wire_type == 2 else (8 if wire_type == 1 else 4, at)
            value, at = data[at:at + size], at + size
            if at > len(data):
                raise WireError("field cut short")
        else:
            raise WireError(f"wire type {wire_type}")
        yield tag >> 3, wire_type, value


def _message(name, **fields):
    return type(name, (Message,), {"FIELDS": fields})


Hello = _message("Hello", version=(1, UINT), agent=(2, STRING), token=(3, STRING), observer=(4, BOOL))
Welcome = _message(
    "Welcome", server_id=(1, BYTES), agent=(2, STRING), max_payload_bytes=(3, UINT), initial_window_bytes=(4, UINT),
    max_window_bytes=(5, UINT), max_clients_per_connection=(6, UINT), max_start_bytes=(7, UINT),
    heartbeat_interval_ms=(8, UINT), heartbeat_misses=(9, UINT), max_attempts=(10, UINT))
Join = _message("Join", client_id=(1, BYTES), channel_id=(2, BYTES), channel_name=(3, STRING), key=(4, BYTES))
Receive = _message("Receive", wait_ms=(1, OPTIONAL_UINT), withdraw=(2, BOOL))
Field = _message("Field", key=(1, STRING), value=(2, BYTES))
Start = _message("Start", method=(1, STRING), content_type=(2, STRING), metadata=(3, [Field]))
Status = _message("Status", code=(1, UINT), message=(2, STRING), end=(3, STRING), may_have_run=(4, BOOL),
                  retry_after_ms=(5, UINT))
End = _message("End", status=(1, Status), metadata=(2, [Field]))
Reset = _message("Reset", status=(1, Status), requeue=(2, BOOL))
Observe = _message("Observe", channel_id=(1, BYTES), client_id=(2, BYTES), request_id=(3, BYTES), snap_bytes=(4, UINT))


# ---- Frames ----

class Frame(NamedTuple):
    type: int
    flags: int = 0
    slot: int = 0
    id: bytes = NIL
    payload: bytes = b""

    def encode(self):
        return HEADER.pack(len(self.payload), self.type, self.flags, self.slot, self.id) + self.payload


class Mirror(NamedTuple):
    """What an observer is shown: the mirror block's fields, and what stands behind it."""
    connection: int
    time_us: int
    lost: int
    kind: int
    channel: bytes
    client: bytes
    shown: bytes

    READ, WRITTEN, OPENED, ENDED, LOST = 1, 2, 3, 4, 5

    @classmethod
    def decode(cls, payload):
        connection, time_us, lost, kind, zero, channel, client = MIRROR_BLOCK.unpack_from(payload)
        if zero != bytes(3) or not cls.READ <= kind <= cls.LOST:
            raise WireError("a mirror block that breaks its rules")
        return cls(connection, time_us, lost, kind, channel, client, payload[MIRROR_BLOCK.size:])

    @property
    def frame(self):
        """The frame that is shown, as far as it is, and the payload bytes that it declares."""
        size, type, flags, slot, id = HEADER.unpack_from(self.shown)
        return Frame(type, flags, slot, id, self.shown[HEADER.size:]), size


class StartPayload(NamedTuple):
    """A START's payload: the start block's fields, `Start`, and the body behind it."""
    peer: bytes = NIL
    timeout_ms: int = 0
    queued_us: int = 0
    attempt: int = 0
    extension_ms: int = 0
    kept: bytes = bytes(8)
    start: bytes = b""
    body: bytes = b""

    def encode(self):
        return BLOCK.pack(self.peer, self.timeout_ms, self.queued_us, self.attempt, len(self.start),
                          self.extension_ms, self.kept) + self.start + self.body

    @classmethod
    def decode(cls, payload):
        if len(payload) < BLOCK.size:
            raise WireError("START shorter than its block")
        peer, timeout_ms, queued_us, attempt, size, extension_ms, kept = BLOCK.unpack_from(payload)
        rest = payload[BLOCK.size:]
        if len(rest) < size:
            raise WireError("START shorter than the Start that it announces")
        return cls(peer, timeout_ms, queued_us, attempt, extension_ms, kept, rest[:size], rest[size:])


def channel_id(channel):
    """A string that is a UUID in its usual form is that id; any other is a name."""
    if len(channel) == 36:
        try:
            return uuid.UUID(channel).bytes
        except ValueError:
            pass
    return uuid.uuid5(CHANNEL_NAMESPACE, channel).bytes


def window_total(payload):
    return struct.unpack(">Q", payload)[0]


def body_cost(body):
    """What a START that carries this body costs. A CHUNK costs its frame even where it is empty."""
    return FRAME_COST + len(body) if body else 0


# ---- Connection ----

def open_socket(server, timeout):
    """`tcp://HOST:PORT` or `unix:PATH`."""
    if server.startswith("unix:"):
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        stream.settimeout(timeout)
        stream.connect(server[len("unix:"):])
        return stream
    host, _, port = server.removeprefix("tcp://").rpartition(":")
    stream = socket.create_connection((host.strip("[]"), int(port)), timeout)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


class Connection:
    """One byte stream to a relay. One thread reads; frames may be sent from any thread."""

    def __init__(self, server, timeout=10):
        self.socket = open_socket(server, timeout)
        self.limits = None
        self._buffer = bytearray()
        self._sending = threading.Lock()
        self._sent_at = time.monotonic()

    def close(self):
        self.socket.close()

    def send_bytes(self, data):
        with self._sending:
            self.socket.sendall(data)
            self._sent_at = time.monotonic()

    def send(self, type, slot=0, id=NIL, payload=b"", flags=0):
        self.send_bytes(Frame(type, flags, slot, id, payload).encode())

    def greet(self, agent="relay_wire.py/1", version=1):
        self.send_bytes(PREFACE + Frame(Type.HELLO, payload=Hello(version=version, agent=agent).encode()).encode())

    def take_frame(self):
        """The next frame that is here already, or None."""
        if len(self._buffer) < HEADER.size:
            return None
        size, type, flags, slot, id = HEADER.unpack_from(self._buffer)
        end = HEADER.size + size
        if len(self._buffer) < end:
            return None
        payload = bytes(memoryview(self._buffer)[HEADER.size:end])
        del self._buffer[:end]
        return Frame(type, flags, slot, id, payload)

    def fill(self):
        """Waits for bytes. False: the other side has ended the stream."""
        data = self.socket.recv(256 * 1024)
        if not data and self._buffer:
            raise WireError("the stream ended inside a frame")
        self._buffer += data
        return bool(data)

    def read_frame(self):
        """The next frame, PING and all; None at the end of the stream."""
        while (frame := self.take_frame()) is None:
            if not self.fill():
                return None
        return frame

    def await_welcome(self):
        """Reads WELCOME; from here on silence counts, both ways."""
        frame = self.read_frame()
        if frame is not None and frame.type == Type.GOAWAY:
            raise WireError(f"refused: {Status.decode(frame.payload)}")
        if frame is None or frame.type != Type.WELCOME:
            raise WireError(f"{frame} instead of WELCOME")
        self.limits = Welcome.decode(frame.payload)
        return self.limits

    def keep_alive(self):
        """Sends PING whenever this side has been silent for the interval, and takes a silent server for dead."""
        interval = self.limits.heartbeat_interval_ms / 1000
        self.socket.settimeout(interval * self.limits.heartbeat_misses)

        def run():
            while True:
                time.sleep(max(0.01, self._sent_at + interval - time.monotonic()))
                if time.monotonic() - self._sent_at >= interval:
                    try:
                        self.send(Type.PING, payload=b"outside!")
                    except OSError:
                        return

        threading.Thread(target=run, daemon=True).start()


# ---- Streams and their credit ----

class Writer:
    """One stream that this side writes. It never costs more than its credit."""

    def __init__(self, connection, slot, id, direction):
        self.connection, self.slot, self.id, self.direction = connection, slot, id, direction
        self.limit = connection.limits.initial_window_bytes
        self.cost = 0

    def start(self, start, timeout_ms=0, flags=0):
        payload = StartPayload(timeout_ms=timeout_ms, start=start.encode()).encode()
        self.connection.send(Type.START, self.slot, self.id, payload, self.direction | flags)

    def room(self):
        """Body bytes that one CHUNK may carry now."""
        return max(0, min(self.limit - self.cost - FRAME_COST, self.connection.limits.max_payload_bytes))

    def chunk(self, body):
        self.cost += FRAME_COST + len(body)
        self.connection.send(Type.CHUNK, self.slot, self.id, body, self.direction)

    def end(self, status=None, flags=0):
        payload = End(status=status).encode() if status else b""
        self.connection.send(Type.END, self.slot, self.id, payload, self.direction | flags)

    def on_window(self, payload):
        self.limit = max(self.limit, window_total(payload))


class Reader:
    """One stream that this side consumes. Credit goes back as the body is taken, in steps of half a window."""

    def __init__(self, connection, slot, id, direction):
        self.connection, self.slot, self.id, self.direction = connection, slot, id, direction
        self.window = connection.limits.initial_window_bytes
        self.granted = self.window
        self.taken = 0

    def took(self, cost):
        self.taken += cost
        if self.taken + self.window - self.granted >= self.window // 2:
            self.granted = self.taken + self.window
            self.connection.send(Type.WINDOW, self.slot, self.id, struct.pack(">Q", self.granted), self.direction)

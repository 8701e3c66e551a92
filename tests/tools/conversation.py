"""A capture of conversations that a test makes up frame by frame, both directions, and the frames to make them of."""

import struct
import uuid

import pcap_file
from pcap_file import NIL, frame

(HELLO, WELCOME, JOIN, LEAVE, RECEIVE, START, CHUNK, END, WINDOW, RESET, PING, PONG, GOAWAY, EXTEND, OBSERVE,
 MIRROR) = range(1, 17)
REQUEST, RESPONSE, FIN, TAKES_NEXT = 1, 2, 4, 0x20
PREFACE = b"RELAY/1\n"
MOST_SEGMENT_BYTES = 60000


def varint(number):
    bytes_ = b""
    while number >= 128:
        bytes_ += bytes([number % 128 + 128])
        number //= 128
    return bytes_ + bytes([number])


def message(**fields):
    """Protobuf of fields by number: message(f1=5, f3=b"x")."""
    encoded = b""
    for name, value in fields.items():
        number = int(name[1:])
        if isinstance(value, int):
            encoded += varint(number << 3) + varint(value)
        else:
            encoded += varint(number << 3 | 2) + varint(len(value)) + value
    return encoded


def id_of(number):
    return uuid.UUID(int=number).bytes


def hello(version=1, **more):
    return frame(HELLO, 0, 0, NIL, message(f1=version, **more))


def welcome(window=65536, max_start=4096):
    return frame(WELCOME, 0, 0, NIL, message(f1=id_of(99), f2=b"made/1", f3=65536, f4=window, f5=4 * window, f6=10,
                                             f7=max_start, f8=5000, f9=3, f10=3))


def join(slot, client, name=b"jobs", channel=pcap_file.CHANNEL, **more):
    return frame(JOIN, 0, slot, NIL, message(f1=client, f2=channel, f3=name, **more))


def leave(slot, client, code=0):
    return frame(LEAVE, 0, slot, client, message(f1=code) if code else b"")


def receive(slot):
    return frame(RECEIVE, 0, slot, NIL)


def withdraw(slot):
    return frame(RECEIVE, 0, slot, NIL, message(f2=1))


def start(flags, slot, id, body=b"", message=b"", attempt=0, other=NIL):
    block = other + struct.pack(">IIHHI8x", 0, 0, attempt, len(message), 0)
    return frame(START, flags, slot, id, block + message + body)


def handed_on(flags, slot, id, body=b""):
    return start(flags, slot, id, body, attempt=1, other=id_of(77))


def chunk(flags, slot, id, body=b"x"):
    return frame(CHUNK, flags, slot, id, body)


def end(flags, slot, id, payload=b""):
    return frame(END, flags, slot, id, payload)


def window(flags, slot, id, bytes_):
    return frame(WINDOW, flags, slot, id, struct.pack(">Q", bytes_))


def reset(slot, id, code):
    return frame(RESET, 0, slot, id, message(f1=message(f1=code)))


def goaway(code=0):
    return frame(GOAWAY, 0, 0, NIL, message(f1=code) if code else b"")


def ping(slot=0):
    return frame(PING, 0, slot, NIL, bytes(8))


class Capture:
    """Writes connections one after another; an entry of `says` is ("up", bytes) or ("down", bytes)."""

    def __init__(self, file, has_times=True):
        self.pcap = pcap_file.Pcap(file, has_times)
        self.port = 40000

    def begin(self, with_syn=True):
        self.port += 1
        for from_server in (0, 1):
            self.pcap.next[self.port, from_server] = 1000
        if with_syn:
            self.pcap.segment(self.port, 0, b"", 0x02)
            self.pcap.segment(self.port, 1, b"", 0x12)

    def say(self, says):
        for direction, bytes_ in says:
            for at in range(0, len(bytes_), MOST_SEGMENT_BYTES):
                self.pcap.segment(self.port, int(direction == "down"), bytes_[at:at + MOST_SEGMENT_BYTES])

    def say_cut(self, direction, bytes_, captured):
        """One packet, of which the first bytes were captured."""
        self.pcap.segment(self.port, int(direction == "down"), bytes_, captured=captured)

    def lose(self, direction, bytes_):
        self.pcap.next[self.port, int(direction == "down")] += bytes_

    def again(self, direction, bytes_):
        """The segment that was the last of its direction, once more."""
        self.lose(direction, -len(bytes_))
        self.say([(direction, bytes_)])

"""A pcap of any size: two connections, one that sends requests and one that answers them, as raw IPv4.

    python3 pcap_file.py FILE BYTES     prints how many frames are in it
"""

import struct
import sys
import uuid

PORT = 7420
CHANNEL = uuid.uuid5(uuid.uuid5(uuid.NAMESPACE_URL, "relay:channel"), "jobs").bytes
NIL = bytes(16)
SENDER, RECEIVER = 50002, 50001


def frame(type, flags, slot, id, payload=b""):
    return struct.pack(">IBBH16s", len(payload), type, flags, slot, id) + payload


class Pcap:
    def __init__(self, file, has_times=True):
        self.file = file
        self.has_times = has_times
        self.bytes = file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 101))
        self.next = {(port, side): 1000 for port in (SENDER, RECEIVER) for side in (0, 1)}
        self.us = 0

    def segment(self, client_port, from_server, payload, flags=0x18, captured=None):
        """Of the payload, the first `captured` bytes are in the file; all of them where it is None."""
        source, target = (PORT, client_port) if from_server else (client_port, PORT)
        numbers = self.next[client_port, from_server], self.next[client_port, 1 - from_server]
        tcp = struct.pack(">HHIIBBHHH", source, target, *(it & 0xFFFFFFFF for it in numbers), 0x50, flags, 65535, 0, 0)
        size = 20 + len(tcp) + len(payload)
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, size, 0, 0x4000, 64, 6, 0, b"\x7f\0\0\1", b"\x7f\0\0\1")
        known = payload[:captured]
        missing = len(payload) - len(known)
        self.us += 5
        seconds, us = divmod(self.us, 1000000)
        time = (1700000000 + seconds, us) if self.has_times else (0, 0)
        packet = struct.pack("<IIII", *time, size - missing, size) + ip + tcp + known
        self.bytes += self.file.write(packet)
        self.next[client_port, from_server] += len(payload) + (1 if flags & 0x02 else 0)


def write(path, size):
    """At least so many bytes; how many frames they hold."""
    limits = b"\x0a\x10" + NIL + bytes.fromhex("188080082080801028808080083080203880800140882748035003")
    with open(path, "wb", buffering=1 << 20) as file:
        pcap = Pcap(file)
        for port in (RECEIVER, SENDER):
            pcap.segment(port, 0, b"", 0x02)
            pcap.segment(port, 1, b"", 0x12)
            join = b"\x0a\x10" + struct.pack(">QQ", 1, port) + b"\x12\x10" + CHANNEL + b"\x1a\x04jobs"
            pcap.segment(port, 0, b"RELAY/1\n" + frame(1, 0, 0, NIL, b"\x08\x01") + frame(3, 0, 1, NIL, join))
            pcap.segment(port, 1, frame(2, 0, 0, NIL, limits))
        frames = 6
        while pcap.bytes < size:
            id = struct.pack(">QQ", 2, frames)
            sent, handed_on = bytes(40), struct.pack(">QQ", 1, SENDER) + struct.pack(">IIHHI8x", 0, 0, 1, 0, 0)
            answered = struct.pack(">QQ", 1, RECEIVER) + struct.pack(">IIHHI8x", 0, 0, 1, 0, 0)
            pcap.segment(RECEIVER, 0, frame(5, 0, 1, NIL))
            pcap.segment(SENDER, 0, frame(6, 1, 1, id, sent) + frame(7, 5, 1, id, b"q" * 400))
            pcap.segment(RECEIVER, 1, frame(6, 1, 1, id, handed_on) + frame(7, 5, 1, id, b"q" * 400))
            pcap.segment(RECEIVER, 0, frame(6, 2, 1, id, sent) + frame(7, 6, 1, id, b"a" * 400))
            pcap.segment(SENDER, 1, frame(6, 2, 1, id, answered) + frame(7, 6, 1, id, b"a" * 400))
            frames += 9
    return frames


def packets(path):
    """The file's header, and each of its packets with its own."""
    with open(path, "rb") as file:
        parts = [file.read(24)]
        while header := file.read(16):
            parts.append(header + file.read(struct.unpack_from("<I", header, 8)[0]))
    return parts


def is_of_server(packet):
    return struct.unpack_from(">H", packet, 16 + 20)[0] == PORT


if __name__ == "__main__":
    print(write(sys.argv[1], int(sys.argv[2])))

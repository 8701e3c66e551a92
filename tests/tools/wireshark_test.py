"""tools/wireshark/relay.lua under tshark says of every frame what `relay inspect --json` says.

The captures are of real traffic through a real relayd, written by `relay inspect --write` between them, so that no
privileges are needed."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import unittest
import xml.etree.ElementTree

import harness
from harness import RelayTest

DISSECTOR = os.path.join(os.path.dirname(__file__), "..", "..", "tools", "wireshark", "relay.lua")
# What the dissector does not say: it follows joins, and no exchanges.
ONLY_INSPECTOR = {"kind", "number", "time", "connection", "offset", "side", "begins", "ends", "late", "rule", "section",
                  "cost", "credit", "credit_left"}
# What it says in its own way, or beside.
ONLY_DISSECTOR = {"preface", "request_id", "exchange", "start_frame", "body", "words", "rule", "not_ok", "mirror_time_us"}
HEADER_RULES = {"bad_header", "malformed", "bad_start", "before_hello", "second_hello", "server_frame", "client_frame",
                "observer_role"}


NIL, ID = bytes(16), bytes(15) + b"\1"


def frame(type, flags, slot, id, payload=b""):
    return len(payload).to_bytes(4, "big") + bytes([type, flags]) + slot.to_bytes(2, "big") + id + payload


HELLO = b"RELAY/1\n" + frame(1, 0, 0, NIL, b"\x08\x01")


def tshark(*arguments):
    """tshark's output, with the dissector and no settings of the user's."""
    command = ["tshark", "-n", "-X", f"lua_script:{DISSECTOR}", *arguments]
    environment = {**os.environ, "HOME": "/nonexistent", "XDG_CONFIG_HOME": "/nonexistent"}
    result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if result.returncode != 0:
        raise AssertionError(result.stderr.decode())
    return result.stdout


def dissected(capture):
    """Each frame's fields by name, with the packet's number."""
    frames = []
    for packet in xml.etree.ElementTree.fromstring(tshark("-r", capture, "-T", "pdml")):
        for proto in packet.iter("proto"):
            if proto.get("name") != "relay":
                continue
            fields = {}
            for field in proto.iter("field"):
                name = field.get("name") or ""
                if name.startswith("relay."):
                    fields.setdefault(name[len("relay."):], []).append(field.get("show"))
            if "type" in fields:
                frames.append(fields)
    return frames


def as_text(value):
    if value is True:
        return "1"
    if value is False:
        return "0"
    return str(value)


@unittest.skipIf(shutil.which("tshark") is None, "tshark is not installed: tools/setup --ci")
class WiresharkTest(RelayTest):
    relayd_flags = ("--heartbeat-interval", "300ms", "--heartbeat-misses", "100", "--allow-observers")

    def proxy(self, capture):
        proxy = self.start([harness.RELAY, "inspect", "--listen", "tcp://127.0.0.1:0", "--to", self.server, "--write",
                            capture, "--json"], stdout=subprocess.DEVNULL)
        proxy.address = proxy.wait_for(r"(tcp://\S+) to ")[1]
        return proxy

    def stop_proxy(self, proxy):
        proxy.signal(signal.SIGINT)
        self.assertEqual(proxy.wait(), 0)

    def say(self, proxy, bytes_):
        """A connection that says this and hears all that is answered."""
        host, port = re.match(r"tcp://(.*):(\d+)", proxy.address).groups()
        with socket.create_connection((host, int(port))) as line:
            line.sendall(bytes_)
            line.shutdown(socket.SHUT_WR)
            while line.recv(65536):
                pass

    def inspected(self, capture):
        result = self.start([harness.RELAY, "inspect", capture, "--json"]).result()
        self.assertEqual(result.code, 0, result.err)
        return [it for it in map(json.loads, result.out.splitlines()) if it["kind"] == "frame"]

    def compare(self, capture, of_dissector=None):
        """The types that were compared, and how many fields."""
        inspected = self.inspected(capture)
        found = dissected(of_dissector or capture)
        self.assertEqual(len(found), len(inspected))
        # Between directions the two may differ in their order, never within one.
        self.assertEqual([it["type"] for it in inspected], [it["type"][0] for it in found])
        types, compared = set(), 0
        for frame, fields in zip(inspected, found):
            types.add(frame["type"])
            expected = {name: value for name, value in frame.items() if name not in ONLY_INSPECTOR}
            metadata = expected.pop("metadata", [])
            if expected.get("server_id") == "":  # an id has 16 bytes, or is not shown
                del expected["server_id"]
            if expected.get("violation") not in HEADER_RULES:
                expected.pop("violation", None)
            actual = {name: values[0] for name, values in fields.items()
                      if name not in ONLY_DISSECTOR and not name.startswith(("flag.", "metadata"))}
            if "ping" in actual:
                actual["ping"] = actual["ping"].replace(":", "")
            self.assertEqual({name: as_text(value) for name, value in expected.items()}, actual, frame)
            self.assertEqual([it["key"] for it in metadata], fields.get("metadata.key", []), frame)
            self.assertEqual([it.get("value", "").encode().hex() or it.get("value_hex") for it in metadata],
                             [value.replace(":", "") for value in fields.get("metadata.value", [])], frame)
            compared += len(expected)
        return types, compared

    def test_says_of_every_frame_what_inspect_says(self):
        capture = self.path("session.pcapng")
        proxy = self.proxy(capture)
        environment = {"env": {"RELAY_SERVER": proxy.address}}
        worker = self.worker("shout", "--exec", "tr a-z A-Z", **environment)
        # Through the proxy, too: it is shown itself.
        with open(self.path("observed"), "wb") as out:
            observer = self.start([harness.RELAY, "inspect", "--live", proxy.address, "--json", "--channel", "shout",
                                   "--snap-bytes", "10"], stdout=out)
        while os.path.getsize(self.path("observed")) == 0:
            self.send("shout", body=b"is anybody there", **environment)
        body = os.urandom(1 << 20)
        self.assertEqual(len(self.send("shout", body=body, **environment).out), len(body))
        self.send("shout", "--method", "up", "--content-type", "text/plain", "--meta", "a=b", "--meta", "c=\u00e9",
                  "--timeout", "30s", "--max-extension", "60s", "--idempotent", body=b"hello", **environment)
        self.send("nobody", "--require-receiver", **environment)
        self.send("nobody", "--timeout", "1s", **environment)  # heartbeats pass meanwhile
        failing = self.worker("fails", "--exec", "exit 3", **environment)
        self.send("fails", **environment)
        for process in (worker, failing, observer):
            self.interrupt(process)
            process.result()
        self.say(proxy, HELLO + frame(14, 0, 1, ID, (60000).to_bytes(4, "big")))  # late, and dropped
        self.stop_proxy(proxy)
        types, compared = self.compare(capture)
        self.assertLessEqual({"HELLO", "WELCOME", "JOIN", "LEAVE", "RECEIVE", "START", "CHUNK", "END", "WINDOW",
                              "RESET", "PING", "PONG", "GOAWAY", "EXTEND", "OBSERVE", "MIRROR"}, types)
        self.assertGreater(compared, 500)

    def test_filters_by_field_and_follows_a_request(self):
        capture = self.path("filters.pcapng")
        proxy = self.proxy(capture)
        environment = {"env": {"RELAY_SERVER": proxy.address}}
        worker = self.worker("shout", "--exec", "cat", **environment)
        self.send("shout", "--method", "up", body=b"hello", **environment)
        self.send("nobody", "--require-receiver", **environment)
        self.interrupt(worker)
        worker.wait()
        self.stop_proxy(proxy)
        frames = self.inspected(capture)
        request = next(it["request"] for it in frames if it.get("method") == "up")

        def matching(expression):
            return [line.split(b"\t") for line in tshark(
                "-r", capture, "-Y", expression, "-T", "fields", "-e", "relay.type", "-e",
                "relay.exchange").splitlines()]

        self.assertEqual(len(matching('relay.status == "UNAVAILABLE"')), 1)
        self.assertEqual(len(matching('relay.end == "no_receiver" && !relay.may_have_run')), 1)
        followed = matching(f"relay.request_id == {request}")
        self.assertTrue(followed)
        exchanges = {number for line in followed for number in line[1].split(b",")}
        self.assertEqual(len(exchanges), 1, followed)
        self.assertEqual(len(matching(f"relay.exchange == {exchanges.pop().decode()}")), len(followed))
        self.assertEqual(matching("_ws.expert.severity == error || _ws.malformed || _ws.lua.error"), [])

    def test_marks_what_breaks_a_rule(self):
        faults = {
            "bad_header": [frame(11, 0, 5, NIL, bytes(8)), frame(7, 3, 1, ID), frame(5, 0x40, 1, NIL)],
            "malformed": [frame(11, 0, 0, NIL, bytes(7)), frame(5, 0, 1, NIL, b"\x08"), frame(13, 0, 0, NIL, b"\x12\1\xff")],
            "bad_start": [frame(6, 1, 1, ID, bytes(39)), frame(6, 1, 1, ID, b"\1" + bytes(39))],
            "second_hello": [frame(1, 0, 0, NIL, b"\x08\x01")],
            "server_frame": [frame(2, 0, 0, NIL)],
            "observer_role": [frame(15, 0, 0, NIL)],
        }
        capture = self.path("faults.pcapng")
        proxy = self.proxy(capture)
        expected = []
        for rule, examples in faults.items():
            for bytes_ in examples:
                expected.append(rule)
                self.say(proxy, HELLO + bytes_)
        self.stop_proxy(proxy)
        self.compare(capture)
        violations = [fields["violation"][0] for fields in dissected(capture) if "violation" in fields]
        self.assertEqual(violations, expected)
        marked = tshark("-r", capture, "-Y", "_ws.expert.severity == error && relay.violation").splitlines()
        self.assertEqual(len(marked), len(expected))


if __name__ == "__main__":
    unittest.main()

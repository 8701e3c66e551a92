"""tools/wireshark/relay under tshark says of every frame what `relay inspect --json` says, fields and expert info.

The captures are of real traffic through a real relayd, written by `relay inspect --write` between them, so that no
privileges are needed; of the session of the golden files; and of conversations that break each rule once."""

import datetime
import json
import os
import re
import shutil
import signal
import subprocess
import unittest
import uuid
import xml.etree.ElementTree

import conversation
import harness
from conversation import NIL, REQUEST, RESPONSE, chunk, frame, id_of
from harness import RelayTest
from violations import BEGUN, BREAK_NOTHING, BREAKS, BREAKS_FROM_THE_START, DOWN, OPENS, REQ, UP

TREE = os.path.join(os.path.dirname(__file__), "..", "..")
PLUGIN = os.path.join(TREE, "tools", "wireshark", "relay")
RULES = os.path.join(TREE, "tools", "inspect", "rules.cc")

# What the dissector cannot say, and why.
ONLY_INSPECTOR = {
    "kind",  # which of its lines it is
    "time", "connection",  # are Wireshark's own, and compared with those: frame.time, tcp.stream
    "metadata",  # a list; compared as its keys and values
    "around", "around_offset",  # the bytes around a fault: Wireshark shows the packet itself
}
# What it says beside, since Wireshark has a use for it.
ONLY_DISSECTOR = {"preface", "request_id", "exchange", "start_frame", "body", "words", "mirror_time_us"}
EXPERTS = {"broken", "crossed", "not_ok"}
IDS = {"server_id", "join_client", "join_channel_id", "observe_channel", "observe_client", "observe_request"}


def tshark(*arguments, plugin=True, home="/nonexistent"):
    """tshark's output, with the dissector and no settings of the user's."""
    command = ["tshark", "-n", *(["-X", f"lua_script:{PLUGIN}/relay.lua"] if plugin else []), *arguments]
    environment = {**os.environ, "HOME": home, "XDG_CONFIG_HOME": "/nonexistent"}
    result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if result.returncode != 0 or b"Lua" in result.stderr or b"Lua Error" in result.stdout:
        raise AssertionError(result.stderr.decode())
    return result.stdout


def dissected(capture, *options):
    """What is said of each frame and each fault, by name; and the "time" and "connection" of its packet."""
    said = []
    for packet in xml.etree.ElementTree.fromstring(tshark("-r", capture, "-T", "pdml", *options)):
        of_packet = {field.get("name"): field for field in packet.iter("field")}
        for proto in packet.iter("proto"):
            if proto.get("name") != "relay":
                continue
            fields = {}
            for field in proto.iter("field"):
                name = field.get("name") or ""
                if name.startswith("relay."):
                    fields.setdefault(name[len("relay."):], []).append(field.get("show"))
                if name == "_ws.expert.message":
                    fields.setdefault("expert", []).append(field.get("show"))
            if "type" in fields or "violation" in fields:
                fields["time"] = of_packet["timestamp"].get("value")
                fields["connection"] = int(of_packet["tcp.stream"].get("show")) + 1
                said.append(fields)
    return said


def as_text(value):
    """As it stands in tshark's XML."""
    text = str(int(value)) if isinstance(value, bool) else str(value)
    return re.sub(r"[\x00-\x1f\x7f]", lambda it: f"\\x{ord(it[0]):02x}", re.sub(r"[\t\n\r]", " ", text))


def is_uuid(text):
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def frames_of(frames, connection):
    return [it for it in frames if it["connection"] == connection]


def seconds(time):
    whole, fraction = re.fullmatch(r"(.*)\.(\d{6})Z", time).groups()
    return f"{int(datetime.datetime.fromisoformat(whole + '+00:00').timestamp())}.{fraction}"


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

    def inspected(self, capture):
        result = self.start([harness.RELAY, "inspect", capture, "--json"]).result()
        self.assertEqual(result.code, 0, result.err)
        return [it for it in map(json.loads, result.out.splitlines()) if it["kind"] in ("frame", "damage")]

    def compare(self, capture, *options, has_times=True):
        """What the inspector says, once the dissector has said the same."""
        inspected = self.inspected(capture)
        found = dissected(capture, *options)
        for said, fields in zip(inspected, found):
            expected = {name: as_text(value) for name, value in said.items() if name not in ONLY_INSPECTOR}
            for name in IDS & expected.keys():
                if not is_uuid(expected[name]):  # Wireshark's type for an id has 16 bytes, or is none
                    del expected[name]
            actual = {name: values[0] for name, values in fields.items()
                      if name not in ONLY_DISSECTOR | ONLY_INSPECTOR | EXPERTS | {"expert"}
                      and not name.startswith(("flag.", "metadata"))}
            if "ping" in actual:
                actual["ping"] = actual["ping"].replace(":", "")
            self.assertEqual(expected, actual, said)
            self.assertEqual(said["connection"], fields["connection"])
            if has_times:
                self.assertEqual(seconds(said["time"]), fields["time"][:-3])
            metadata = said.get("metadata", [])
            self.assertEqual([it["key"] for it in metadata], fields.get("metadata.key", []), said)
            self.assertEqual([it.get("value", "").encode().hex() or it.get("value_hex") for it in metadata],
                             [value.replace(":", "") for value in fields.get("metadata.value", [])], said)
            self.assertEqual(self.marks(said), {name: fields[name] for name in EXPERTS & fields.keys()}, said)
            if "violation" in said:
                self.assertIn(f"{said['violation']}: {said['rule']}", fields["expert"])
        self.assertEqual(len(found), len(inspected))
        return inspected

    @staticmethod
    def marks(said):
        """The expert info that the inspector's marks and ends ask for."""
        marked = {"broken": "violation" in said, "crossed": said.get("late", False), "not_ok": said.get("code", 0) != 0}
        return {name: [""] for name, is_marked in marked.items() if is_marked}

    def make(self, name, tell, has_times=True):
        """A capture of what `tell` does with it."""
        with open(self.path(name), "wb") as file:
            tell(conversation.Capture(file, has_times))
        return self.path(name)

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
        self.stop_proxy(proxy)
        frames = self.compare(capture)
        self.assertLessEqual({"HELLO", "WELCOME", "JOIN", "LEAVE", "RECEIVE", "START", "CHUNK", "END", "WINDOW",
                              "RESET", "PING", "PONG", "GOAWAY", "OBSERVE", "MIRROR"}, {it["type"] for it in frames})
        self.assertEqual([it for it in frames if "violation" in it], [])
        self.assertGreater(sum(map(len, frames)), 500)

    def test_of_frames_that_a_relay_mirrored_it_says_the_same(self):
        capture, seen = self.path("live.pcapng"), self.path("seen")
        with open(seen, "wb") as out:
            observer = self.start([harness.RELAY, "inspect", "--live", self.server, "--json", "--snap-bytes", "10",
                                   "--write", capture], stdout=out)
        while os.path.getsize(seen) == 0:
            self.send("nobody", "--require-receiver")
        worker = self.worker("shout", "--exec", "cat")
        self.send("shout", "--method", "up", body=bytes(100000))
        self.interrupt(worker)
        worker.wait()
        self.interrupt(observer)
        observer.wait()
        port = self.server.rsplit(":", 1)[1]
        frames = self.compare(capture, "-d", f"tcp.port=={port},relay")  # some of it has no beginning
        self.assertIn("cut", {it.get("payload") for it in frames})

    def test_of_the_golden_session_it_says_the_same(self):
        capture = self.path("golden.pcapng")
        subprocess.run([os.environ["SESSION_CAPTURE"], capture], check=True)
        frames = self.compare(capture)
        self.assertLessEqual(set(range(1, 17)), {it.get("type_number") for it in frames})
        self.assertGreater(len([it for it in frames if "violation" in it]), 5)

    def test_knows_the_channel_of_a_side_that_joined_unseen_by_the_other_side(self):
        of_sender = [
            (UP, conversation.start(REQUEST, 1, REQ)), (DOWN, conversation.handed_on(RESPONSE, 1, REQ)),
            (UP, conversation.end(REQUEST, 1, REQ)), (DOWN, conversation.end(RESPONSE, 1, REQ)),
            (UP, conversation.receive(1))]
        of_receiver = [
            (UP, conversation.receive(2)), (DOWN, conversation.handed_on(REQUEST, 2, REQ)),
            (UP, conversation.start(RESPONSE, 2, REQ)), (DOWN, conversation.end(REQUEST, 2, REQ)),
            (UP, conversation.end(RESPONSE, 2, REQ))]

        def tell(capture, sides):
            ports = []
            for opens, _ in sides:
                capture.begin(with_syn=bool(opens))
                ports.append(capture.port)
                capture.say(opens)
            for says in zip(*(says for _, says in sides)):
                for capture.port, said in zip(ports, says):
                    capture.say([said])
            capture.port = max(ports)

        sides = [([], of_sender), (OPENS, of_receiver)], [(OPENS, of_sender), ([], of_receiver)]
        frames = self.compare(self.make("unseen.pcap", lambda capture: [tell(capture, it) for it in sides]))
        for connection in (1, 4):
            self.assertEqual(frames_of(frames, connection)[-1]["channel"], "jobs")

    def test_marks_what_breaks_a_rule(self):
        expected = []

        def tell(capture):
            for opens, breaks in ((OPENS, BREAKS), ([], BREAKS_FROM_THE_START)):
                for rule, examples in breaks.items():
                    for says in examples:
                        capture.begin()
                        capture.say(opens + says)
                        expected.append(rule)

        frames = self.compare(self.make("breaks.pcap", tell))
        self.assertEqual([it["violation"] for it in frames if "violation" in it], expected)
        with open(RULES) as file:
            self.assertEqual(set(re.findall(r'^    \{"(\w+)", ', file.read(), re.MULTILINE)) - {"none"}, set(expected))
        marked = tshark("-r", self.path("breaks.pcap"), "-Y", "_ws.expert.severity == error && relay.violation")
        self.assertEqual(len(marked.splitlines()), len(expected))

    def test_marks_what_is_late_and_no_more(self):
        def tell(capture):
            for says in BREAK_NOTHING:
                capture.begin()
                capture.say(OPENS + says)

        frames = self.compare(self.make("late.pcap", tell))
        self.assertEqual([it for it in frames if "violation" in it], [])
        self.assertGreater(len([it for it in frames if it.get("late")]), 10)
        self.assertIn(0, {it.get("credit_left") for it in frames})

    def test_judges_packets_without_times_by_the_order_of_their_direction(self):
        def tell(capture):
            for opens, all_says in ((OPENS, [*sum(BREAKS.values(), []), *BREAK_NOTHING]),
                                    ([], sum(BREAKS_FROM_THE_START.values(), []))):
                for says in all_says:
                    capture.begin()
                    # As written from the bytes of each: the handshake, and then all that the client says.
                    capture.say([*opens, *sorted(says, key=lambda it: it[0] == DOWN)])

        frames = self.compare(self.make("timeless.pcap", tell, has_times=False), has_times=False)
        broken = {it["violation"] for it in frames if "violation" in it}
        self.assertLessEqual({"not_started", "after_end", "second_start", "slot_not_joined", "not_assigned"}, broken)
        self.assertFalse({"slot_busy", "not_waiting", "not_begun", "id_live"} & broken)
        self.assertNotIn("credit", set().union(*frames))

    def test_says_the_same_of_a_packet_that_is_looked_at_again(self):
        def tell(capture):
            for says in [*sum(BREAKS.values(), []), *BREAK_NOTHING]:
                capture.begin()
                # Frames end where packets do not.
                up = b"".join(bytes_ for direction, bytes_ in OPENS + says if direction == UP)
                down = b"".join(bytes_ for direction, bytes_ in OPENS + says if direction == DOWN)
                for direction, bytes_ in ((UP, up), (DOWN, down)):
                    capture.say([(direction, bytes_[at:at + 1001]) for at in range(0, len(bytes_), 1001)])

        # Two passes: the filter of the first makes tshark dissect in it.
        self.compare(self.make("again.pcap", tell), "-2", "-R", "tcp")
        self.compare(self.path("again.pcap"))

    def test_blames_nobody_for_what_was_not_captured(self):
        inside = [(UP, chunk(REQUEST, 1, REQ) + conversation.end(REQUEST, 1, REQ) + conversation.receive(1) * 2),
                  (DOWN, conversation.handed_on(REQUEST, 1, id_of(6)) + chunk(RESPONSE, 1, id_of(7)) +
                   conversation.window(REQUEST, 3, id_of(8), 1) + conversation.reset(1, id_of(9), 14)),
                  (UP, conversation.start(REQUEST, 3, id_of(10)) + conversation.start(REQUEST, 3, id_of(11)) +
                   chunk(REQUEST, 3, id_of(10)) + conversation.join(3, id_of(3)) +
                   chunk(REQUEST, 3, id_of(11)) + conversation.leave(4, id_of(4))),
                  (DOWN, conversation.handed_on(REQUEST, 5, id_of(12)) + conversation.handed_on(REQUEST, 5, id_of(13)))]
        # One packet, so that it is the last one when the inspector gives up to wait for what is missing.
        behind = b"the end of a frame" + conversation.receive(1) * 2 + chunk(REQUEST, 1, REQ, bytes(50000))

        def tell(capture):
            capture.begin(with_syn=False)
            capture.say([(UP, b"the end of a frame"), *inside])
            capture.begin()
            capture.say([*OPENS, BEGUN])
            capture.lose(UP, 1000)
            capture.say([(UP, behind)])

        capture = self.make("missing.pcap", tell)
        inspected = self.compare(capture)
        self.assertEqual([it for it in inspected if "violation" in it], [])

    def test_finds_what_stands_behind_gaps_that_a_capture_was_written_with(self):
        def tell(capture):
            capture.begin()
            capture.say(OPENS)
            for _ in range(10):
                capture.lose(UP, 1 << 30)  # so many as a slow observer does not know
                capture.say([(UP, conversation.ping())])

        written = self.path("written.pcapng")
        self.start([harness.RELAY, "inspect", self.make("gaps.pcap", tell), "--write", written, "--json"],
                   stdout=subprocess.DEVNULL).result()
        frames = self.compare(written)
        self.assertEqual([it["type"] for it in frames].count("PING"), 10)

    def test_packets_that_were_cut_are_dissected_as_far_as_they_go(self):
        large = chunk(REQUEST, 1, REQ, bytes(50000))

        def tell(capture):
            for cut, rest in (
                    ((large, 100), ()),  # inside of a payload
                    ((BEGUN[1] + large[:40], len(BEGUN[1]) + 30), ((large[40:1000], 960), (large[1000:], 10))),
                    ((large[:1000], 500), ((large[1000:] + conversation.ping(), 10),)),
                    ((large + conversation.ping(), 30), ()),  # before a frame of which nothing is known
                    ((conversation.ping() + conversation.ping(), 40), ((b"inside" + conversation.ping(), None),))):
                capture.begin()
                capture.say([*OPENS, BEGUN])
                for bytes_, captured in (cut, *rest):
                    capture.say_cut(UP, bytes_, captured)
                capture.say([(UP, conversation.ping()), (DOWN, chunk(REQUEST, 1, id_of(6)))])
            # Of each no more than the header, and behind it what it might have allowed.
            client = id_of(3)
            for (direction, control), allowed in (
                    ((UP, conversation.join(3, client)), (
                        (UP, conversation.start(REQUEST, 3, id_of(7)) + conversation.start(REQUEST, 4, id_of(8))),
                        (UP, conversation.leave(3, client) + conversation.receive(3)))),
                    ((UP, conversation.withdraw(1)), ((DOWN, conversation.withdraw(1)), (UP, conversation.receive(1)))),
                    ((UP, conversation.leave(1, id_of(1), 1)), ((UP, conversation.receive(1)),)),
                    ((DOWN, conversation.goaway(3)), ((DOWN, conversation.ping()),)),
                    ((DOWN, conversation.window(REQUEST, 1, REQ, 100000)), (
                        (UP, large + chunk(REQUEST, 1, REQ, bytes(40000))),))):
                capture.begin()
                capture.say([*OPENS, BEGUN])
                capture.say_cut(direction, control, 24)
                capture.say(allowed)
            for hello, welcome in ((24, None), (None, 24)):
                capture.begin()
                capture.say_cut(UP, conversation.PREFACE, None)
                capture.say_cut(UP, conversation.hello(f4=1), hello)
                capture.say_cut(DOWN, conversation.welcome(window=100000), welcome)
                capture.say([(UP, conversation.join(1, client) + frame(conversation.OBSERVE, 0, 0, NIL) +
                              conversation.start(REQUEST, 1, REQ, bytes(60000)) + chunk(REQUEST, 1, REQ, bytes(20000)))])

        # The inspector names the packet in which a frame ends; tshark shows one that was cut where it begins.
        self.compare(self.make("cut.pcap", tell), has_times=False)

    def test_what_was_sent_again_is_dissected_once(self):
        def tell(capture):
            capture.begin()
            capture.say([*OPENS, BEGUN])
            capture.again(*BEGUN)
            capture.say([(UP, conversation.end(REQUEST, 1, REQ))])
            capture.again(UP, conversation.end(REQUEST, 1, REQ))

        capture = self.make("again.pcap", tell)
        self.compare(capture, "-o", "tcp.no_subdissector_on_error:FALSE")
        frames = self.compare(capture)
        self.assertEqual(len(frames), 6)
        self.assertEqual([it for it in frames if "violation" in it], [])

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
        self.assertEqual(len(matching('relay.end == "no_receiver" && relay.may_have_run == 0')), 1)
        followed = matching(f"relay.request_id == {request}")
        self.assertTrue(followed)
        exchanges = {number for line in followed for number in line[1].split(b",")}
        self.assertEqual(len(exchanges), 1, followed)
        self.assertEqual(len(matching(f"relay.exchange == {exchanges.pop().decode()}")), len(followed))
        self.assertEqual(matching("_ws.expert.severity == error || _ws.malformed || _ws.lua.error"), [])

    def test_is_installed_by_copying_its_folder(self):
        plugins = self.path(os.path.join(".local", "lib", "wireshark", "plugins"))
        os.makedirs(plugins)
        shutil.copytree(PLUGIN, os.path.join(plugins, "relay"))
        capture = self.make("installed.pcap", lambda it: (it.begin(), it.say([*OPENS, BEGUN, BEGUN])))
        marked = tshark("-r", capture, "-Y", 'relay.violation == "second_start"', plugin=False, home=self.folder)
        self.assertEqual(len(marked.splitlines()), 1, marked)


if __name__ == "__main__":
    unittest.main()

"""relay inspect against the real daemon: a proxy that changes nothing, what it shows, and its exit codes."""

import hashlib
import json
import os
import re
import select
import shutil
import socket
import subprocess
import threading
import time
import unittest

from harness import IO, NO_INPUT, OK, RELAY, USAGE, RelayTest, Terminal

INVALID_ARGUMENT, FAILED_PRECONDITION, UNAVAILABLE = 13, 19, 24
PIECE = 1 << 16


def connect(url):
    if url.startswith("unix:"):
        peer = socket.socket(socket.AF_UNIX)
        peer.connect(url[len("unix:"):])
    else:
        host, port = url[len("tcp://"):].rsplit(":", 1)
        peer = socket.create_connection((host, int(port)))
    peer.settimeout(60)
    return peer


def read_all(peer):
    digest, count = hashlib.sha256(), 0
    while data := peer.recv(PIECE):
        digest.update(data)
        count += len(data)
    return digest.hexdigest(), count


class Inspect(RelayTest):
    def inspector(self, to, *arguments, listen="tcp://127.0.0.1:0", **popen):
        """The proxy, and where it listens."""
        process = self.start([RELAY, "inspect", "--listen", listen, "--to", to, *arguments], **popen)
        match = process.wait_for(r"^relay inspect: (\S+) to ")
        return process, match.group(1)

    def inspect(self, *arguments, stdin=b""):
        process = self.start([RELAY, "inspect", *arguments], stdin=subprocess.PIPE)
        try:
            process.stdin.write(stdin)
        except BrokenPipeError:
            pass  # it has said what is wrong with its arguments, and read nothing
        return process.result()

    def stop(self, process):
        self.interrupt(process)
        return process.result()


class Proxy(Inspect):
    def plain_server(self, family="tcp"):
        """A socket that listens and knows nothing of frames, and its URL."""
        if family == "unix":
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(self.path("plain.sock"))
            listener.listen()
            self.addCleanup(listener.close)
            return listener, "unix:" + self.path("plain.sock")
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        return listener, "tcp://127.0.0.1:%d" % listener.getsockname()[1]

    def pass_bytes(self, to_listener, through, size):
        """The same bytes each way at once, both ends closed by half; what arrived."""
        client = connect(through)
        server, _ = to_listener.accept()
        server.settimeout(60)
        block = os.urandom(PIECE)

        def write(peer):
            for _ in range(size // PIECE):
                peer.sendall(block)
            peer.shutdown(socket.SHUT_WR)

        writers = [threading.Thread(target=write, args=(peer,)) for peer in (client, server)]
        found = {}
        readers = [threading.Thread(target=lambda name, peer: found.update({name: read_all(peer)}), args=pair)
                   for pair in (("up", server), ("down", client))]
        for thread in writers + readers:
            thread.start()
        for thread in writers + readers:
            thread.join(60)
        client.close()
        server.close()
        want = hashlib.sha256()
        for _ in range(size // PIECE):
            want.update(block)
        self.assertEqual(found, {name: (want.hexdigest(), size) for name in ("up", "down")})

    def test_passes_every_byte_both_ways_whatever_they_are(self):
        listener, url = self.plain_server()
        process, through = self.inspector(url)
        self.pass_bytes(listener, through, 32 * PIECE)
        result = self.stop(process)
        self.assertEqual(result.code, OK)
        self.assertIn(b"damage at byte 0: bad_preface", result.out)

    def test_takes_unix_sockets(self):
        listener, url = self.plain_server("unix")
        process, through = self.inspector(url, listen="unix:" + self.path("inspect.sock"))
        self.pass_bytes(listener, through, 4 * PIECE)
        self.assertEqual(self.stop(process).code, OK)

    def test_carries_a_half_close_over_and_goes_on_the_other_way(self):
        listener, url = self.plain_server()
        _, through = self.inspector(url)
        client = connect(through)
        server, _ = listener.accept()
        server.settimeout(60)
        client.sendall(b"RELAY/1\nquestion")
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(read_all(server)[1], 16)
        server.sendall(b"the answer to all of it")
        server.close()
        self.assertEqual(read_all(client)[1], 23)
        client.close()

    def test_a_side_that_does_not_read_stops_the_other_within_bounded_memory(self):
        listener, url = self.plain_server()
        process, through = self.inspector(url)
        client = connect(through)
        server, _ = listener.accept()
        client.setblocking(False)
        block, sent = bytes(PIECE), 0
        # Until the kernel has taken nothing for a while: the poll says when it takes more.
        while True:
            try:
                sent += client.send(block)
            except BlockingIOError:
                if not select.select([], [client], [], 1)[1]:
                    break
            self.assertLess(sent, 256 << 20, "nothing stops the writer")
        with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
            peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
        if not os.environ.get("RELAY_SANITIZE"):
            self.assertLess(peak, 64 << 10)
        client.setblocking(True)
        client.shutdown(socket.SHUT_WR)
        server.settimeout(60)
        self.assertEqual(read_all(server)[1], sent)
        client.close()
        server.close()

    def test_a_capture_that_cannot_be_written_is_told_at_once_and_stops_no_traffic(self):
        process, through = self.inspector(self.server, "--write", "/dev/full")
        words = "write /dev/full: No space left on device"
        self.send("nobody", "--require-receiver", env={"RELAY_SERVER": through})
        process.wait_for(words)
        self.worker("count", "--exec", "wc -c")
        sent = self.send("count", body=bytes(3 << 20), env={"RELAY_SERVER": through})
        self.assertEqual((sent.code, sent.out.strip()), (OK, b"%d" % (3 << 20)))
        result = self.stop(process)
        self.assertEqual((result.code, result.err.count(words)), (IO, 1), result.err)
        self.assertIn(b"count", result.out)

    def test_says_when_nobody_listens_there(self):
        process, through = self.inspector("tcp://127.0.0.1:1")
        client = connect(through)
        self.assertEqual(client.recv(1), b"")
        client.close()
        process.wait_for("connect tcp://127.0.0.1:1: connection refused")

    def test_an_address_that_is_taken_is_told(self):
        listener, url = self.plain_server()
        result = self.inspect("--listen", url, "--to", self.server)
        self.assertIn("already in use", result.err)
        self.assertNotEqual(result.code, OK)


class Shown(Inspect):
    def exchange(self, *arguments):
        """One exchange through the proxy; what was shown of it."""
        process, through = self.inspector(self.server, *arguments)
        self.worker("shout", "--exec", "tr a-z A-Z", env={"RELAY_SERVER": through})
        sent = self.send("shout", "--method", "louder", "--meta", "a=b", body=b"hello", env={"RELAY_SERVER": through})
        self.assertEqual((sent.code, sent.out), (OK, b"HELLO"))
        return self.stop(process)

    def test_every_frame_of_an_exchange_and_nothing_wrong_with_it(self):
        result = self.exchange("--json", "--strict")
        self.assertEqual(result.code, OK, result.err)
        seen = [json.loads(line) for line in result.out.splitlines()]
        starts = [frame for frame in seen if frame.get("type") == "START"]
        self.assertEqual([frame["direction"] for frame in starts], ["to_server", "to_client"] * 2)
        self.assertEqual(starts[0]["method"], "louder")
        self.assertEqual(starts[0]["metadata"], [{"key": "a", "value": "b"}])
        self.assertEqual([frame["attempt"] for frame in starts], [0, 1, 0, 1])
        (exchange,) = [line for line in seen if line["kind"] == "exchange"]
        self.assertEqual((exchange["channel"], exchange["end"], exchange["request_bytes"], exchange["response_bytes"]),
                         ("shout", "completed", 5, 5))

    def test_requests_and_summary(self):
        self.assertRegex(self.exchange("--requests").out.decode(), r" shout +louder .* 5 +5 OK\n")
        self.assertRegex(self.exchange("--summary").out.decode(), r"(?s)shout +louder +1 .*\n  1 OK\n")

    def test_a_filter_leaves_the_rest_out(self):
        out = self.exchange("--json", "--filter", "type==RECEIVE").out
        self.assertEqual({json.loads(line)["type"] for line in out.splitlines() if b'"kind":"frame"' in line}, {"RECEIVE"})

    def on_terminal(self, *arguments, columns=80, rows=24, env=None):
        """A request that nobody takes, through a proxy that shows it on a terminal: what the terminal got."""
        terminal = Terminal(self, columns, rows)
        process, through = self.inspector(self.server, *arguments, stdout=terminal.tty,
                                          env={"LC_ALL": "C.UTF-8", **(env or {})})
        terminal.close_tty()
        self.send("nobody", "--require-receiver", env={"RELAY_SERVER": through})
        terminal.read_until("RESET|no_receiver")
        self.interrupt(process)
        terminal.read_to_end()
        return terminal.text

    def test_lines_on_a_terminal_fit_it_and_have_colours_unless_told_not(self):
        for columns in (40, 60, 80, 100):
            for colour, environment in ((True, {}), (False, {"NO_COLOR": "1"})):
                text = self.on_terminal(columns=columns, env=environment)
                self.assertEqual("\x1b[" in text, colour)
                for line in re.sub(r"\x1b\[[0-9;]*m", "", text).split("\r\n"):
                    self.assertLessEqual(len(line), columns, line)

    def test_lines_fit_a_terminal_that_has_become_smaller(self):
        terminal = Terminal(self, 100)
        process, through = self.inspector(self.server, stdout=terminal.tty, env={"LC_ALL": "C.UTF-8", "NO_COLOR": "1"})
        terminal.close_tty()
        widths = []
        for columns in (100, 70):
            terminal.resize(columns)
            terminal.text = ""
            self.send("nobody", "--require-receiver", env={"RELAY_SERVER": through})
            terminal.read_until("RESET.*\n")
            widths.append(max(len(line) for line in terminal.text.split("\r\n")))
        self.interrupt(process)
        self.assertEqual(widths, [100, 70])

    def test_a_summary_is_drawn_over_itself_on_a_terminal(self):
        text = self.on_terminal("--summary")
        drawings = re.split(r"\r\x1b\[(\d+)A\x1b\[J", text)  # a key may have been echoed
        self.assertGreater(len(drawings), 1, "it is drawn more than once")
        # As far up as the drawing before has lines, and nothing is left of it.
        for before, up in zip(drawings[::2], drawings[1::2]):
            self.assertEqual(before.count("\n"), int(up))
        self.assertIn("1 no_receiver", re.sub(r"\x1b\[[0-9;]*m", "", drawings[-1]))
        # What a low terminal cannot hold is told, and is there at the end.
        low = re.split(r"\r\x1b\[\d+A\x1b\[J", self.on_terminal("--summary", rows=9))
        self.assertRegex(low[-2], "and [0-9]+ lines more")
        self.assertIn("slowest", low[-1])
        self.assertNotIn("lines more", low[-1])
        plain = self.on_terminal("--summary", env={"NO_COLOR": "1"})
        self.assertNotRegex(plain, r"\x1b\[[0-9;]*m")

    def test_no_escape_sequence_is_written_to_what_is_no_terminal(self):
        for arguments in ((), ("--summary",), ("--requests",)):
            self.assertNotIn(b"\x1b", self.exchange(*arguments).out)

    def test_what_is_open_at_the_end_has_lasted_until_then(self):
        process, through = self.inspector(self.server, "--json")
        sender = self.sender("nobody", env={"RELAY_SERVER": through})
        sender.stdin.close()
        while b'"type":"START"' not in process.stdout.readline():
            pass
        time.sleep(2)  # the time that is told
        self.interrupt(process)
        seen = [json.loads(line) for line in process.result().out.splitlines()]
        (told,) = [line for line in seen if line["kind"] == "exchange"]
        self.assertEqual(told["end"], "open")
        self.assertGreater(told["total_us"], 400000)

    def test_a_reader_that_has_seen_enough_ends_it(self):
        process, through = self.inspector(self.server, "--json")
        process.stdout.close()
        self.send("nobody", "--require-receiver", env={"RELAY_SERVER": through})
        result = process.result()
        self.assertEqual(result.code, OK)
        self.assertIn("nobody reads stdout any more: the proxy ends", result.err)


class Files(Inspect):
    HELLO = b"RELAY/1\n" + bytes.fromhex("000000020100000000000000000000000000000000000000") + b"\x08\x01"

    def test_reads_a_raw_file_stdin_and_a_hex_dump(self):
        raw = self.file("raw", self.HELLO)
        want = self.inspect(raw, "--json")
        self.assertEqual(want.code, OK)
        self.assertEqual(len(want.out.splitlines()), 3)
        self.assertEqual(self.inspect("-", "--json", stdin=self.HELLO).out, want.out)
        self.assertEqual(self.inspect("-", "--hex", "--json", stdin=self.HELLO.hex().encode()).out, want.out)

    def test_strict_fails_where_anything_is_wrong(self):
        self.assertEqual(self.inspect("-", "--strict", stdin=self.HELLO).code, OK)
        self.assertEqual(self.inspect("-", "--strict", stdin=self.HELLO[:-1]).code, 1)
        self.assertEqual(self.inspect("-", "--strict", stdin=b"GET / HTTP/1.1").code, 1)
        self.assertEqual(self.inspect("-", stdin=b"GET / HTTP/1.1").code, OK)

    def test_no_secret_is_shown(self):
        def frame(type, slot, payload):
            return len(payload).to_bytes(4, "big") + bytes([type, 0, 0, slot]) + bytes(16) + payload

        secret = b"sesame" * 3
        hello = frame(1, 0, b"\x08\x01\x1a\x12" + secret + b"\x12\x03me!")
        join = frame(3, 1, b"\x0a\x10" + b"c" * 16 + b"\x12\x10" + bytes(16) + b"\x22\x12" + secret)
        raw = self.file("secrets", b"RELAY/1\n" + hello + join)
        told = [json.loads(line) for line in self.inspect(raw, "--json", "-v").out.splitlines()]
        hexes = {it["type"]: it["payload_hex"] for it in told if it["kind"] == "frame"}
        self.assertEqual(hexes["HELLO"], "08011a12" + bytes(18).hex() + "1203" + b"me!".hex())
        ids = "0a10" + (b"c" * 16).hex() + "1210" + bytes(16).hex()
        self.assertEqual(hexes["JOIN"], ids + "2212" + bytes(18).hex())
        self.assertEqual([it[name] for it, name in zip(told[-2:], ("token_bytes", "key_bytes"))], [18, 18])
        self.assertNotIn(b"sesame", self.inspect(raw, "-v").out)

    def test_an_end_inside_of_the_preface_is_called_so(self):
        self.assertIn(b"ends inside of the preface: 4 bytes", self.inspect("-", stdin=self.HELLO[:4]).out)
        self.assertIn(b"ends inside of a header: 4 bytes", self.inspect("-", stdin=self.HELLO[:12]).out)

    def test_a_capture_of_which_its_magic_is_cut_is_none_of_bytes(self):
        for magic in (b"\x0a", b"\xd4\xc3", b"\xa1\xb2\xc3"):
            result = self.inspect("-", stdin=magic)
            self.assertEqual((result.code, result.out), (INVALID_ARGUMENT, b""), result)
            self.assertIn("truncated", result.err)

    def test_what_a_join_names_is_shown_though_it_joins_nobody(self):
        join = b"\x0a\x10" + bytes(15) + b"\x07" + b"\x12\x10" + bytes(16) + b"\x1a\x05wrong"
        frame = len(join).to_bytes(4, "big") + bytes.fromhex("0300000100000000000000000000000000000000") + join
        self.assertRegex(self.inspect("-", stdin=self.HELLO + frame).out.decode(), r"JOIN .*client \w{8}, channel wrong\n")

    def test_no_json_turns_the_terminal_that_shows_it(self):
        method = "gpj.\u202e\u009b31m".encode()
        hello = b"\x08\x01\x12" + bytes([len(method)]) + method
        stdin = b"RELAY/1\n" + len(hello).to_bytes(4, "big") + b"\x01" + bytes(19) + hello
        out = self.inspect("-", "--json", stdin=stdin).out
        self.assertIn(rb'"agent":"gpj.\u202e\u009b31m"', out)
        self.assertEqual(json.loads(out.splitlines()[-1])["agent"].encode(), method)

    def test_a_limit_that_nobody_has_told_is_not_told(self):
        out = self.inspect("-", stdin=self.HELLO + b"\xff" + bytes(23)).out
        self.assertIn(b"at most max_payload_bytes, which no WELCOME has told; this header says 4278190080", out)

    def test_lines_that_a_dump_lacks_are_missing_bytes(self):
        ping = bytes([0, 0, 0, 8, 11]) + bytes(19) + b"12345678"
        lines = [f"{at:08x}  {(self.HELLO + 3 * ping)[at:at + 16].hex(' ')}\n" for at in range(0, 130, 16)]
        out = self.inspect("-", "--hex", "--json", stdin="".join(lines[:3] + lines[4:]).encode()).out
        seen = [json.loads(line) for line in out.splitlines()]
        self.assertIn((48, 16), [(it["offset"], it["bytes"]) for it in seen if it["kind"] == "gap"])
        self.assertEqual([it["offset"] for it in seen if it.get("type") == "PING"], [66, 98])
        self.assertNotIn("damage", {it["kind"] for it in seen})

    def test_strict_fails_where_nothing_was_seen(self):
        for stdin in (b"", b"RELAY/1\n"):
            result = self.inspect("-", "--strict", stdin=stdin)
            self.assertEqual(result.code, 1)
            self.assertIn("no frame passed", result.err)
        self.assertEqual(self.inspect("-", stdin=b"").code, OK)

    def test_a_capture_goes_to_stdout_alone(self):
        raw = self.file("raw", self.HELLO)
        written = self.inspect(raw, "--write", "-")
        self.assertEqual((written.code, written.out[:4]), (OK, b"\x0a\x0d\x0d\x0a"))
        again = self.inspect("-", "--json", stdin=written.out)
        self.assertEqual([json.loads(line).get("type") for line in again.out.splitlines()], [None, None, "HELLO"])
        for view in (("--json",), ("--summary",), ("-v",), ("--filter", "slot==1")):
            result = self.inspect(raw, "--write", "-", *view)
            self.assertEqual((result.code, result.out), (USAGE, b""))
            self.assertIn("--write -: the capture goes to stdout", result.err)
        terminal = Terminal(self)
        process = self.start([RELAY, "inspect", raw, "--write", "-"], stdout=terminal.tty)
        terminal.close_tty()
        self.assertIn("nothing for a terminal", process.result().err)

    def test_a_stdout_that_cannot_be_written(self):
        for view in ((), ("--json",), ("--write", "-")):
            with open("/dev/full", "wb") as full:
                process = self.start([RELAY, "inspect", self.file("raw", self.HELLO), *view], stdout=full)
            result = process.result()
            self.assertEqual((result.code, result.err),
                             (IO, "relay inspect: write stdout: No space left on device\n"), view)

    def test_bad_input_is_named(self):
        for arguments, code, words in (
                (["/nowhere"], NO_INPUT, "open /nowhere: No such file"),
                ([self.folder], NO_INPUT, "Is a directory"),
                ([], USAGE, "where do frames come from"),
                (["--listen", "tcp://127.0.0.1:0"], USAGE, "--listen and --to go together"),
                (["--listen", "here", "--to", "there"], INVALID_ARGUMENT, "here"),
                (["-", "--filter", "chanel==x"], USAGE, "is it channel?"),
                (["-", "--hex"], INVALID_ARGUMENT, "line 1: 'what?'"),
                (["-", "--requests", "--filter", "type==RESET"], USAGE, "'type' is a field of frames"),
                (["-", "--filter", "total_us>5"], USAGE, "'total_us' is a field of exchanges"),
                (["-", "--filter", ""], USAGE, "--filter: it needs an expression"),
                (["-", "--timeline", ""], USAGE, "--timeline: it needs a request's id, or 'all'"),
                (["-", "--timeline", "zz"], USAGE, "'zz' is no id"),
                (["-", "--timeline", "abc"], USAGE, "'abc' is no id"),
                (["-", "--write", ""], USAGE, "--write: it needs a file"),
                (["--live", "tcp://127.0.0.1:1", "--channel", ""], USAGE, "--channel: it needs a channel"),
                (["--live", "tcp://127.0.0.1:1", "--client", ""], USAGE, "--client: it needs an id"),
                (["--live", "tcp://127.0.0.1:1", "--request", ""], USAGE, "--request: it needs an id"),
                (["-", "--width", "59"], USAGE, "--width"),
                (["-", "--json", "--ascii"], USAGE, "--ascii is of text"),
                (["-", "--requests", "--summary"], USAGE, "one of them"),
                (["-", "--timeline", "12345678"], FAILED_PRECONDITION, "no request 12345678"),
                (["-", "--time", "never"], USAGE, "--time"),
                (["-", "-v", "--requests"], USAGE, "-v is of frames"),
                (["--live", "tcp://127.0.0.1:1", "--client", "0000abcd"], INVALID_ARGUMENT,
                 "--client: '0000abcd' is not a UUID; --filter takes the 8 digits"),
                (["-", "--snap-bytes", "9"], USAGE, "--snap-bytes is of what --live mirrors"),
                (["-", "--dump-bytes", "9"], USAGE, "--dump-bytes is of what -v shows"),
                ([self.file("a.gz", b"\x1f\x8b\x08")], INVALID_ARGUMENT, "a.gz: it is compressed with gzip: relay "
                 "inspect reads what gzip -dc writes"),
                ([self.file("a", self.HELLO), self.file("b.pcap", bytes.fromhex("d4c3b2a1"))], INVALID_ARGUMENT,
                 "b.pcap: it is a capture, of which one is read")):
            result = self.inspect(*arguments, stdin=b"what?")
            self.assertEqual(result.code, code, (arguments, result))
            self.assertIn(words, result.err, arguments)

    def test_help_fits_80_columns(self):
        result = self.inspect("--help")
        self.assertEqual(result.code, OK)
        for line in result.out.decode().splitlines():
            self.assertLessEqual(len(line), 80, line)


class WithoutTimes(Inspect):
    """A real connection's two directions as raw bytes: nobody knows what passed when."""

    def setUp(self):
        super().setUp()
        process, through = self.inspector(self.server, "-v", "--dump-bytes", "100000")
        self.worker("shout", "--exec", "tr a-z A-Z")
        for _ in range(2):
            self.send("shout", "--method", "louder", body=b"hello", env={"RELAY_SERVER": through})
        shown = self.stop(process).out.decode()
        # Connection 1's frames, as their dumps in the order of their direction.
        self.dumps, direction = {"→": "", "←": ""}, None
        for line in shown.splitlines():
            if frame := re.match(r"[ !~] *[0-9.]+ +(\d+) ([→←])", line):
                direction = frame[2] if frame[1] == "1" else None
            elif direction in self.dumps and re.match(r" {4} *\d+  [0-9a-f]{2} ", line):
                self.dumps[direction] += line + "\n"
        self.ups = b"RELAY/1\n" + self.bytes_of(self.dumps["→"])
        self.downs = self.bytes_of(self.dumps["←"])

    @staticmethod
    def bytes_of(dump):
        return b"".join(bytes.fromhex(line[12:62].strip()) for line in dump.splitlines())

    def shown(self, *arguments, stdin=b""):
        result = self.inspect(*arguments, "--json", "--strict", stdin=stdin)
        self.assertEqual(result.code, OK, result)
        return [json.loads(line) for line in result.out.splitlines()]

    def test_two_files_tell_of_an_exchange_what_was(self):
        up, down = self.file("up", self.ups), self.file("down", self.downs)
        for arguments, stdin in (((up, down), b""), ((down, "-"), self.ups)):
            seen = self.shown(*arguments, stdin=stdin)
            self.assertFalse(seen[0]["in_order"])
            self.assertEqual([line["type"] for line in seen if line["kind"] == "frame"][:2], ["HELLO", "WELCOME"])
            (exchange,) = [line for line in seen if line["kind"] == "exchange"]
            self.assertEqual((exchange["end"], exchange["status"], exchange["method"], exchange["channel"]),
                             ("completed", "OK", "louder", "shout"))
            self.assertNotIn("total_us", exchange)
            self.assertFalse([line for line in seen if "late" in line or "violation" in line])

    def test_a_damaged_head_is_the_servers_where_the_other_file_has_the_preface(self):
        downs = self.downs[:4] + bytes([self.downs[4] ^ 64]) + self.downs[5:]  # the type of WELCOME
        result = self.inspect(self.file("up", self.ups), self.file("down", downs), "--resync", "--json")
        self.assertEqual(result.code, OK, result)
        seen = [json.loads(line) for line in result.out.splitlines()]
        self.assertEqual([line["end"] for line in seen if line["kind"] == "exchange"], ["completed"])

    def test_of_two_that_do_not_say_whose_they_are_the_clients_comes_first(self):
        up, down = self.ups[8:], self.downs
        heads = b"".join(bytes([0, 0, 0, 8, kind]) + bytes(19) + b"12345678" for kind in (12, 13))  # PING, PONG
        for first, second, of_first in ((heads, down, "to_server"), (down, heads, "to_client"),
                                        (heads, heads, "to_server"), (up, heads, "to_server")):
            result = self.inspect(self.file("first", first), self.file("second", second), "--json")
            self.assertEqual(result.code, OK, result)
            frames = [json.loads(line) for line in result.out.splitlines() if b'"kind":"frame"' in line]
            whole = first if of_first == "to_server" else second
            self.assertEqual(sum(24 + frame["bytes"] for frame in frames if frame["direction"] == "to_server"),
                             len(whole))

    def test_one_direction_leaves_the_end_open(self):
        (exchange,) = [line for line in self.shown("-", stdin=self.ups) if line["kind"] == "exchange"]
        self.assertEqual(exchange["end"], "open")
        (exchange,) = [line for line in self.shown("-", stdin=self.downs) if line["kind"] == "exchange"]
        self.assertEqual((exchange["end"], exchange["response_bytes"]), ("completed", 5))

    def test_packets_written_of_them_know_no_more(self):
        self.inspect(self.file("up", self.ups), self.file("down", self.downs), "--write", self.path("both.pcapng"))
        seen = self.shown(self.path("both.pcapng"))
        self.assertFalse(seen[0]["in_order"])
        self.assertEqual([line["end"] for line in seen if line["kind"] == "exchange"], ["completed"])

    def test_what_is_not_judged_is_told(self):
        for arguments in (("--requests",), ("--summary",), ("--strict",)):
            self.assertIn("these bytes have no times", self.inspect("-", *arguments, stdin=self.ups).err)
        result = self.inspect("-", "--timeline", "all", stdin=self.ups)
        self.assertEqual(result.code, FAILED_PRECONDITION)
        self.assertIn("a raw capture has no times", result.err)

    def test_strict_fails_at_a_chunk_without_start(self):
        broken = bytearray(self.ups)
        start = re.search(rb"\x06[\x01\x05\x09\x0d]\x00\x01", self.ups).start()
        broken[start:start + 2] = b"\x07\x01"  # as if it were a CHUNK
        result = self.inspect("-", "--strict", stdin=bytes(broken))
        self.assertEqual(result.code, 1)
        self.assertIn(b"not_started", result.out)

    def test_a_dump_pasted_back_shows_the_frames_again(self):
        for arrow, raw in (("→", self.ups), ("←", self.downs)):
            want = [line.get("type") for line in self.shown("-", stdin=raw) if line["kind"] == "frame"]
            pasted = self.shown("-", "--hex", stdin=self.dumps[arrow].encode())
            self.assertEqual([line["type"] for line in pasted if line["kind"] == "frame"], want)

    def test_dumps_with_stars_are_read(self):
        zeros = self.ups + bytes.fromhex("0000010007010001") + bytes(16 - 0) + bytes(256)
        want = self.inspect("-", "--json", stdin=zeros).out
        for command in (["od", "-tx1"], ["od", "-Ax", "-tx1z"], ["od", "-Ad", "-tx1"], ["hexdump", "-C"], ["xxd", "-a"]):
            if shutil.which(command[0]) is None:
                continue
            dump = subprocess.run(command, input=zeros, stdout=subprocess.PIPE, check=True).stdout
            self.assertIn(b"\n*\n", dump)
            self.assertEqual(self.inspect("-", "--hex", "--json", stdin=dump).out, want, command)


if __name__ == "__main__":
    unittest.main()

"""relay inspect against the real daemon: a proxy that changes nothing, what it shows, and its exit codes."""

import fcntl
import hashlib
import json
import os
import re
import select
import socket
import struct
import subprocess
import termios
import threading
import unittest

from harness import NO_INPUT, OK, RELAY, USAGE, RelayTest

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

    def test_lines_on_a_terminal_fit_it_and_have_colours_unless_told_not(self):
        for colour, environment in ((True, {}), (False, {"NO_COLOR": "1"})):
            screen, tty = os.openpty()
            fcntl.ioctl(tty, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
            process, through = self.inspector(self.server, stdout=tty, env={"LC_ALL": "C.UTF-8", **environment})
            os.close(tty)
            self.send("nobody", "--require-receiver", env={"RELAY_SERVER": through})
            self.interrupt(process)
            text = b""
            try:
                while data := os.read(screen, 65536):
                    text += data
            except OSError:
                pass
            os.close(screen)
            self.assertEqual(b"\x1b[" in text, colour)
            self.assertIn(b"no_receiver", text)
            for line in re.sub(rb"\x1b\[[0-9;]*m", b"", text).decode().split("\r\n"):
                self.assertLessEqual(len(line), 80, line)

    def test_a_reader_that_has_seen_enough_ends_it(self):
        process, through = self.inspector(self.server, "--json")
        process.stdout.close()
        self.send("nobody", "--require-receiver", env={"RELAY_SERVER": through})
        self.assertEqual(process.wait(), OK)


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

    def test_bad_input_is_named(self):
        for arguments, code, words in (
                (["/nowhere"], NO_INPUT, "open /nowhere: No such file"),
                ([self.folder], NO_INPUT, "Is a directory"),
                ([], USAGE, "where do frames come from"),
                (["--listen", "tcp://127.0.0.1:0"], USAGE, "--listen and --to go together"),
                (["--listen", "here", "--to", "there"], INVALID_ARGUMENT, "here"),
                (["-", "--filter", "chanel==x"], USAGE, "is it channel?"),
                (["-", "--hex"], INVALID_ARGUMENT, "line 1: 'what?'"),
                (["-", "--requests", "--summary"], USAGE, "one of them"),
                (["-", "--timeline", "12345678"], FAILED_PRECONDITION, "no request 12345678"),
                (["-", "--time", "never"], USAGE, "--time")):
            result = self.inspect(*arguments, stdin=b"what?")
            self.assertEqual(result.code, code, (arguments, result))
            self.assertIn(words, result.err, arguments)

    def test_help_fits_80_columns(self):
        result = self.inspect("--help")
        self.assertEqual(result.code, OK)
        for line in result.out.decode().splitlines():
            self.assertLessEqual(len(line), 80, line)


if __name__ == "__main__":
    unittest.main()

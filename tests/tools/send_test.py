"""relay send: its body, its options, its streams."""

import os
import re
import signal
import time
import unittest

from harness import CANCELLED, DEADLINE_EXCEEDED, OK, RESOURCE_EXHAUSTED, UNAVAILABLE, RelayTest

ENVIRONMENT = "env | grep ^RELAY_ | sort"


class Body(RelayTest):
    def setUp(self):
        super().setUp()
        self.worker("echo", "--echo")

    def test_comes_from_stdin(self):
        self.assertEqual(self.send("echo", body=b"from stdin\n"), (OK, b"from stdin\n", ""))

    def test_comes_from_a_file(self):
        content = os.urandom(300_000)
        self.assertEqual(self.send("echo", "--file", self.file("body", content)), (OK, content, ""))

    def test_comes_from_stdin_where_the_file_is_a_dash(self):
        self.assertEqual(self.send("echo", "--file", "-", body=b"a dash").out, b"a dash")

    def test_comes_from_a_text_whatever_it_looks_like(self):
        for text in ("hello", "", "[1,2,3]", '{"a": [1]}', "a b  c\n", "%s \\n 'x'", "=", "gr\u00fc\u00df"):
            with self.subTest(text=text):
                self.assertEqual(self.send("echo", "--data", text), (OK, text.encode(), ""))

    def test_may_begin_with_a_dash_behind_an_equals_sign(self):
        self.assertEqual(self.send("echo", "--data=--file").out, b"--file")

    def test_is_binary_and_of_every_size_around_a_block_and_a_window(self):
        for size in (0, 1, 65535, 65536, 65537, 262143, 262144, 262145, 5 << 20):
            with self.subTest(size=size):
                content = os.urandom(size)
                self.assertEqual(self.send("echo", "--file", self.file("body", content)), (OK, content, ""))

    def test_of_a_channel_by_uuid_is_that_of_its_name(self):
        # UUIDv5 of "echo" over UUIDv5(NAMESPACE_URL, "relay:channel").
        self.assertEqual(self.send("c2a56567-baec-5cb3-b658-e3d376bbf4e5", "--data", "x", "--timeout", "1h").out, b"x")


class Options(RelayTest):
    def test_reach_the_command_as_its_environment(self):
        self.worker("env", "--exec", ENVIRONMENT)
        got = self.send("env", "--method", "resize", "--content-type", "image/png", "--meta", "size=200x200",
                        "--meta", "a=b=c", "--timeout", "1h", body=b"x")
        self.assertEqual(got.code, OK)
        variables = dict(line.split("=", 1) for line in got.out.decode().splitlines())
        self.assertEqual(variables["RELAY_CHANNEL"], "env")
        self.assertEqual(variables["RELAY_METHOD"], "resize")
        self.assertEqual(variables["RELAY_CONTENT_TYPE"], "image/png")
        self.assertEqual(variables["RELAY_META_SIZE"], "200x200")
        self.assertEqual(variables["RELAY_META_A"], "b=c")
        self.assertEqual(variables["RELAY_ATTEMPT"], "1")
        self.assertTrue(3_500_000 < int(variables["RELAY_TIMEOUT_MS"]) <= 3_600_000, variables["RELAY_TIMEOUT_MS"])
        for name in ("RELAY_REQUEST_ID", "RELAY_SENDER_ID"):
            self.assertRegex(variables[name], r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")

    def test_may_stand_before_the_channel(self):
        self.worker("env", "--exec", "echo $RELAY_META_A")
        process = self.relay("send", "--meta", "a=1", "env", "--data", "x")
        self.assertEqual(process.result().out, b"1\n")

    def test_show_meta_tells_of_the_answer_on_stderr(self):
        self.worker("echo", "--echo")
        got = self.send("echo", "--show-meta", "--method", "m", "--content-type", "text/plain", "--meta", "k=v",
                        body=b"x")
        self.assertEqual((got.code, got.out), (OK, b"x"))
        shown = dict(re.split(r": +", line, maxsplit=1) for line in got.err.splitlines())
        self.assertEqual(shown["method"], "m")
        self.assertEqual(shown["content-type"], "text/plain")
        self.assertEqual(shown["meta"], "k=v")
        self.assertEqual(shown["attempt"], "1")
        self.assertRegex(shown["receiver"], r"^[0-9a-f-]{36}$")
        self.assertRegex(shown["request"], r"^[0-9a-f-]{36}$")

    def test_show_meta_shows_no_control_character(self):
        self.worker("echo", "--echo")
        got = self.send("echo", "--show-meta", "--meta", "k=\x1b[31mred\x9b", body=b"x")
        self.assertIn("k=?[31mred?", got.err)

    def test_idempotent_is_done_again_where_the_first_worker_dies(self):
        first = self.worker("fragile", "--exec", "kill -9 $PPID")
        sender = self.sender("fragile", "--idempotent", "--data", "x")
        self.assertEqual(first.wait(), -signal.SIGKILL)
        self.worker("fragile", "--exec", "echo attempt $RELAY_ATTEMPT")
        self.assertEqual(sender.result(), (OK, b"attempt 2\n", ""))

    def test_an_idempotent_request_outlives_its_server(self):
        self.server = f"unix:{self.path('relay.sock')}"
        relayd = self.start_relayd(self.server)
        worker = self.worker("fragile", "--exec", f"echo up >&2; cat {self.gate('gate')}")
        sender = self.sender("fragile", "--idempotent", "--data", "x")
        worker.wait_for("up")
        relayd.signal(signal.SIGKILL)
        self.start_relayd(self.server)
        worker.wait_for("up")
        with open(self.path("gate"), "wb") as gate:
            gate.write(b"done")
        self.assertEqual(sender.result(), (OK, b"done", ""))

    def test_a_refusal_says_when_to_try_again(self):
        self.server = self.start_relayd("tcp://127.0.0.1:0", "--queue-count", "1").address
        # One of the two is queued, the other one refused: then the queue is full, and stays so.
        first, second = self.sender("full", "--data", "x"), self.sender("full", "--data", "x")
        while first.process.poll() is None and second.process.poll() is None:
            time.sleep(0.01)
        got = self.send("full", body=b"x")
        self.assertEqual(got.code, RESOURCE_EXHAUSTED)
        self.assertRegex(got.err, r"^relay send: RESOURCE_EXHAUSTED queue_count: .*; try again in [1-9]\d* ms\n$")

    def test_require_receiver_finds_one_that_works(self):
        self.worker("echo", "--echo")
        self.assertEqual(self.send("echo", body=b"first").code, OK)
        self.assertEqual(self.send("echo", "--require-receiver", body=b"x"), (OK, b"x", ""))

    def test_server_of_the_command_line_is_taken_before_that_of_the_environment(self):
        self.worker("echo", "--echo")
        got = self.send("echo", "--server", self.server, body=b"x", env={"RELAY_SERVER": "tcp://127.0.0.1:1"})
        self.assertEqual(got, (OK, b"x", ""))

    def test_servers_are_tried_in_turn(self):
        self.worker("echo", "--echo")
        got = self.send("echo", "--server", f"tcp://127.0.0.1:1,{self.server}", body=b"x")
        self.assertEqual(got, (OK, b"x", ""))

    def test_server_may_be_a_unix_socket(self):
        self.server = self.start_relayd(f"unix:{self.path('relay.sock')}").address
        self.worker("echo", "--echo")
        self.assertEqual(self.send("echo", body=b"x"), (OK, b"x", ""))


class Streams(RelayTest):
    def test_run_both_ways_at_once(self):
        self.worker("lines", "--exec", 'while read -r line; do echo "got $line"; done')
        sender = self.sender("lines")
        for line in (b"one", b"two", b"three"):
            sender.stdin.write(line + b"\n")
            self.assertEqual(sender.stdout.readline(), b"got " + line + b"\n")
        self.assertEqual(sender.result(), (OK, b"", ""))

    def test_a_request_may_come_before_any_worker(self):
        senders = [self.sender("later", "--data", f"{i}") for i in range(3)]
        self.worker("later", "--echo")
        self.assertEqual([sender.result().out for sender in senders], [b"0", b"1", b"2"])

    def test_an_answer_that_comes_before_the_request_has_been_read_ends_it(self):
        self.worker("early", "--exec", "echo early")
        sender = self.sender("early")
        sender.stdin.write(b"x")
        # Its stdin stays open: the sender ends all the same.
        self.assertEqual(sender.stdout.read(), b"early\n")
        self.assertEqual(sender.wait(), OK)

    def test_a_large_request_that_nobody_reads_is_answered(self):
        worker = self.worker("deaf", "--exec", "exec <&-; echo deaf")
        body = self.file("body", bytes(16 << 20))
        for _ in range(3):
            self.assertEqual(self.send("deaf", "--file", body), (OK, b"deaf\n", ""))
            worker.wait_for("OK")

    def test_a_closed_stdout_cancels_the_request(self):
        worker = self.worker("endless", "--exec", "yes")
        sender = self.sender("endless", "--data", "x")
        self.assertEqual(sender.stdout.read(2), b"y\n")
        sender.stdout.close()
        self.assertEqual(sender.result(), (CANCELLED, b"", ""))
        worker.wait_for("CANCELLED")

    def test_a_sender_that_is_interrupted_cancels_the_request(self):
        worker = self.worker("endless", "--exec", "yes")
        sender = self.sender("endless", "--data", "x")
        self.assertEqual(sender.stdout.read(2), b"y\n")
        self.interrupt(sender)
        self.assertEqual(sender.wait(), -signal.SIGINT)
        worker.wait_for("CANCELLED")


class Repeat(RelayTest):
    def test_prints_rate_percentiles_and_ends(self):
        self.worker("echo", "--echo", "--concurrency", "4")
        got = self.send("echo", "--repeat", "500", "--concurrency", "8", "--data", "hello")
        self.assertEqual((got.code, got.out), (OK, b""))
        self.assertRegex(got.err, r"^500 requests in .* \d+ requests/s, p50 .*s, p99 .*s\n +500 OK\n$")

    def test_one_is_a_request(self):
        self.worker("echo", "--echo")
        self.assertRegex(self.send("echo", "--repeat", "1").err, "^1 request in ")

    def test_sends_the_file_each_time(self):
        worker = self.worker("sink", "--exec", "cksum")
        self.assertEqual(self.send("sink", "--repeat", "3", "--file", self.file("body", bytes(300_000))).code, OK)
        for _ in range(3):
            worker.wait_for(r"293.0 KiB in .* OK")

    def test_counts_the_ends_by_status_and_exits_with_the_first_failure(self):
        got = self.send("nobody", "--repeat", "7", "--concurrency", "3", "--require-receiver")
        self.assertEqual(got.code, UNAVAILABLE)
        self.assertIn("\n         7 UNAVAILABLE no_receiver\n", got.err)

    def test_of_requests_that_cannot_even_begin_comes_to_its_end(self):
        got = self.send("nobody", "--repeat", "200000", "--concurrency", "2", "--timeout", "0")
        self.assertEqual(got.code, DEADLINE_EXCEEDED)
        self.assertIn("\n    200000 DEADLINE_EXCEEDED\n", got.err)

    def test_that_is_interrupted_finishes_what_runs_and_prints_what_was(self):
        worker = self.worker("echo", "--echo")
        sender = self.sender("echo", "--repeat", "1000000000", "--data", "x")
        worker.wait_for("OK")
        self.interrupt(sender)
        sender.wait_for(r"^\d{1,9} requests? in ")
        self.assertEqual(sender.wait(), OK)

    def test_that_is_interrupted_twice_ends_at_once(self):
        sender = self.sender("nobody", "--repeat", "2", "--data", "x", "--timeout", "1h")
        worker = self.worker("nobody", "--exec", f"echo started >&2; cat {self.gate('gate')}")
        worker.wait_for("started")
        self.interrupt(sender)
        sender.wait_for("finishing")
        self.interrupt(sender)
        self.assertEqual(sender.wait(), 128 + signal.SIGINT)


if __name__ == "__main__":
    unittest.main()

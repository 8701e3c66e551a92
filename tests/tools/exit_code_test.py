"""Every exit code of `relay` that can be provoked, and what its help says of them."""

import os
import re
import subprocess
import tty
import unittest

from harness import (CANCELLED, DEADLINE_EXCEEDED, INTERNAL, INVALID_ARGUMENT, IO, NO_INPUT, OK, RELAY,
                     RESOURCE_EXHAUSTED, UNAVAILABLE, USAGE, RelayTest)

CODES = ("CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED "
         "RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS "
         "UNAUTHENTICATED").split()


class Status(RelayTest):
    def test_is_0_where_the_answer_is_complete(self):
        self.worker("echo", "--echo")
        self.assertEqual(self.send("echo", body=b"x").code, OK)

    def test_says_that_nobody_answered_in_time(self):
        got = self.send("nobody", "--timeout", "50ms", body=b"x")
        self.assertEqual((got.code, got.out), (DEADLINE_EXCEEDED, b""))
        self.assertIn("DEADLINE_EXCEEDED", got.err)

    def test_says_that_there_was_no_time_at_all(self):
        self.worker("echo", "--echo")
        self.assertEqual(self.send("echo", "--timeout", "0", body=b"x").code, DEADLINE_EXCEEDED)

    def test_says_that_no_receiver_is_there(self):
        got = self.send("nobody", "--require-receiver", body=b"x")
        self.assertEqual((got.code, got.out), (UNAVAILABLE, b""))
        self.assertNotIn("may have been worked on", got.err)

    def test_says_that_the_worker_failed(self):
        self.worker("bad", "--exec", "exit 1")
        self.assertEqual(self.send("bad", body=b"x").code, INTERNAL)

    def test_says_that_the_server_cannot_be_reached(self):
        for command in ("send", "receive"):
            with self.subTest(command=command):
                got = self.relay(command, "any", "--server", "tcp://127.0.0.1:1").result()
                self.assertEqual(got.code, UNAVAILABLE)
                self.assertIn("connect tcp://127.0.0.1:1: connection refused", got.err)

    def test_says_that_a_channel_or_a_server_cannot_be(self):
        for command in ("send", "receive"):
            for arguments in (["x" * 256], ["a\nb"], ["any", "--server", "http://127.0.0.1"]):
                with self.subTest(command=command, arguments=arguments):
                    self.assertEqual(self.relay(command, *arguments).result().code, INVALID_ARGUMENT)

    def test_says_that_metadata_are_too_large(self):
        self.assertEqual(self.send("any", "--meta", "k=" + "v" * 20_000, body=b"x").code, INVALID_ARGUMENT)


class FullQueue(RelayTest):
    relayd_flags = ("--queue-count", "1")

    def test_has_a_code_of_its_own(self):
        senders = [self.sender("full", "--data", "x") for _ in range(2)]
        pids = {sender.pid: sender for sender in senders}
        refused = pids.pop(os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT).si_pid)
        self.assertEqual(refused.result().code, RESOURCE_EXHAUSTED)
        self.worker("full", "--echo")
        self.assertEqual([sender.result() for sender in pids.values()], [(OK, b"x", "")])


class Files(RelayTest):
    def test_a_file_that_cannot_be_opened(self):
        got = self.send("any", "--file", self.path("missing"))
        self.assertEqual(got.code, NO_INPUT)
        self.assertEqual(got.err, f"relay send: open {self.path('missing')}: No such file or directory\n")

    def test_a_file_that_cannot_be_read(self):
        self.worker("sink", "--exec", "cat >/dev/null")
        got = self.send("sink", "--file", self.folder)
        self.assertEqual(got.code, IO)
        self.assertEqual(got.err, f"relay send: read {self.folder}: Is a directory\n")

    def test_a_source_that_fails_in_the_middle_resets_the_request(self):
        worker = self.worker("sink", "--exec", "head -c 5 >&2; echo >&2; cat >/dev/null; echo took it for whole >&2")
        # Reading the master of a terminal fails (EIO) once nobody has its other side open.
        master, slave = os.openpty()
        tty.setraw(slave)
        sender = self.sender("sink", stdin=master)
        os.write(slave, b"hello")
        worker.wait_for("hello")
        os.close(slave)
        got = sender.result()
        os.close(master)
        self.assertEqual(got, (IO, b"", "relay send: read stdin: Input/output error\n"))
        worker.wait_for("CANCELLED")
        self.assertNotIn("took it for whole", worker.seen)

    def test_a_stdout_that_cannot_be_written(self):
        worker = self.worker("endless", "--exec", "yes")
        with open("/dev/full", "wb") as full:
            got = self.send("endless", body=b"x", stdout=full)
        self.assertEqual(got.code, IO)
        self.assertEqual(got.err, "relay send: write stdout: No space left on device\n")
        worker.wait_for("CANCELLED")

    def test_a_stdout_that_is_closed_from_the_start(self):
        self.worker("echo", "--echo")
        shell = self.start(["/bin/sh", "-c", '"$0" send echo --data x >&-', RELAY], env={"RELAY_SERVER": self.server})
        self.assertEqual(shell.result(), (IO, b"", "relay send: write stdout: Bad file descriptor\n"))

    def test_a_stdout_that_nobody_reads_any_more(self):
        self.worker("echo", "--echo")
        reading, writing = os.pipe()
        os.close(reading)
        got = self.send("echo", body=b"x", stdout=writing)
        os.close(writing)
        self.assertEqual(got, (CANCELLED, b"", ""))


class Usage(RelayTest):
    def test_has_a_code_of_its_own(self):
        send = ("send", "any")
        receive = ("receive", "any")
        for arguments in ((), ("nope",), ("--nope",), ("send",), ("receive",), (*send, "--nope"), (*send, "another"),
                          (*receive, "--nope"), (*send, "--timeout", "30"), (*send, "--timeout", "-1s"),
                          (*send, "--timeout", "1d"), (*send, "--timeout", "s"), (*send, "--timeout", "50h1m"),
                          (*send, "--timeout", "2000h"), (*send, "--meta", "k"), (*send, "--meta", "=v"),
                          (*send, "--data", "x", "--file", "y"), (*send, "--data"), (*send, "--repeat", "0"),
                          (*send, "--repeat", "x"), (*send, "--concurrency", "2"),
                          (*send, "--repeat", "2", "--concurrency", "0"), (*send, "--method"),
                          (*receive, "--exec", "cat", "--echo"), (*receive, "--concurrency", "2"),
                          (*receive, "--echo", "--concurrency", "0"), (*receive, "--count", "0"),
                          (*receive, "--count", "-1"), (*receive, "--wait", "5"), (*receive, "-q", "-v")):
            with self.subTest(arguments=arguments):
                got = self.relay(*arguments).result()
                self.assertEqual((got.code, got.out), (USAGE, b""))
                self.assertRegex(got.err, r"^relay( send| receive)?: .+\nrelay.* --help shows what there is\n$")

    def test_an_empty_value_is_refused_by_name(self):
        for arguments in (("send", "any", "--server"), ("send", "any", "--file"), ("receive", "any", "--server"),
                          ("receive", "any", "--exec"), ("inspect", "--listen", "a", "--to"), ("inspect", "--live"),
                          ("inspect", "file", "--port"), ("inspect", "file", "-v", "--dump-bytes"),
                          ("inspect", "--live", "a", "--snap-bytes"), ("bench", "raw", "--server"),
                          ("bench", "raw", "--relayd"), ("bench", "raw", "--frames"), ("bench", "raw", "--warm-up")):
            with self.subTest(arguments=arguments):
                got = self.relay(*arguments, "").result()
                self.assertEqual((got.code, got.out), (USAGE, b""))
                self.assertRegex(got.err, f"^relay {arguments[0]}: {arguments[-1]}: .*it needs ")

    def test_a_value_that_is_cut_off_is_empty_and_not_the_next_argument(self):
        got = self.relay("send", "nobody", "--method=", "--require-receiver", "--timeout", "1s", "--data=").result()
        self.assertEqual(got.code, UNAVAILABLE)
        got = self.relay("send", "any", "--server=", "--data", "x").result()
        self.assertEqual(got.code, USAGE)
        self.assertIn("--server: '' lacks a URL", got.err)

    def test_what_stands_where_a_value_does_is_that_value(self):
        self.worker("echo", "--echo")
        got = self.send("echo", "--data", "--method=")
        self.assertEqual((got.code, got.out), (OK, b"--method="))

    def test_a_list_of_servers_has_no_gap(self):
        for url in (",", "tcp://127.0.0.1:1,", ",tcp://127.0.0.1:1", "tcp://127.0.0.1:1,,tcp://127.0.0.1:1"):
            for command in (("send", "any"), ("receive", "any"), ("bench", "raw")):
                with self.subTest(url=url, command=command):
                    words = f"'{url}' lacks a URL: it needs one, or several with a comma between\n"
                    got = self.relay(*command, "--server", url).result()
                    self.assertEqual(got.code, USAGE)
                    self.assertIn(f"relay {command[0]}: --server: {words}", got.err)
                    got = self.relay(*command, env={"RELAY_SERVER": url}).result()
                    self.assertEqual(got.code, USAGE)
                    self.assertIn(f"relay {command[0]}: RELAY_SERVER: {words}", got.err)


class Help(unittest.TestCase):
    def run_relay(self, *arguments):
        return subprocess.run([RELAY, *arguments], capture_output=True, text=True, check=False)

    def test_is_on_stdout_and_80_columns_wide(self):
        for arguments in (["--help"], ["-h"], ["send", "--help"], ["receive", "--help"], ["send", "-h"], ["--version"]):
            with self.subTest(arguments=arguments):
                got = self.run_relay(*arguments)
                self.assertEqual((got.returncode, got.stderr), (OK, ""))
                self.assertLessEqual(max(map(len, got.stdout.splitlines())), 80)

    def test_that_cannot_be_written_is_a_failure(self):
        for command, arguments in (("relay", ["--help"]), ("relay", ["--version"]), ("relay send", ["send", "--help"])):
            with self.subTest(arguments=arguments), open("/dev/full", "wb") as full:
                got = subprocess.run([RELAY, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
                self.assertEqual((got.returncode, got.stderr),
                                 (IO, f"{command}: write stdout: No space left on device\n"))

    def test_that_nobody_reads_is_given_up_without_a_word(self):
        reading, writing = os.pipe()
        os.close(reading)
        got = subprocess.run([RELAY, "--help"], stdout=writing, stderr=subprocess.PIPE, check=False)
        os.close(writing)
        self.assertEqual((got.returncode, got.stderr), (CANCELLED, b""))

    def test_says_the_version(self):
        self.assertRegex(self.run_relay("--version").stdout, r"^relay \d+\.\d+\.\d+\n$")

    def test_has_a_line_for_every_exit_code(self):
        table = dict(re.findall(r"^ +(\d+)  (\S+) ", self.run_relay("--help").stdout, re.MULTILINE))
        wanted = {str(11 + number): name for number, name in enumerate(CODES)}
        self.assertEqual(table, {"0": "OK", **wanted, "64": "usage", "66": "no", "74": "I/O"})

    def test_names_the_options_that_there_are(self):
        values = {"--repeat": "1", "--concurrency": "1", "--count": "1", "--timeout": "1s", "--wait": "1s",
                  "--max-extension": "1s", "--extend": "1s"}
        for command in ("send", "receive"):
            text = self.run_relay(command, "--help").stdout
            listed = re.findall(r"^  (?:-., )?(--[a-z-]+)( [A-Z])?", text, re.MULTILINE)
            self.assertGreater(len(listed), 6)
            for name, value in listed:
                with self.subTest(command=command, name=name):
                    argument = [values.get(name, "a=b")] if value else []
                    # What is wrong here is the channel that is missing, or what else the option needs: not the option.
                    err = self.run_relay(command, name, *argument).stderr
                    self.assertRegex(err, "CHANNEL is required|requires --repeat")
                    self.assertRegex(self.run_relay(command, name + "x").stderr, "not expected|CHANNEL is required")


if __name__ == "__main__":
    unittest.main()

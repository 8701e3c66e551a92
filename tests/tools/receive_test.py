"""relay receive: its modes, its command, how it stops, and what it does when others go."""

import os
import re
import select
import signal
import subprocess
import unittest

from harness import CANCELLED, DEADLINE_EXCEEDED, FAILURE_SECONDS, INTERNAL, IO, OK, UNAVAILABLE, RelayTest

# Says "up", and lasts until SIGTERM, of which it tells on stderr.
TRAP = "trap 'echo cleaned >&2; exit 0' TERM; echo up; while :; do sleep 1; done"


class Command(RelayTest):
    def test_finds_metadata_under_names_that_a_shell_can_say(self):
        self.worker("env", "--exec", 'printf "%s|" "$RELAY_META_PAGE_SIZE" "$RELAY_META_GR__E"')
        got = self.send("env", "--meta", "page-size=4", "--meta", "Page.Size=5", "--meta", "gr\u00fce=x", body=b"x")
        self.assertEqual(got.out, b"4\n5|x|")

    def test_does_not_find_what_the_worker_itself_inherited(self):
        self.worker("env", "--exec", "env", env={"RELAY_META_OLD": "1", "RELAY_TIMEOUT_MS": "1", "KEPT": "yes"})
        variables = self.send("env", body=b"x").out.decode().splitlines()
        self.assertIn("KEPT=yes", variables)
        self.assertEqual([v for v in variables if v.startswith(("RELAY_META", "RELAY_TIMEOUT"))], [])

    def test_inherits_no_descriptor_but_its_own_three(self):
        self.worker("fds", "--concurrency", "4", "--exec", "ls /proc/self/fd | tr '\\n' ' '")
        senders = [self.sender("fds", "--data", "x") for _ in range(8)]
        # The fourth is the folder that ls reads.
        self.assertEqual({sender.result().out for sender in senders}, {b"0 1 2 3 "})

    def test_has_the_signals_of_a_new_process(self):
        self.worker("signals", "--exec", "grep -E '^Sig(Blk|Ign)' /proc/self/status")
        masks = dict(line.split(":\t") for line in self.send("signals", body=b"x").out.decode().splitlines())
        self.assertEqual(int(masks["SigBlk"], 16), 0)
        for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM):
            self.assertEqual(int(masks["SigIgn"], 16) & 1 << (number - 1), 0, number)

    def test_that_fails_gives_its_exit_and_last_line_to_the_sender(self):
        worker = self.worker("bad", "--exec", "echo partly; printf 'first\\nlast words\\n\\n' >&2; exit 3")
        got = self.send("bad", body=b"x")
        self.assertEqual(got, (INTERNAL, b"partly\n", "relay send: INTERNAL: exit status 3: last words\n"))
        worker.wait_for("^first$")
        worker.wait_for("INTERNAL: exit status 3: last words$")

    def test_whose_last_line_is_no_text_gives_what_can_be_shown(self):
        self.worker("bad", "--exec", r"printf '\033[31mred \303\274 \377' >&2; exit 1")
        self.assertEqual(self.send("bad", body=b"x").err, "relay send: INTERNAL: exit status 1: ?[31mred \u00fc ?\n")

    def test_whose_last_line_is_long_gives_a_part_of_it(self):
        self.worker("bad", "--exec", "head -c 100000 /dev/zero | tr '\\0' a >&2; exit 1")
        err = self.send("bad", body=b"x").err
        self.assertRegex(err, "^relay send: INTERNAL: exit status 1: a{240}\n$")

    def test_that_a_signal_ends_names_the_signal(self):
        self.worker("bad", "--exec", "kill -KILL $$")
        self.assertEqual(self.send("bad", body=b"x").err, "relay send: INTERNAL: killed by signal 9 (Killed)\n")

    def test_that_does_not_exist_says_so(self):
        self.worker("bad", "--exec", "no-such-command")
        got = self.send("bad", body=b"x")
        self.assertEqual(got.code, INTERNAL)
        self.assertRegex(got.err, "exit status 127: .*no-such-command.*not found")

    def test_that_closes_its_stdout_first_is_waited_for(self):
        self.worker("mute", "--exec", "exec >&-; cat >/dev/null; exit 4")
        got = self.send("mute", body=b"x")
        self.assertEqual((got.code, got.out), (INTERNAL, b""))
        self.assertIn("exit status 4", got.err)

    def test_is_not_waited_for_where_it_leaves_a_process_behind(self):
        self.worker("leaver", "--exec", "sleep 1000 >/dev/null <&- & echo $!")
        got = self.send("leaver", body=bytes(1 << 20))
        self.assertEqual(got.code, OK)
        os.kill(int(got.out), signal.SIGKILL)

    def test_gets_sigterm_when_the_sender_goes(self):
        worker = self.worker("trap", "--exec", TRAP)
        sender = self.sender("trap", "--data", "x")
        self.assertEqual(sender.stdout.readline(), b"up\n")
        sender.signal(signal.SIGKILL)
        worker.wait_for("^cleaned$")
        worker.wait_for("CANCELLED")

    def test_gets_sigterm_when_its_time_is_over(self):
        worker = self.worker("trap", "--exec", TRAP)
        got = self.send("trap", "--timeout", "3s", body=b"x")
        self.assertEqual((got.code, got.out), (DEADLINE_EXCEEDED, b"up\n"))
        worker.wait_for("^cleaned$")
        worker.wait_for("DEADLINE_EXCEEDED")

    def test_does_not_see_the_end_of_a_body_that_was_cut_short(self):
        worker = self.worker("whole", "--exec", "echo up; cat >/dev/null; echo took it for whole >&2")
        sender = self.sender("whole")
        sender.stdin.write(b"the beginning")
        self.assertEqual(sender.stdout.readline(), b"up\n")
        sender.signal(signal.SIGKILL)
        worker.wait_for("CANCELLED")
        self.assertNotIn("took it for whole", worker.seen)

    def test_that_ignores_sigterm_is_killed_with_all_that_it_started(self):
        worker = self.worker("stubborn", "--exec", "trap '' TERM; sleep 1000 & echo $$ $!; wait; wait")
        sender = self.sender("stubborn", "--data", "x")
        ends = [self.end_of(int(pid)) for pid in sender.stdout.readline().split()]
        self.interrupt(sender)
        self.assertGreaterEqual(float(worker.wait_for(r" (\d+\.\d) s +CANCELLED")[1]), 5)
        for end in ends:
            self.assertEqual(select.select([end], [], [], FAILURE_SECONDS)[0], [end])

    def test_runs_as_often_at_once_as_concurrency_says(self):
        # Held open for both ways, so that no command misses it; each takes one of its lines.
        gate = os.open(path := self.gate("gate"), os.O_RDWR)
        self.addCleanup(os.close, gate)
        worker = self.worker("slow", "--concurrency", "3", "--exec", f"echo started >&2; read -r line <{path}")
        senders = [self.sender("slow", "--data", "x") for _ in range(3)]
        for _ in senders:
            worker.wait_for("started")
        self.assertEqual(len(self.children(worker)), 3)
        os.write(gate, b"\n\n\n")
        self.assertEqual([sender.result().code for sender in senders], [OK] * 3)

    def end_of(self, pid):
        """A descriptor that is readable once the process has ended."""
        end = os.pidfd_open(pid)
        self.addCleanup(os.close, end)
        return end

    def children(self, process):
        found = subprocess.run(["pgrep", "-P", str(process.pid)], stdout=subprocess.PIPE, check=True)
        return found.stdout.split()


class Modes(RelayTest):
    def test_without_work_bodies_go_to_stdout_and_answers_are_empty(self):
        worker = self.worker("inbox", "--count", "2")
        self.assertEqual(self.send("inbox", body=b"one,"), (OK, b"", ""))
        self.assertEqual(self.send("inbox", body=b"two"), (OK, b"", ""))
        self.assertEqual(worker.result()[:2], (OK, b"one,two"))

    def test_a_body_on_stdout_that_was_cut_short_shows_in_the_exit_code(self):
        worker = self.worker("inbox", "--count", "1")
        sender = self.sender("inbox")
        sender.stdin.write(b"the beginning")
        self.assertEqual(worker.stdout.read(13), b"the beginning")
        self.interrupt(sender)
        self.assertEqual(worker.result().code, CANCELLED)

    def test_a_stdout_that_nobody_reads_gives_the_request_back_and_ends_the_worker(self):
        worker = self.worker("inbox")
        worker.stdout.close()
        sender = self.sender("inbox", "--idempotent", "--data", "x")
        got = worker.result()
        self.assertEqual(got.code, IO)
        self.assertIn("write stdout: Broken pipe", got.err)
        self.assertEqual(self.worker("inbox", "--count", "1").result()[:2], (OK, b"x"))
        self.assertEqual(sender.result().code, OK)

    def test_count_is_how_many_it_takes(self):
        worker = self.worker("three", "--echo", "--count", "3", "--concurrency", "2")
        senders = [self.sender("three", "--data", "x", "--timeout", "1h") for _ in range(4)]
        self.assertEqual(worker.wait(), OK)
        self.worker("three", "--echo")
        self.assertEqual([sender.result().code for sender in senders], [OK] * 4)
        self.assertEqual(len(re.findall("  OK$", worker.result().err, re.MULTILINE)), 3)

    def test_wait_that_nothing_came_in_has_a_code_of_its_own(self):
        got = self.relay("receive", "quiet", "--wait", "50ms", "--concurrency", "3", "--echo").result()
        self.assertEqual(got.code, DEADLINE_EXCEEDED)
        self.assertIn("DEADLINE_EXCEEDED: 0 requests came, the last wait was of 50.0 ms", got.err)

    def test_wait_of_zero_takes_what_is_there(self):
        senders = [self.sender("jobs", "--data", "x") for _ in range(3)]
        first = self.worker("jobs", "--echo", "--count", "1")
        self.assertEqual(first.wait(), OK)
        # Those that had come by now; the others get the next worker.
        self.relay("receive", "jobs", "--echo", "--wait", "0").wait()
        self.worker("jobs", "--echo")
        self.assertEqual([sender.result().code for sender in senders], [OK] * 3)

    def queued_sender(self):
        """A sender on "jobs" whose request waits at the server."""
        relayd = self.start_relayd("tcp://127.0.0.1:0", log_level="info")
        self.server = relayd.address
        sender = self.sender("jobs", "--data", "x")
        while self.metrics(relayd)["requests_accepted"] < 1:
            pass
        return sender

    def test_wait_that_ends_the_work_is_no_failure(self):
        sender = self.queued_sender()
        worker = self.relay("receive", "jobs", "--echo", "--wait", "2s")
        self.assertEqual(sender.result().code, OK)
        self.assertEqual(worker.wait(), OK)

    def test_wait_that_ends_before_the_count_is_a_failure(self):
        sender = self.queued_sender()
        worker = self.relay("receive", "jobs", "--echo", "--wait", "2s", "--count", "2")
        self.assertEqual(sender.result().code, OK)
        got = worker.result()
        self.assertEqual(got.code, DEADLINE_EXCEEDED)
        self.assertIn("DEADLINE_EXCEEDED: 1 request came, the last wait was of 2.0 s", got.err)

    def test_quiet_says_nothing_of_requests_and_the_default_only_what_failed(self):
        for flags, lines in (["--quiet"], 0), ([], 1), (["--verbose"], 2):
            with self.subTest(flags=flags):
                worker = self.relay("receive", "talk", "--count", "2", *flags, "--exec", 'exit "$RELAY_METHOD"')
                self.assertEqual(self.send("talk", "--method", "0", body=b"x").code, OK)
                self.assertEqual(self.send("talk", "--method", "1", body=b"x").code, INTERNAL)
                got = worker.result()
                self.assertEqual(got.code, OK)
                self.assertEqual(len(re.findall(r"^[0-9a-f]{8}  [01] ", got.err, re.MULTILINE)), lines)
                self.assertEqual("waiting" in got.err, flags != ["--quiet"])

    def test_its_line_for_a_request_fits_80_columns(self):
        worker = self.worker("line", "--echo")
        self.send("line", "--method", "a-method-with-a-long-name", "--file", self.file("body", bytes(3_000_000)))
        line = worker.wait_for("  OK$").string
        self.assertRegex(line, r"^[0-9a-f]{8}  a-method-wit +2\.9 MiB in +2\.9 MiB out +[0-9.]+ m?s  OK$")
        self.assertLessEqual(len(line), 80)


class Extend(RelayTest):
    # Longer than the sender's timeout, and than what its side adds to that.
    SLOW = "sleep 3.5; echo done"

    def test_keeps_a_request_alive_that_its_sender_lets_run_longer(self):
        self.worker("slow", "--extend", "1h", "--exec", self.SLOW)
        got = self.send("slow", "--timeout", "2s", "--max-extension", "1h", body=b"x")
        self.assertEqual(got, (OK, b"done\n", ""))

    def test_goes_on_asking_no_longer_than_its_sender_allows(self):
        self.worker("slow", "--extend", "200ms", "--exec", "sleep 1000")
        got = self.send("slow", "--timeout", "500ms", "--max-extension", "1s", body=b"x")
        self.assertEqual(got.code, DEADLINE_EXCEEDED)

    def test_helps_nothing_where_its_sender_allows_nothing(self):
        self.worker("slow", "--extend", "1h", "--exec", "sleep 1000")
        self.assertEqual(self.send("slow", "--timeout", "500ms", body=b"x").code, DEADLINE_EXCEEDED)

    def test_of_a_request_without_a_timeout_changes_nothing(self):
        self.worker("slow", "--extend", "1s", "--echo")
        self.assertEqual(self.send("slow", body=b"x"), (OK, b"x", ""))


class Stopping(RelayTest):
    def start_gated(self, channel):
        """A worker in the middle of a request that lasts until the gate is opened, and its sender."""
        gate = self.gate("gate")
        worker = self.worker(channel, "--exec", f"echo started >&2; cat {gate}")
        sender = self.sender(channel, "--data", "x")
        worker.wait_for("started")
        return gate, worker, sender

    def test_the_first_signal_finishes_what_runs_and_takes_no_more(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(signal=number):
                gate, worker, sender = self.start_gated(number.name)
                worker.signal(number)
                worker.wait_for("finishing 1 request;")
                later = self.sender(number.name, "--data", "later")
                with open(gate, "wb") as file:
                    file.write(b"finished")
                os.unlink(gate)
                self.assertEqual(sender.result(), (OK, b"finished", ""))
                self.assertEqual(worker.wait(), OK)
                self.worker(number.name, "--echo")
                self.assertEqual(later.result(), (OK, b"later", ""))

    def test_the_second_signal_stops_at_once(self):
        _, worker, sender = self.start_gated("gated")
        self.interrupt(worker)
        worker.wait_for("finishing")
        worker.signal(signal.SIGTERM)
        self.assertEqual(worker.wait(), 128 + signal.SIGTERM)
        self.assertEqual(sender.result().code, UNAVAILABLE)

    def test_the_second_signal_leaves_an_idempotent_request_to_others(self):
        worker = self.worker("moved", "--exec", "trap 'exit 0' TERM; echo up >&2; while :; do sleep 1; done")
        sender = self.sender("moved", "--data", "x", "--idempotent")
        worker.wait_for("up")
        self.interrupt(worker)
        worker.wait_for("finishing")
        self.interrupt(worker)
        self.assertEqual(worker.wait(), 128 + signal.SIGINT)
        self.worker("moved", "--echo")
        self.assertEqual(sender.result(), (OK, b"x", ""))

    def test_the_second_signal_reaches_the_command(self):
        words = self.gate("words")
        # Without stderr, the other end of which goes with the worker: the shell says there that it lost its sleep.
        worker = self.worker("trap", "--exec", f"exec 2>/dev/null; trap 'echo cleaned >{words}; exit' TERM; echo up; "
                                               "while :; do sleep 1; done")
        sender = self.sender("trap", "--data", "x")
        self.assertEqual(sender.stdout.readline(), b"up\n")
        self.interrupt(worker)
        worker.wait_for("finishing")
        self.interrupt(worker)
        self.assertEqual(worker.wait(), 128 + signal.SIGINT)
        with open(words, "rb") as file:
            self.assertEqual(file.read(), b"cleaned\n")

    def test_an_idle_worker_stops_at_the_first_signal(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(signal=number):
                worker = self.worker("idle", "--echo", "--concurrency", "8")
                worker.signal(number)
                self.assertEqual(worker.wait(), OK)

    def test_ctrl_c_on_a_terminal_does_not_reach_the_command(self):
        gate = self.gate("gate")
        worker = self.worker("gated", "--exec", f"echo started >&2; cat {gate}", start_new_session=True)
        sender = self.sender("gated", "--data", "x")
        worker.wait_for("started")
        os.killpg(worker.pid, signal.SIGINT)
        worker.wait_for("finishing")
        with open(gate, "wb") as file:
            file.write(b"finished")
        self.assertEqual(sender.result().out, b"finished")
        self.assertEqual(worker.wait(), OK)


class Others(RelayTest):
    def test_a_worker_that_is_killed_ends_its_request(self):
        worker = self.worker("fragile", "--exec", "echo up; read -r line; kill -9 $PPID")
        sender = self.sender("fragile")
        self.assertEqual(sender.stdout.readline(), b"up\n")
        sender.stdin.write(b"go\n")
        self.assertEqual(worker.wait(), -signal.SIGKILL)
        got = sender.result()
        self.assertEqual(got.code, UNAVAILABLE)
        self.assertRegex(got.err, r"UNAVAILABLE receiver_lost: .* \(it may have been worked on\)\n$")

    def test_a_worker_outlives_its_server(self):
        self.server = f"unix:{self.path('relay.sock')}"
        first = self.start_relayd(self.server)
        worker = self.worker("again", "--echo")
        self.assertEqual(self.send("again", body=b"x").code, OK)
        first.signal(signal.SIGKILL)
        worker.wait_for("trying again")
        self.start_relayd(self.server)
        worker.wait_for("connected again")
        self.assertEqual(self.send("again", body=b"y"), (OK, b"y", ""))

    def test_eight_workers_take_turns(self):
        for _ in range(8):
            self.worker("turns", "--echo")
        seen = []
        while len(set(seen)) < 8:
            self.assertLess(len(seen), 1000)
            seen.append(self.receiver_of_one("turns"))
        # All eight stand in the line, so that one sender after the other gets them in turn.
        turns = [self.receiver_of_one("turns") for _ in range(32)]
        self.assertEqual(len(set(turns[:8])), 8)
        self.assertEqual(turns, turns[:8] * 4)

    def receiver_of_one(self, channel):
        got = self.send(channel, "--show-meta", body=b"x")
        self.assertEqual(got.code, OK)
        return re.search("^receiver: +(.*)$", got.err, re.MULTILINE)[1]


if __name__ == "__main__":
    unittest.main()

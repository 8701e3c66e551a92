"""What relay send draws on a terminal while a long request runs."""

import re
import unittest

from harness import OK, RelayTest, Terminal

COLUMNS = 80


class Progress(RelayTest):
    def start_long(self, channel, **popen):
        sender = self.sender(channel, **popen)
        sender.stdin.write(bytes(2 << 20))
        return sender

    def test_is_drawn_for_a_long_body_and_fits_the_terminal(self):
        self.worker("sink", "--exec", "cat >/dev/null; printf abc")
        terminal = Terminal(self)
        sender = self.start_long("sink", stderr=terminal.tty)
        terminal.close_tty()
        terminal.read_until("sent 2.0 MiB")
        sender.stdin.close()
        terminal.read_to_end()
        self.assertEqual((sender.stdout.read(), sender.wait()), (b"abc", OK))
        drawn = [line for line in re.split(r"[\r\n]+|\x1b\[K", terminal.text) if line]
        for line in drawn:
            self.assertLess(len(line), COLUMNS)
        self.assertRegex(drawn[-1], r"^sent 2\.0 MiB, received 3 B, .*/s, [0-9.]+ m?s$")
        self.assertTrue(terminal.text.endswith("\n"))

    def test_knows_how_long_a_file_is(self):
        gate = self.gate("gate")
        self.worker("sink", "--exec", f"cat >/dev/null; cat {gate}")
        terminal = Terminal(self)
        sender = self.sender("sink", "--file", self.file("body", bytes(4 << 20)), stderr=terminal.tty)
        terminal.close_tty()
        terminal.read_until("sent 4.0 MiB of 4.0 MiB .100%.")
        with open(gate, "wb"):
            pass
        terminal.read_to_end()
        self.assertEqual(sender.wait(), OK)

    def test_is_not_drawn_for_a_short_one(self):
        self.worker("echo", "--echo")
        terminal = Terminal(self)
        sender = self.sender("echo", "--data", "x", stderr=terminal.tty)
        terminal.close_tty()
        terminal.read_to_end()
        self.assertEqual((sender.stdout.read(), sender.wait()), (b"x", OK))
        # Short is what takes less than a second, whatever its size.
        self.assertRegex(terminal.text, r"^\Z|, [1-9]\d*\.\d s\x1b\[K\r\n$")

    def test_is_not_drawn_where_stderr_is_no_terminal(self):
        worker = self.worker("sink", "--exec", "cat >/dev/null")
        sender = self.start_long("sink")
        sender.stdin.close()
        worker.wait_for("OK")
        self.assertEqual(sender.result(), (OK, b"", ""))

    def test_ends_before_the_answer_is_on_the_same_terminal(self):
        self.worker("sink", "--exec", "cat >/dev/null; printf 'the answer\\n'; head -c 3000000 /dev/zero | tr '\\0' .")
        terminal = Terminal(self)
        sender = self.start_long("sink", stderr=terminal.tty, stdout=terminal.tty)
        terminal.close_tty()
        terminal.read_until("sent 2.0 MiB")
        sender.stdin.close()
        terminal.read_to_end()
        self.assertEqual(sender.wait(), OK)
        self.assertRegex(terminal.text, r"\x1b\[K\r\nthe answer\r\n\.{3000000}$")


if __name__ == "__main__":
    unittest.main()

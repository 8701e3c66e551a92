"""relay inspect --live: a relay mirrors what passes, and tells what an observer that reads slowly has lost.

LIVE_REQUESTS is how many requests the observers of the load are shown [25000]; tools/nightly has more."""

import json
import os
import signal
import time
import unittest

import harness
from harness import RelayTest


REQUESTS = int(os.environ.get("LIVE_REQUESTS", "25000"))
SENDERS = 64
BENCH_CHANNEL = "54000000-5400-0000-0400-000000000000"


def while_it_sleeps(observer, load):
    observer.signal(signal.SIGSTOP)
    result = load()
    observer.signal(signal.SIGCONT)
    return result


class LiveTest(RelayTest):
    relayd_flags = ("--allow-observers", "--observer-queue-bytes", "64KiB")

    def observer(self, *arguments):
        """Writes what it is shown to a file."""
        # A file: stdout that nobody reads would hold it up.
        path = self.path("observed")
        with open(path, "ab") as out:
            process = self.relay("inspect", "--live", self.server, "--json", *arguments, stdout=out)
        process.path = path
        return process

    def objects(self, observer):
        observer.signal(signal.SIGINT)
        self.assertEqual(observer.wait(), 0)
        with open(observer.path, "rb") as file:
            return [json.loads(line) for line in file]

    def wait_until_it_observes(self, observer, channel):
        """Sends requests until one of them is seen from its JOIN on; the first may have been under way."""
        seen = b""
        while b'"type":"JOIN"' not in seen:
            self.send(channel, "--require-receiver")
            with open(observer.path, "rb") as file:
                seen = file.read()

    def test_shows_an_exchange_from_both_its_sides(self):
        observer = self.observer()
        self.wait_until_it_observes(observer, "other")
        worker = self.worker("shout", "--exec", "tr a-z A-Z")
        self.assertEqual(self.send("shout", "--method", "up", body=b"hello").out, b"HELLO")
        self.interrupt(worker)
        worker.wait()
        frames = [it for it in self.objects(observer) if "type" in it and it.get("channel") == "shout"]
        request = next(it["request"] for it in frames if it["type"] == "START")
        passed = [(it["type"], it["flags"], it["direction"]) for it in frames if it.get("request") == request]
        starts = [it for it in passed if it[0] == "START"]
        self.assertEqual([it[2] for it in starts], ["to_server", "to_client", "to_server", "to_client"], passed)
        self.assertEqual({it["method"] for it in frames if it["type"] == "START" and "REQUEST" in it["flags"]}, {"up"})
        self.assertNotIn("violation", {key for it in frames for key in it})

    def test_shows_a_channel_alone(self):
        observer = self.observer("--channel", "wanted")
        self.wait_until_it_observes(observer, "wanted")
        self.send("other", "--require-receiver")
        self.send("wanted", "--require-receiver")
        frames = [it for it in self.objects(observer) if "type" in it]
        frames = frames[[it["type"] for it in frames].index("JOIN"):]  # the channel's name is told there
        self.assertEqual({it.get("channel") for it in frames}, {"wanted"})

    def test_never_shows_a_takeover_key(self):
        observer = self.observer("-v")
        self.wait_until_it_observes(observer, "any")
        joins = [it for it in self.objects(observer) if it.get("type") == "JOIN"]
        self.assertTrue(joins)
        for join in joins:
            self.assertEqual(join["key_bytes"], 16)
            self.assertIn("00" * 16, join["payload_hex"])

    def observed_load(self, flags, during, *arguments):
        """Under a load, with `during` around it: frames shown, frames told lost; all that passed is either."""
        # An observer that stands still for as long as the load lasts is not dead.
        relayd = self.start([harness.RELAYD, "--listen", "tcp://127.0.0.1:0", "--heartbeat-misses", "1000", *flags])
        self.server = relayd.stdout.readline().decode().split()[1]
        observer = self.observer("--channel", BENCH_CHANNEL, *arguments)
        while self.metrics(relayd)["frames_read"] < 2:  # HELLO and OBSERVE
            pass
        result = during(observer, lambda: self.relay("bench", "raw", "--requests", str(REQUESTS), "--in-flight",
                                                     str(SENDERS), "--warm-up", "0", "--json").result())
        self.assertEqual(result.code, 0, result.err)
        # START of the request and of the answer, each read and written; and each JOIN, and the receivers' RECEIVE.
        passed = 4 * REQUESTS + 3 * SENDERS
        shown = told = 0
        give_up_at = time.monotonic() + harness.TEST_SECONDS / 2
        with open(observer.path, "rb") as file:
            while shown + told < passed and time.monotonic() < give_up_at:
                line = file.readline()
                if not line.endswith(b"\n"):  # it is still being written
                    file.seek(-len(line), os.SEEK_CUR)
                    time.sleep(0.01)
                    continue
                shown += line.startswith(b'{"kind":"frame"')
                told += json.loads(line)["frames"] if line.startswith(b'{"kind":"lost"') else 0
            self.interrupt(relayd)
            observer.wait()
            self.assertNotRegex(file.read(), rb'"kind":"(frame|lost)"')
        seconds = json.loads(result.out)["seconds"]
        print(f"{passed:,} frames in {seconds:.2f} s, {passed / seconds:,.0f} a second: "
              f"{shown:,} shown, {told:,} told lost")
        if seconds >= 1:  # else most of them were still owed at its end
            print(f"shown {shown / seconds:,.0f} a second")
        self.assertEqual(shown + told, passed)
        return shown, told

    def test_of_100000_frames_an_observer_that_sleeps_is_told_what_it_lost(self):
        shown, told = self.observed_load(self.relayd_flags, while_it_sleeps)
        self.assertGreater(shown, 0)
        self.assertGreater(told, 0)

    def test_a_capture_of_it_tells_what_was_lost_as_the_view_did(self):
        capture = self.path("lossy.pcapng")
        shown, told = self.observed_load(self.relayd_flags, while_it_sleeps, "--write", capture)
        again = self.relay("inspect", capture, "--json").result()
        lines = [json.loads(line) for line in again.out.splitlines()]
        self.assertEqual(sum(it["kind"] == "frame" for it in lines), shown)
        self.assertEqual(sum(it["frames"] for it in lines if it["kind"] == "lost"), told)
        self.assertGreater(told, 0)
        summary = self.relay("inspect", capture, "--summary").result().out.decode()
        self.assertRegex(summary, rf"^{shown} frames on .*, {told} frames lost\n")

    def test_an_observer_that_is_told_to_stop_tells_the_rest_and_what_it_lost(self):
        def during(observer, load):
            observer.signal(signal.SIGSTOP)
            result = load()
            observer.signal(signal.SIGTERM)
            observer.signal(signal.SIGCONT)
            return result

        _, told = self.observed_load(self.relayd_flags, during)
        self.assertGreater(told, 0)

    def test_of_the_time_that_it_stood_still_an_observer_does_not_judge_the_relay(self):
        relayd = self.start([harness.RELAYD, "--listen", "tcp://127.0.0.1:0", "--allow-observers",
                             "--heartbeat-interval", "2s", "--heartbeat-misses", "3"])
        self.server = relayd.stdout.readline().decode().split()[1]
        observer = self.observer()
        self.wait_until_it_observes(observer, "before")
        observer.signal(signal.SIGSTOP)
        worker = self.worker("meanwhile", "--echo")
        worker.signal(signal.SIGSTOP)
        for _ in range(2):  # the worker's connection ends last, since it began later
            relayd.wait_for("end=heartbeat")
        observer.signal(signal.SIGCONT)
        result = observer.result()
        self.assertNotIn("silent", result.err)
        with open(observer.path, "rb") as file:
            self.assertIn(b'"agent":"relay-receive', file.read())

    def test_of_100000_frames_an_observer_that_reads_is_shown_or_told_all(self):
        shown, _ = self.observed_load(("--allow-observers",), lambda _, load: load())
        self.assertGreater(shown, 0)

    def test_reaching_no_relay_and_one_that_allows_none(self):
        self.assertEqual(self.relay("inspect", "--live", "tcp://127.0.0.1:1").result().code, harness.UNAVAILABLE)
        closed = self.start_relayd("tcp://127.0.0.1:0").address
        result = self.relay("inspect", "--live", closed).result()
        self.assertEqual(result.code, 17, result)
        self.assertIn("does not allow observers", result.err)

    def test_an_id_that_is_none_is_refused(self):
        result = self.relay("inspect", "--live", self.server, "--request", "7").result()
        self.assertEqual(result.code, harness.INVALID_ARGUMENT, result)


if __name__ == "__main__":
    unittest.main()

"""What `relay bench` counts is what it did; how fast that was, no test says."""

import json
import os
import subprocess
import tempfile
import unittest

from harness import IO, OK, RELAYD, UNAVAILABLE, USAGE, RelayTest


class Raw(RelayTest):
    def bench(self, *arguments):
        return self.relay("bench", "raw", *arguments, stdout=subprocess.PIPE).result()

    def assert_counts(self, requests, *arguments):
        got = self.bench("--json", "--requests", str(requests), "--warm-up", "0", *arguments)
        self.assertEqual(got.code, OK, got.err)
        self.assertEqual(json.loads(got.out)["requests"], requests)
        return json.loads(got.out)

    def test_counts_as_many_requests_as_it_was_asked_for(self):
        for requests in (1, 10, 100):
            for more in ((), ("--warm-up", "7"), ("--each", "--frames", "3")):
                with self.subTest(requests=requests, more=more):
                    got = self.bench("--json", "--requests", str(requests), *more)
                    self.assertEqual(got.code, OK, got.err)
                    self.assertEqual(json.loads(got.out)["requests"], requests)

    def test_goes_in_step_behind_a_warm_up(self):
        got = self.bench("--json", "--relayd", RELAYD, "--in-step", "--requests", "100", "--warm-up", "70")
        self.assertEqual(got.code, OK, got.err)
        self.assertEqual(json.loads(got.out)["requests"], 100)

    def test_takes_as_long_as_it_was_asked_to(self):
        got = self.bench("--json", "--duration", "50ms", "--warm-up", "100")
        self.assertEqual(got.code, OK, got.err)
        self.assertGreaterEqual(json.loads(got.out)["seconds"], 0.05)

    def test_answers_every_request_in_every_shape(self):
        for frames in ("1", "3"):
            for sharing in ("--shared", "--each"):
                with self.subTest(frames=frames, sharing=sharing):
                    self.assert_counts(1000, "--frames", frames, sharing, "--in-flight", "7", "--receivers", "3")

    def test_starts_a_relayd_of_its_own_and_knows_what_it_cost(self):
        with tempfile.TemporaryDirectory() as scratch:
            listen = "unix:" + os.path.join(scratch, "socket")
            got = self.assert_counts(500, "--relayd", RELAYD, "--listen", listen, "--body", "60000")
        self.assertGreater(got["server_cpu_us"], 0)
        self.assertGreater(got["server_rss_bytes"], 0)

    def test_goes_in_step_with_a_relayd_that_it_stops_and_resumes(self):
        for frames in ("1", "3"):
            self.assert_counts(640, "--relayd", RELAYD, "--in-step", "--frames", frames)

    def test_says_that_the_server_cannot_be_reached(self):
        got = self.bench("--server", "tcp://127.0.0.1:1")
        self.assertEqual(got.code, UNAVAILABLE)
        self.assertIn("connect tcp://127.0.0.1:1", got.err)

    def test_refuses_a_server_that_is_no_process(self):
        gone = subprocess.Popen(["true"])
        gone.wait()
        for pid in (str(gone.pid), "0", "-1", "x", ""):
            for mode in ("raw", "sdk"):
                with self.subTest(pid=pid, mode=mode):
                    got = self.relay("bench", mode, "--server-pid", pid, "--requests", "1").result()
                    self.assertEqual(got.code, USAGE)
                    self.assertIn(f"relay bench: --server-pid: '{pid}' is no process that runs", got.err)

    def test_knows_what_the_server_of_a_pid_cost(self):
        relayd = self.start_relayd("tcp://127.0.0.1:0")
        got = self.bench("--json", "--server", relayd.address, "--server-pid", str(relayd.pid), "--requests", "1000")
        self.assertEqual(got.code, OK, got.err)
        self.assertGreater(json.loads(got.out)["server_cpu_us"], 0)

    def test_a_result_that_cannot_be_written_is_a_failure(self):
        with open("/dev/full", "wb") as full:
            got = self.relay("bench", "raw", "--requests", "1", stdout=full).result()
        self.assertEqual((got.code, got.err), (IO, "relay bench: write stdout: No space left on device\n"))

    def test_steps_need_a_relayd_of_its_own(self):
        self.assertEqual(self.bench("--in-step").code, USAGE)


class Sdk(RelayTest):
    def test_answers_every_request_through_each_kind_of_call(self):
        for calls in ("callback", "blocking", "streamed"):
            for sharing in ("--shared", "--each"):
                with self.subTest(calls=calls, sharing=sharing):
                    got = self.relay("bench", "sdk", "--json", "--calls", calls, sharing, "--in-flight", "5", "--receivers", "2",
                                     "--requests", "300", stdout=subprocess.PIPE).result()
                    self.assertEqual(got.code, OK, got.err)
                    self.assertEqual(json.loads(got.out)["requests"], 300)

    def test_says_that_the_server_cannot_be_reached(self):
        got = self.relay("bench", "sdk", "--server", "tcp://127.0.0.1:1").result()
        self.assertEqual(got.code, UNAVAILABLE)

    def test_starts_no_server(self):
        self.assertEqual(self.relay("bench", "sdk", "--relayd", RELAYD).result().code, USAGE)


if __name__ == "__main__":
    unittest.main()

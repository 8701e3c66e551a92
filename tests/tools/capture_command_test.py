"""relay inspect FILE of a pcap or pcapng, and --write: what was shown as it passed is shown again, in constant memory."""

import json
import os
import pty
import resource
import signal
import socket
import subprocess
import time
import unittest

import conversation
import harness
import pcap_file
from harness import RelayTest

# CAPTURE_BYTES=1073741824 is what the nightly reads.
LARGE_BYTES = int(os.environ.get("CAPTURE_BYTES", str(64 << 20)))


class CaptureTest(RelayTest):
    def test_shows_again_what_passed_through_the_proxy(self):
        capture, shown = self.path("session.pcapng"), self.path("shown")
        with open(shown, "wb") as out:
            proxy = self.start([harness.RELAY, "inspect", "--listen", "tcp://127.0.0.1:0", "--to", self.server, "--write",
                                capture, "--json", "-v"], stdout=out)
        environment = {"env": {"RELAY_SERVER": proxy.wait_for(r"(tcp://\S+) to ")[1]}}
        worker = self.worker("shout", "--exec", "tr a-z A-Z", **environment)
        body = os.urandom(300000)
        self.assertEqual(len(self.send("shout", body=body, **environment).out), len(body))
        self.send("nobody", "--require-receiver", **environment)
        self.interrupt(worker)
        worker.wait()
        self.interrupt(proxy)
        self.assertEqual(proxy.wait(), 0)
        with open(capture, "rb") as file:
            again = self.start([harness.RELAY, "inspect", "-", "--json", "-v", "--strict"], stdin=file)
        again = again.result()
        self.assertEqual(again.code, 0, again)
        with open(shown, "rb") as file:
            self.assertEqual([json.loads(line) for line in again.out.splitlines()], [json.loads(line) for line in file])

    def test_a_connection_that_said_nothing_at_first_keeps_its_number_and_takes_nobody_into_the_past(self):
        capture, shown = self.path("silent.pcapng"), self.path("shown")
        with open(shown, "wb") as out:
            proxy = self.start([harness.RELAY, "inspect", "--listen", "tcp://127.0.0.1:0", "--to", self.server, "--write",
                                capture, "--json"], stdout=out)
        address = proxy.wait_for(r"(tcp://\S+) to ")[1]
        host, port = address[len("tcp://"):].rsplit(":", 1)
        with socket.create_connection((host, int(port))) as silent:
            self.send("nobody", "--require-receiver", env={"RELAY_SERVER": address})  # it was accepted behind the other
            silent.sendall(b"RELAY/1\n" + conversation.hello())
            silent.recv(1)
        self.interrupt(proxy)
        self.assertEqual(proxy.wait(), 0)

        def frames(lines):
            return [(it["connection"], it["time"], it["type"]) for it in map(json.loads, lines) if it["kind"] == "frame"]

        again = self.start([harness.RELAY, "inspect", capture, "--json"]).result().out.splitlines()
        with open(shown, "rb") as file:
            self.assertEqual(frames(again), frames(file))
        self.assertEqual({it[0] for it in frames(again)}, {1, 2})
        for times in ("relative", "delta"):
            text = self.start([harness.RELAY, "inspect", capture, "--time", times]).result().out.decode()
            self.assertNotRegex(text, r"(?m)^[ !~] *\+?-\d")

    def test_writes_what_it_has_read(self):
        first, second = self.path("first.pcap"), self.path("second.pcapng")
        pcap_file.write(first, 1 << 16)
        read = self.start([harness.RELAY, "inspect", first, "--json", "--write", second]).result()
        again = self.start([harness.RELAY, "inspect", second, "--json"]).result()
        self.assertEqual(read.out, again.out)
        self.assertEqual((read.code, again.code), (0, 0))

    def faults_without(self, packets, is_lost):
        """Of a capture that lacks some packets: violations, ends of exchanges, and whether times go back."""
        name = self.path("lossy.pcap")
        with open(name, "wb") as file:
            file.write(packets[0] + b"".join(it for at, it in enumerate(packets[1:]) if not is_lost(at, it)))
        result = self.start([harness.RELAY, "inspect", name, "--json"]).result()
        shown = [json.loads(line) for line in result.out.splitlines()]
        times = [it["time"] for it in shown if it["kind"] in ("frame", "gap")]
        return ({it["violation"] for it in shown if "violation" in it},
                {it["end"] for it in shown if it["kind"] == "exchange"} - {"completed", "open"}, times != sorted(times))

    def test_what_the_capture_lacks_is_nobodys_fault(self):
        name = self.path("whole.pcap")
        pcap_file.write(name, 1 << 14)
        packets = pcap_file.packets(name)
        self.assertGreater(len(packets), 20)
        for lost in range(20):
            self.assertEqual(self.faults_without(packets, lambda at, _: at == lost), (set(), set(), False), lost)
        for is_of_server in (False, True):
            self.assertEqual(self.faults_without(packets, lambda _, it: pcap_file.is_of_server(it) == is_of_server),
                             (set(), set(), False), is_of_server)

    def test_shows_what_has_come_while_it_waits_for_more_and_strict_does_not_vouch_for_that(self):
        frames = pcap_file.write(self.path("begun.pcap"), 1 << 12)
        with open(self.path("begun.pcap"), "rb") as file:
            begun = file.read()
        for code, words, arguments in ((0, "", ()), (1, "relay inspect: --strict: not all was read\n", ("--strict",))):
            process = self.start([harness.RELAY, "inspect", "-", "--json", *arguments], stdin=subprocess.PIPE)
            process.stdin.write(begun + begun[24:30])  # the next packet has begun, too
            while json.loads(process.stdout.readline()).get("number") != frames:
                pass
            self.interrupt(process)
            self.assertEqual(process.wait(), code)
            self.assertEqual(process.result().err, words)

    def test_strict_does_not_vouch_for_what_nobody_waited_for(self):
        pcap_file.write(self.path("long.pcap"), 1 << 22)
        for code, arguments in ((0, ()), (1, ("--strict",))):
            process = self.start([harness.RELAY, "inspect", self.path("long.pcap"), *arguments])
            process.stdout.readline()
            process.stdout.close()
            self.assertEqual(process.wait(), code)

    def test_says_how_many_exchanges_have_no_beginning(self):
        with open(self.path("middle.pcap"), "wb") as file:
            capture = conversation.Capture(file)
            capture.begin(with_syn=False)
            capture.say([("up", conversation.chunk(conversation.REQUEST, 1, conversation.id_of(5)))])
        words = "relay inspect: exchanges left out, since their START is not in the trace: 1\n"
        for view in (("--requests",), ("--summary",), ("--requests", "--json")):
            result = self.start([harness.RELAY, "inspect", self.path("middle.pcap"), *view]).result()
            self.assertEqual((result.code, result.err), (0, words))
        self.assertEqual(result.out, b'{"kind":"left_out","exchanges":1}\n')

    def test_does_not_write_over_what_it_reads(self):
        capture, other_name = self.path("x.pcap"), self.path("y.pcap")
        pcap_file.write(capture, 1 << 10)
        os.link(capture, other_name)
        before = os.path.getsize(capture)
        result = self.start([harness.RELAY, "inspect", capture, "--write", other_name]).result()
        self.assertEqual(result.code, 64, result)
        self.assertIn("--write", result.err)
        self.assertEqual(os.path.getsize(capture), before)

    def test_says_that_a_file_cannot_be_written(self):
        capture = self.path("x.pcap")
        pcap_file.write(capture, 1)
        result = self.start([harness.RELAY, "inspect", capture, "--write", "/dev/full"]).result()
        self.assertEqual((result.code, result.err),
                         (harness.IO, "relay inspect: write /dev/full: No space left on device\n"))

    def peak_kib(self, capture, frames):
        read, write = os.pipe()
        child = os.fork()
        if child == 0:  # so that the peak is this command's alone
            began = time.monotonic()
            result = subprocess.run([harness.RELAY, "inspect", capture, "--strict", "--filter", "type==JOIN"],
                                    stdout=subprocess.PIPE, check=False)
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
            rate = int(frames / (time.monotonic() - began))
            os.write(write, json.dumps([result.returncode, result.stdout.count(b"JOIN"), peak, rate]).encode())
            os._exit(0)
        os.close(write)
        with os.fdopen(read) as pipe:
            code, joins, peak, rate = json.loads(pipe.read())
        os.waitpid(child, 0)
        print(f"{os.path.getsize(capture) >> 20} MiB, {frames} frames, {rate} a second, at most {peak} KiB of memory")
        self.assertEqual((code, joins), (0, 2), frames)
        return peak

    @unittest.skipIf(harness.SANITIZED, "a sanitizer keeps what was freed")
    def test_a_large_file_takes_no_more_memory_than_a_small_one(self):
        small, large = self.path("small.pcap"), self.path("large.pcap")
        of_small = self.peak_kib(small, pcap_file.write(small, LARGE_BYTES // 16))
        of_large = self.peak_kib(large, pcap_file.write(large, LARGE_BYTES))
        self.assertLess(of_large, of_small + 2048)

    def test_a_bar_says_how_far_it_has_read(self):
        capture = self.path("bar.pcap")
        frames = pcap_file.write(capture, 1 << 20)
        ours, theirs = pty.openpty()
        process = subprocess.Popen([harness.RELAY, "inspect", capture, "--summary"], stdout=subprocess.DEVNULL,
                                   stderr=theirs)
        os.close(theirs)
        said = b""
        try:
            while data := os.read(ours, 4096):
                said += data
        except OSError:  # the other side is closed
            pass
        os.close(ours)
        self.assertEqual(process.wait(), 0)
        last = said.split(b"\r")[-2 if said.endswith(b"\r\n") else -1].decode()
        self.assertRegex(last, rf"\[=+\] 100%  1\.0 MiB of 1\.0 MiB, {frames} frames, \d+/s")
        quiet = self.start([harness.RELAY, "inspect", capture, "--summary"]).result()
        self.assertEqual(quiet.err, "", "no bar where nobody looks")


if __name__ == "__main__":
    unittest.main()

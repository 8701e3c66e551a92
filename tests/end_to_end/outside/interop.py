"""Whole programs against each other: peer.py, which is written from the protocol's page, with itself and with the
project's own `relay` command.
"""

import hashlib
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

from harness import ConformanceTest, Relayd

PEER = [sys.executable, str(pathlib.Path(__file__).with_name("peer.py"))]
MIB = 1024 * 1024


class Programs(ConformanceTest):
    SECONDS = 60

    def setUp(self):
        super().setUp()
        self.channel = f"outside/{self.id()}"

    def spawn(self, command, verb, *options, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE):
        process = subprocess.Popen([*command, verb, "--server", self.relayd.address, self.channel, *options],
                                   stdin=stdin, stdout=stdout, stderr=subprocess.PIPE)
        self.addCleanup(self.stop, process)
        return process

    def stop(self, process):
        if process.poll() is None:
            process.kill()
        process.communicate()

    def finish(self, process, body=None):
        output, errors = process.communicate(body, self.SECONDS)
        self.assertEqual(process.returncode, 0, errors)
        return output

    def check(self, send, receive, receive_options, bodies, answer):
        receiver = self.spawn(receive, "receive", "--count", str(len(bodies)), *receive_options)
        for body in bodies:
            sender = self.spawn(send, "send", stdin=subprocess.PIPE)
            self.assertEqual(hashlib.sha256(self.finish(sender, body)).hexdigest(),
                             hashlib.sha256(answer(body)).hexdigest())
        self.finish(receiver)

    BODIES = (b"", b"x", b"to be answered in capitals", os.urandom(300_000), os.urandom(3 * MIB))


class PeerWithPeer(Programs):

    def test_upper(self):
        self.check(PEER, PEER, ("--upper",), self.BODIES, bytes.upper)

    def test_senders_at_once_share_the_receivers(self):
        for _ in range(2):
            self.spawn(PEER, "receive", "--upper")
        bodies = [os.urandom(100_000) for _ in range(6)]
        senders = [self.spawn(PEER, "send", stdin=self.file_of(body)) for body in bodies]
        for sender, body in zip(senders, bodies):
            self.assertEqual(self.finish(sender), body.upper())

    def file_of(self, body):
        file = tempfile.TemporaryFile()
        self.addCleanup(file.close)
        file.write(body)
        file.seek(0)
        return file

    def test_receiver_writes_the_request_out(self):
        receiver = self.spawn(PEER, "receive", "--count", "1")
        sender = self.spawn(PEER, "send", stdin=subprocess.PIPE)
        self.assertEqual(self.finish(sender, b"to be kept"), b"")
        self.assertEqual(self.finish(receiver), b"to be kept")

    def test_memory_does_not_grow_with_the_body(self):
        with tempfile.TemporaryFile() as body, tempfile.TemporaryFile() as answer:
            for _ in range(96):
                body.write(os.urandom(MIB))
            body.seek(0)
            receiver = self.spawn(PEER, "receive", "--count", "1", "--echo")
            sender = self.spawn(PEER, "send", stdin=body, stdout=answer)
            for process in (sender, receiver):
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                self.assertEqual(process.returncode, 0, process.stderr.read())
                self.assertLess(usage.ru_maxrss, 64 * 1024)
            body.seek(0)
            answer.seek(0)
            self.assertEqual(hashlib.file_digest(body, "sha256").digest(),
                             hashlib.file_digest(answer, "sha256").digest())


class PeerWithPeerOverAUnixSocket(Programs):

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.relayd = Relayd(listen=f"unix:{folder.name}/relay.sock")
        self.addCleanup(self.relayd.stop)

    def test_upper(self):
        self.check(PEER, PEER, ("--upper",), self.BODIES, bytes.upper)


@unittest.skipUnless("RELAY" in os.environ, "RELAY is the path of the relay command")
class PeerWithRelay(Programs):

    def setUp(self):
        super().setUp()
        self.relay = [os.environ["RELAY"]]

    def test_relay_sends_and_peer_answers(self):
        self.check(self.relay, PEER, ("--upper",), self.BODIES, bytes.upper)

    def test_peer_sends_and_relay_answers(self):
        self.check(PEER, self.relay, ("--echo",), self.BODIES, bytes)

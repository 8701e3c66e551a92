"""Observers: who may be one, what they are shown, what never."""

from harness import ConformanceTest
from relay_wire import FIN, NIL, PREFACE, REQUEST, Code, Frame, Hello, Join, Mirror, Observe, Type


class Observation(ConformanceTest):
    FLAGS = ("--allow-observers",)

    def observer(self, **observe):
        line = self.connect()
        hello = Frame(Type.HELLO, payload=Hello(version=1, observer=True).encode())
        asked = Frame(Type.OBSERVE, payload=Observe(**observe).encode())
        line.send_bytes(PREFACE + hello.encode() + asked.encode())
        line.await_welcome()
        line.barrier()
        return line

    def shown(self, line):
        """What has been shown by now."""
        line.barrier()
        frames, line.frames[0] = line.frames[0], type(line.frames[0])()
        for frame in frames:
            self.assertEqual((frame.type, frame.flags, frame.slot, frame.id), (Type.MIRROR, 0, 0, NIL))
        return [Mirror.decode(frame.payload) for frame in frames]

    def test_a_request_is_shown_on_both_its_sides(self):
        sender, receiver = self.sender(), self.receiver()
        observer = self.observer(channel_id=self.channel, snap_bytes=1000)
        request = sender.start(body=b"ping", flags=FIN)
        receiver.expect_request(request, FIN)
        read, written = self.shown(observer)
        self.assertEqual((read.kind, read.client, read.channel), (Mirror.READ, sender.id, self.channel))
        self.assertEqual((written.kind, written.client, written.channel), (Mirror.WRITTEN, receiver.id, self.channel))
        self.assertNotEqual(read.connection, written.connection)
        for mirror in (read, written):
            frame, size = mirror.frame
            self.assertEqual((frame.type, frame.flags, frame.slot, frame.id), (Type.START, REQUEST | FIN, 1, request))
            self.assertEqual(len(frame.payload), size)
            self.assertTrue(frame.payload.endswith(b"ping"))
        self.assertEqual(read.frame[0].payload[:16], NIL)
        self.assertEqual(written.frame[0].payload[:16], sender.id)
        self.assertLessEqual(read.time_us, written.time_us)

    def test_no_more_than_snap_bytes_are_shown(self):
        sender = self.sender()
        observer = self.observer(client_id=sender.id, snap_bytes=44)
        sender.start(body=b"ping pong", flags=FIN)
        sender.sync()
        (mirror,) = self.shown(observer)
        frame, size = mirror.frame
        self.assertEqual((len(frame.payload), size), (44, 40 + len(b"ping pong")))

    def test_connections_and_joins_are_shown_without_secrets(self):
        observer = self.observer(snap_bytes=1000)
        client = self.client(key=b"a secret")
        client.sync()
        client.line.close()
        all_mirrors = self.shown(observer)
        # Others may still be ending, on another thread of the server.
        (opened,) = [mirror for mirror in all_mirrors if mirror.kind == Mirror.OPENED]
        while not any(m.kind == Mirror.ENDED and m.connection == opened.connection for m in all_mirrors):
            all_mirrors += self.shown(observer)
        mirrors = [mirror for mirror in all_mirrors if mirror.connection == opened.connection]
        self.assertEqual([mirrors[0].kind, mirrors[-1].kind], [Mirror.OPENED, Mirror.ENDED])
        (join,) = [mirror.frame[0] for mirror in mirrors if mirror.kind == Mirror.READ
                   and mirror.frame[0].type == Type.JOIN]
        self.assertEqual(Join.decode(join.payload).key, bytes(len(b"a secret")))
        self.assertEqual(Join.decode(join.payload).client_id, client.id)
        self.assertNotIn(b"secret", b"".join(mirror.shown for mirror in mirrors))

    def test_what_observers_must_not_say(self):
        observer = self.observer()
        observer.send(Type.JOIN, 1, payload=Join(client_id=b"c" * 16, channel_id=self.channel).encode())
        self.expect_goaway(observer)
        line = self.greeted()
        line.send(Type.OBSERVE)
        self.expect_goaway(line)
        observer = self.observer()
        observer.send(Type.OBSERVE, payload=Observe(request_id=b"15 bytes only..").encode())
        self.expect_goaway(observer)
        line = self.greeted()
        line.send(Type.MIRROR)
        self.expect_goaway(line)


class NoObservation(ConformanceTest):

    def test_an_observer_is_refused(self):
        line = self.connect()
        line.send_bytes(PREFACE + Frame(Type.HELLO, payload=Hello(version=1, observer=True).encode()).encode())
        self.expect_goaway(line, Code.PERMISSION_DENIED)

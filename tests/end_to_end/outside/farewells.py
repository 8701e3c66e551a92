"""How a connection or the server ends: GOAWAY, half-close, silence, drain."""

import socket
import time

from harness import ConformanceTest, Relayd
from relay_wire import FIN, RESPONSE, Code, Status, Type


class Farewell(ConformanceTest):

    def goaway(self, client):
        client.line.send(Type.GOAWAY, payload=Status().encode())

    def test_idle_connection_is_closed(self):
        client = self.sender()
        self.goaway(client)
        self.expect_closed(client.line)

    def test_waiting_slot_leaves_the_line(self):
        receiver = self.receiver()
        self.goaway(receiver)
        self.expect_closed(receiver.line)
        sender = self.sender()
        request = sender.start()
        self.receiver().expect_request(request)

    def test_waiting_slot_beside_a_working_one_leaves_the_line(self):
        sender, receiver, request = self.assigned()
        waiting = self.receiver(line=receiver.line, slot=2)
        self.goaway(receiver)
        receiver.sync()
        second = self.sender()
        second.start()
        second.sync()
        waiting.expect_quiet()
        receiver.finish(request)
        sender.expect_response(request, FIN)
        self.expect_closed(receiver.line)

    def test_sender_hears_its_response_and_then_the_end(self):
        for half_close in (False, True):
            with self.subTest(half_close=half_close):
                sender, receiver, request = self.assigned()
                sender.chunk(request, b"last")
                sender.end(request)
                self.goaway(sender)
                if half_close:
                    sender.line.socket.shutdown(socket.SHUT_WR)
                receiver.expect_chunk(request, b"last")
                receiver.expect_end(request)
                receiver.finish(request, b"answer")
                self.assertEqual(sender.expect_response(request, FIN).body, b"answer")
                self.expect_closed(sender.line)

    def test_receiver_finishes_its_work_and_then_hears_the_end(self):
        sender, receiver, request = self.assigned()
        self.goaway(receiver)
        sender.chunk(request, b"on")
        receiver.expect_chunk(request, b"on")
        receiver.answer(request)
        receiver.end(request, RESPONSE)
        sender.expect_response(request)
        sender.expect_end(request, RESPONSE)
        self.expect_closed(receiver.line)

    def test_half_close_without_goaway_is_death(self):
        sender, receiver, request = self.assigned()
        sender.line.socket.shutdown(socket.SHUT_WR)
        receiver.expect_reset(request, Code.CANCELLED)

    def test_end_of_input_inside_a_frame_is_death_and_no_end_of_stream(self):
        sender, receiver, request = self.assigned()
        sender.line.send_bytes(b"\x00\x00\x10\x00\x07\x01\x00\x01" + request + b"half")
        sender.line.socket.shutdown(socket.SHUT_WR)
        receiver.expect_reset(request, Code.CANCELLED)


class Heartbeats(ConformanceTest):
    FLAGS = ("--heartbeat-interval", "200ms", "--heartbeat-misses", "10")

    def test_welcome_tells_them(self):
        line = self.connect()
        line.greet()
        limits = line.await_welcome()
        self.assertEqual((limits.heartbeat_interval_ms, limits.heartbeat_misses), (200, 10))

    def test_server_sends_ping_when_it_has_been_silent(self):
        line = self.greeted()
        began = time.monotonic()
        line.barrier()
        frame = line.read_frame()
        self.assertEqual((frame.type, frame.flags, frame.slot, len(frame.payload)), (Type.PING, 0, 0, 8))
        self.assertGreaterEqual(time.monotonic() - began, 0.2 * 63 / 64 - 0.001)  # a little early at the most

    def test_any_byte_keeps_the_connection(self):
        client = self.sender()
        for _ in range(15):
            self.assertEqual(client.line.read_frame().type, Type.PING)
            client.window(b"\x01" * 16, 1, RESPONSE)
        self.check_exchange(client, self.client())

    def test_silence_is_found_dead_after_interval_times_misses(self):
        sender, receiver, request = self.assigned()
        began = time.monotonic()
        receiver.line.send(Type.PING, payload=b"the last")
        status = sender.expect_reset(request, Code.UNAVAILABLE)
        self.assertGreaterEqual(time.monotonic() - began, 1.999)
        self.assertTrue(status.may_have_run)
        while (frame := receiver.line.read_frame()) is not None:
            self.assertIn(frame.type, (Type.PING, Type.PONG, Type.GOAWAY))


class Terminated(ConformanceTest):
    """Each test stops a relayd of its own by SIGTERM."""

    def setUp(self):
        super().setUp()
        self.relayd = Relayd()
        self.addCleanup(self.relayd.stop)
        self.lines = []

    def connect(self):
        self.lines.append(super().connect())
        return self.lines[-1]

    def expect_stopped(self):
        for line in self.lines:
            line.read_to_end()
            line.close()
        self.assertEqual(self.relayd.exit_code(), 0)


class Stopping(Terminated):
    """While nothing is assigned."""

    def test_nothing_connected(self):
        self.relayd.terminate()
        self.expect_stopped()

    def test_idle_clients_hear_goaway_and_the_end(self):
        receiver = self.receiver()
        self.relayd.terminate()
        frame = receiver.line.next()
        self.assertEqual(frame.type, Type.GOAWAY)
        self.expect_stopped()

    def test_queued_request_is_refused_and_has_not_run(self):
        sender = self.sender()
        request = sender.start()
        sender.sync()
        self.relayd.terminate()
        self.assertFalse(sender.expect_reset(request, Code.UNAVAILABLE).may_have_run)
        self.expect_stopped()


class Draining(Terminated):
    """While a request is assigned."""

    def test_assigned_request_runs_on(self):
        sender, receiver, request = self.assigned()
        self.relayd.terminate()
        self.assertEqual(receiver.line.next().type, Type.GOAWAY)
        sender.chunk(request, b"on")
        receiver.expect_chunk(request, b"on")
        receiver.finish(request, b"done")
        self.assertEqual(sender.expect_response(request, FIN).body, b"done")
        self.expect_stopped()

    def test_start_that_crosses_goaway_is_refused(self):
        sender, receiver, request = self.assigned()
        other = self.client(sender.line, 2).sync()
        self.relayd.terminate()
        self.assertEqual(sender.line.next().type, Type.GOAWAY)
        self.assertFalse(other.expect_reset(other.start(), Code.UNAVAILABLE).may_have_run)
        receiver.finish(request)
        sender.expect_response(request, FIN)
        self.expect_stopped()

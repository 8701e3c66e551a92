"""Ends that are not END: cancellation, death, redelivery, deadlines, bounds. What ends a whole
connection is in farewells.py.
"""

import socket
import time
import uuid

from harness import ConformanceTest
from relay_wire import FIN, FRAME_COST, IDEMPOTENT, REQUIRE_RECEIVER, RESPONSE, Code, Reset, Status, Type

DEFAULT_WINDOW_BYTES = 256 * 1024


class SenderEnds(ConformanceTest):

    def ways(self, sender, request):
        return {"resets": lambda: sender.reset(request, Code.CANCELLED), "leaves": sender.leave,
                "dies": sender.line.close}

    def test_receiver_is_told_cancelled(self):
        for way in ("resets", "leaves", "dies"):
            with self.subTest(way):
                sender, receiver, request = self.assigned()
                self.ways(sender, request)[way]()
                receiver.expect_reset(request, Code.CANCELLED)
                self.check_exchange(self.client(), receiver)

    def test_receiver_in_the_middle_of_its_response_is_told_cancelled(self):
        sender, receiver, request = self.assigned()
        receiver.answer(request)
        sender.expect_response(request)
        sender.line.close()
        receiver.expect_reset(request, Code.CANCELLED)

    def test_queued_request_is_never_handed_out(self):
        for way in ("resets", "leaves", "dies"):
            with self.subTest(way):
                sender = self.sender(channel=uuid.uuid4().bytes)
                request = sender.start()
                sender.sync()
                self.ways(sender, request)[way]()
                if way == "dies":
                    self.await_death(sender)
                else:
                    sender.line.barrier()
                receiver = self.receiver(wait_ms=0, channel=sender.channel)
                receiver.expect_nothing_came()

    def await_death(self, client):
        """The client id is free again only when the server has seen the connection's end."""
        while True:
            probe = self.client(channel=client.channel, id=client.id).sync()
            if not probe.line.frames[1]:
                return

    def test_sender_is_free_after_its_reset(self):
        sender, receiver, request = self.assigned()
        sender.reset(request, Code.CANCELLED)
        receiver.expect_reset(request, Code.CANCELLED)
        self.check_exchange(sender, receiver)


class ReceiverEnds(ConformanceTest):

    def test_sender_is_told_unavailable_and_that_it_may_have_run(self):
        for way in ("leave", "death", "half-close"):
            with self.subTest(way):
                sender, receiver, request = self.assigned()
                self.end(receiver, way)
                self.assertTrue(sender.expect_reset(request, Code.UNAVAILABLE).may_have_run)
                self.check_exchange(sender, self.client())

    def end(self, receiver, way):
        if way == "leave":
            receiver.leave()
        elif way == "death":
            receiver.line.close()
        else:
            receiver.line.socket.shutdown(socket.SHUT_WR)

    def test_sender_is_told_the_status_of_a_reset(self):
        sender, receiver, request = self.assigned()
        receiver.reset(request, Code.OUT_OF_RANGE, "too far")
        self.assertEqual(sender.expect_reset(request, Code.OUT_OF_RANGE).message, "too far")
        self.check_exchange(sender, receiver)

    def test_named_end_and_may_have_run_are_the_servers_to_say(self):
        sender, receiver, request = self.assigned()
        forged = Status(code=Code.ABORTED, message="mine", end="forged_by_receiver", may_have_run=False)
        receiver.send(Type.RESET, request, Reset(status=forged).encode())
        status = sender.expect_reset(request, Code.ABORTED)
        self.assertEqual((status.message, status.may_have_run), ("mine", True))
        self.assertNotEqual(status.end, "forged_by_receiver")

    def test_reset_that_says_ok_is_told_as_unavailable(self):
        sender, receiver, request = self.assigned()
        receiver.reset(request)
        sender.expect_reset(request, Code.UNAVAILABLE)

    def test_requeue_of_what_is_not_redeliverable(self):
        sender, receiver, request = self.assigned()
        receiver.reset(request, Code.ABORTED, "cannot", requeue=True)
        sender.expect_reset(request, Code.ABORTED)


class Redelivery(ConformanceTest):

    def lose(self, receiver, request, way):
        if way == "requeue":
            receiver.reset(request, requeue=True)
        elif way == "leave":
            receiver.leave()
        else:
            receiver.line.close()

    def test_another_receiver_gets_the_whole_request(self):
        for way in ("requeue", "leave", "death"):
            with self.subTest(way):
                sender, lost, request = self.assigned(IDEMPOTENT, b"one")
                sender.chunk(request, b"two")
                lost.expect_chunk(request, b"two")
                self.lose(lost, request, way)
                successor = self.client()
                successor.receive()
                came = successor.expect_request(request, IDEMPOTENT)
                self.assertEqual((came.attempt, came.body, came.peer), (2, b"one", sender.id))
                successor.expect_chunk(request, b"two")
                sender.end(request)
                successor.expect_end(request)
                successor.finish(request)
                back = sender.expect_response(request, FIN)
                self.assertEqual((back.attempt, back.peer), (2, successor.id))

    def test_it_goes_to_the_head_of_the_queue(self):
        sender, lost, request = self.assigned(IDEMPOTENT)
        younger = self.sender()
        second = younger.start()
        younger.sync()
        lost.reset(request, requeue=True)
        lost.sync()
        receiver = self.receiver()
        receiver.expect_request(request, IDEMPOTENT)
        self.receiver().expect_request(second)

    def test_response_window_goes_to_each_receiver(self):
        sender, lost, request = self.assigned(IDEMPOTENT)
        sender.window(request, DEFAULT_WINDOW_BYTES + 7, RESPONSE)
        lost.expect_window(request, DEFAULT_WINDOW_BYTES + 7, RESPONSE)
        lost.reset(request, requeue=True)
        successor = self.client()
        lost.sync()
        successor.receive()
        successor.expect_request(request, IDEMPOTENT)
        successor.expect_window(request, DEFAULT_WINDOW_BYTES + 7, RESPONSE)

    def test_receiver_that_requeues_may_get_it_again(self):
        sender, receiver, request = self.assigned(IDEMPOTENT)
        receiver.reset(request, requeue=True)
        receiver.receive()
        self.assertEqual(receiver.expect_request(request, IDEMPOTENT).attempt, 2)

    def test_attempts_are_bounded(self):
        for way, code in (("requeue", Code.UNAVAILABLE), ("leave", Code.UNAVAILABLE), ("death", Code.UNAVAILABLE)):
            with self.subTest(way):
                sender = self.sender()
                request = sender.start(flags=IDEMPOTENT)
                for attempt in (1, 2, 3):
                    receiver = self.client()
                    receiver.receive()
                    self.assertEqual(receiver.expect_request(request, IDEMPOTENT).attempt, attempt)
                    sender.expect_quiet()
                    self.lose(receiver, request, way)
                sender.expect_reset(request, code)

    def test_not_after_a_response_frame(self):
        sender, receiver, request = self.assigned(IDEMPOTENT)
        receiver.answer(request)
        sender.expect_response(request)
        receiver.line.close()
        self.assertTrue(sender.expect_reset(request, Code.UNAVAILABLE).may_have_run)

    def test_up_to_half_a_window_and_not_beyond(self):
        for over in (0, 1):
            with self.subTest(over=over):
                sender, lost, request = self.assigned(IDEMPOTENT)
                sizes = (65536, DEFAULT_WINDOW_BYTES // 2 - 65536 - 2 * FRAME_COST + over)
                for size in sizes:
                    sender.chunk(request, bytes(size))
                    lost.expect_chunk(request, bytes(size))
                lost.line.close()
                if over:
                    sender.expect_reset(request, Code.UNAVAILABLE)
                    continue
                successor = self.client()
                successor.receive()
                successor.expect_request(request, IDEMPOTENT)
                for size in sizes:
                    successor.expect_chunk(request, bytes(size))

    def test_late_response_of_the_lost_receiver_is_dropped(self):
        sender, lost, request = self.assigned(IDEMPOTENT)
        lost.reset(request, requeue=True)
        lost.finish(request, b"late")
        lost.sync()
        successor = self.receiver()
        successor.expect_request(request, IDEMPOTENT)
        successor.finish(request, b"mine")
        self.assertEqual(sender.expect_response(request, FIN).body, b"mine")


class Time(ConformanceTest):

    def test_queued_request(self):
        sender = self.sender()
        began = time.monotonic()
        request = sender.start(timeout_ms=50)
        status = sender.expect_reset(request, Code.DEADLINE_EXCEEDED)
        self.assertGreaterEqual(time.monotonic() - began, 0.049)
        self.assertFalse(status.may_have_run)
        receiver = self.receiver(wait_ms=0)
        receiver.expect_nothing_came()

    def test_assigned_request(self):
        sender, receiver, request = self.assigned(timeout_ms=50)
        sender.expect_reset(request, Code.DEADLINE_EXCEEDED)
        receiver.expect_reset(request, Code.DEADLINE_EXCEEDED)
        self.check_exchange(sender, receiver)

    def test_in_the_middle_of_both_streams(self):
        sender, receiver, request = self.assigned(timeout_ms=3000)
        receiver.answer(request)
        sender.expect_response(request)
        sender.expect_reset(request, Code.DEADLINE_EXCEEDED)
        receiver.expect_reset(request, Code.DEADLINE_EXCEEDED)

    def test_remaining_time_is_at_least_1_ms(self):
        sender, receiver = self.sender(), self.receiver()
        self.assertEqual(receiver.expect_request(sender.start(timeout_ms=1)).timeout_ms, 1)


class RequireReceiver(ConformanceTest):

    def check_refused(self):
        sender = self.sender()
        status = sender.expect_reset(sender.start(flags=REQUIRE_RECEIVER), Code.UNAVAILABLE)
        self.assertEqual((status.end, status.may_have_run), ("no_receiver", False))

    def test_nobody_is_there(self):
        self.check_refused()

    def test_client_that_never_received_is_no_receiver(self):
        self.sender()
        self.check_refused()

    def test_receiver_that_left_is_none(self):
        receiver = self.receiver(wait_ms=0)
        receiver.leave()
        receiver.sync()
        self.check_refused()

    def test_waiting_receiver(self):
        receiver = self.receiver()
        request = self.sender().start(flags=REQUIRE_RECEIVER)
        receiver.expect_request(request, REQUIRE_RECEIVER)

    def test_busy_receiver(self):
        _, receiver, first = self.assigned()
        sender = self.sender()
        request = sender.start(flags=REQUIRE_RECEIVER)
        sender.sync().expect_quiet()
        receiver.answer(first, flags=FIN)
        receiver.receive()
        receiver.expect_request(request, REQUIRE_RECEIVER)

    def test_receiver_between_two_waits(self):
        self.receiver(wait_ms=0)
        sender = self.sender()
        sender.start(flags=REQUIRE_RECEIVER)
        sender.sync().expect_quiet()


class QueueCount(ConformanceTest):
    FLAGS = ("--queue-count", "2")

    def test_one_more_is_refused_at_once(self):
        requests = []
        for _ in range(2):
            sender = self.sender()
            requests.append(sender.start())
            sender.sync().expect_quiet()
        third = self.sender()
        self.assertFalse(third.expect_reset(third.start(), Code.RESOURCE_EXHAUSTED).may_have_run)
        receiver = self.client()
        receiver.sync()
        for request in requests:
            receiver.receive()
            receiver.expect_request(request)
            receiver.finish(request)
        third.receive()
        third.expect_request(self.sender().start())

    def test_other_channels_have_a_queue_of_their_own(self):
        for _ in range(2):
            sender = self.sender()
            sender.start()
            sender.sync()
        elsewhere = self.sender(channel=uuid.uuid4().bytes)
        elsewhere.start()
        elsewhere.sync().expect_quiet()

    def test_requeued_request_is_above_the_bound(self):
        sender, receiver, request = self.assigned(IDEMPOTENT)
        queued = [self.sender() for _ in range(2)]
        for other in queued:
            other.start()
            other.sync()
        receiver.reset(request, requeue=True)
        receiver.sync()
        for client in (sender, *queued):
            client.expect_quiet()
        self.receiver().expect_request(request, IDEMPOTENT)


class QueueBytes(ConformanceTest):
    FLAGS = ("--queue-bytes", "100000")

    def test_start_over_the_bytes_is_refused_at_once(self):
        sender, second = self.sender(), self.sender()
        request = sender.start(body=bytes(60_000))
        sender.sync().expect_quiet()
        second.expect_reset(second.start(body=bytes(60_000)), Code.RESOURCE_EXHAUSTED)
        self.receiver().expect_request(request)

    def test_held_frames_shed_the_youngest(self):
        oldest, youngest = self.sender(), self.sender()
        old, young = oldest.start(), None
        oldest.sync()
        young = youngest.start(body=bytes(30_000))
        youngest.sync()
        oldest.chunk(old, bytes(60_000))
        oldest.sync().expect_quiet()
        oldest.chunk(old, bytes(30_000))
        self.assertFalse(youngest.expect_reset(young, Code.RESOURCE_EXHAUSTED).may_have_run)
        oldest.sync().expect_quiet()
        oldest.chunk(old, bytes(60_000))
        oldest.expect_reset(old, Code.RESOURCE_EXHAUSTED)
        receiver = self.receiver(wait_ms=0)
        receiver.expect_nothing_came()

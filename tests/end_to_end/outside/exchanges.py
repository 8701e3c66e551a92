"""The life of an exchange: handing out, the start block, waiting, order. Its credit is in credit.py."""

import os
import time
import uuid

from harness import Client, ConformanceTest, Relayd, RelaydDidNotStart
from relay_wire import FIN, NIL, RECEIVE, REQUEST, RESPONSE, Code, Field, Start, Type

DEFAULT_WINDOW_BYTES = 256 * 1024
DEFAULT_MAX_WINDOW_BYTES = 16 * 1024 * 1024


class Greeting(ConformanceTest):

    def test_welcome_tells_the_default_limits(self):
        limits = self.greeted().limits
        self.assertEqual(
            (limits.max_payload_bytes, limits.initial_window_bytes, limits.max_window_bytes,
             limits.max_clients_per_connection, limits.max_start_bytes, limits.heartbeat_interval_ms,
             limits.heartbeat_misses, limits.max_attempts),
            (128 * 1024, DEFAULT_WINDOW_BYTES, DEFAULT_MAX_WINDOW_BYTES, 4096, 16 * 1024, 5000, 3, 3))
        self.assertEqual(len(limits.server_id), 16)

    def test_ping_is_answered_with_its_own_bytes(self):
        line = self.greeted()
        line.send(Type.PING, payload=b"\x00\xff 6 byt")
        frame = line.next()
        self.assertEqual((frame.type, frame.flags, frame.slot, frame.id, frame.payload),
                         (Type.PONG, 0, 0, NIL, b"\x00\xff 6 byt"))


class SmallestLimits(ConformanceTest):
    """The smallest that the page allows are allowed, and one less keeps relayd from starting."""

    SMALLEST = (
        ("--max-payload-bytes", "65536", "65535"),
        ("--initial-window-bytes", "65536", "65535"),
        ("--max-clients-per-connection", "1", "0"),
        ("--max-start-bytes", "4096", "4095"),
        ("--heartbeat-interval", "100ms", "99ms"),
        ("--heartbeat-misses", "2", "1"),
        ("--max-attempts", "1", "0"),
    )
    FLAGS = tuple(word for flag, smallest, _ in SMALLEST for word in (flag, smallest)) + ("--max-window-bytes", "65536")

    def test_smallest(self):
        limits = self.greeted().limits
        self.assertEqual(
            (limits.max_payload_bytes, limits.initial_window_bytes, limits.max_window_bytes,
             limits.max_clients_per_connection, limits.max_start_bytes, limits.heartbeat_interval_ms,
             limits.heartbeat_misses, limits.max_attempts), (65536, 65536, 65536, 1, 4096, 100, 2, 1))

    def test_one_less(self):
        too_small = [(flag, value) for flag, _, value in self.SMALLEST]
        too_small.append(("--max-window-bytes", "65536"))  # less than the initial window's default
        for flag, value in too_small:
            with self.subTest(f"{flag} {value}"):
                with self.assertRaises(RelaydDidNotStart):
                    Relayd(flag, value).stop()


class Leaving(ConformanceTest):

    def test_leave_is_echoed_and_the_slot_may_be_bound_again(self):
        client = self.sender()
        client.leave()
        client.expect_leave(Code.OK)
        again = self.client(client.line)
        self.check_exchange(again, self.client())

    def test_waiting_receiver_that_left_is_handed_nothing(self):
        receiver = self.receiver()
        receiver.leave()
        receiver.expect_leave(Code.OK)
        sender = self.sender()
        request = sender.start()
        self.receiver().expect_request(request)
        receiver.expect_quiet()

    def test_client_id_is_free_after_leave(self):
        client = self.sender()
        client.leave()
        client.expect_leave(Code.OK)
        self.client(id=client.id).sync().expect_quiet()


class Exchange(ConformanceTest):
    """Sender and receiver each on a connection of their own."""

    def clients(self):
        return self.client(), self.client()

    def test_request_whole_before_any_receiver(self):
        sender, receiver = self.clients()
        request = sender.start(body=b"one")
        sender.chunk(request, b"two")
        sender.end(request, payload=b"trailer")
        sender.sync()
        receiver.receive()
        self.assertEqual(receiver.expect_request(request).body, b"one")
        receiver.expect_chunk(request, b"two")
        self.assertEqual(receiver.expect_end(request), b"trailer")

    def test_one_frame_each_way(self):
        self.check_exchange(*self.clients(), body=os.urandom(1000).lower())

    def test_empty_bodies(self):
        self.check_exchange(*self.clients(), body=b"")

    def test_fin_on_a_chunk_ends_the_stream(self):
        sender, receiver = self.clients()
        receiver.receive()
        request = sender.start()
        receiver.expect_request(request)
        sender.send(Type.CHUNK, request, b"all", REQUEST | FIN)
        self.assertEqual(receiver.expect(Type.CHUNK, request, REQUEST | FIN), b"all")
        receiver.answer(request)
        receiver.send(Type.CHUNK, request, b"ALL", RESPONSE | FIN)
        sender.expect_response(request)
        self.assertEqual(sender.expect(Type.CHUNK, request, RESPONSE | FIN), b"ALL")
        self.check_exchange(sender, receiver)

    def test_full_duplex(self):
        sender, receiver = self.clients()
        receiver.receive()
        request = sender.start()
        receiver.expect_request(request)
        receiver.answer(request)
        sender.expect_response(request)
        for part in (b"a", b"", os.urandom(5000)):
            sender.chunk(request, part)
            receiver.expect_chunk(request, part)
            receiver.chunk(request, part[::-1], RESPONSE)
            sender.expect_chunk(request, part[::-1], RESPONSE)
        sender.end(request)
        receiver.expect_end(request)
        receiver.chunk(request, b"more", RESPONSE)
        sender.expect_chunk(request, b"more", RESPONSE)
        receiver.end(request, RESPONSE)
        sender.expect_end(request, RESPONSE)

    def test_early_answer_ends_the_exchange(self):
        sender, receiver = self.clients()
        receiver.receive()
        request = sender.start()
        receiver.expect_request(request)
        receiver.finish(request)
        sender.expect_response(request, FIN)
        sender.chunk(request, b"late")
        sender.end(request)
        sender.sync().expect_quiet()
        receiver.expect_quiet()
        self.check_exchange(sender, receiver)

    def test_end_with_status_and_metadata_passes_as_it_is(self):
        sender, receiver = self.clients()
        receiver.receive()
        request = sender.start()
        receiver.expect_request(request)
        receiver.answer(request)
        receiver.end(request, RESPONSE, b"\x0a\x02\x08\x05")
        sender.expect_response(request)
        self.assertEqual(sender.expect_end(request, RESPONSE), b"\x0a\x02\x08\x05")

    def test_receive_flag_rides_on_the_last_frame(self):
        for last in ("START", "CHUNK", "END"):
            with self.subTest(last):
                sender, receiver = self.clients()
                receiver.receive()
                request = sender.start()
                receiver.expect_request(request)
                if last == "START":
                    receiver.answer(request, flags=FIN | RECEIVE)
                    sender.expect_response(request, FIN)
                elif last == "CHUNK":
                    receiver.answer(request)
                    receiver.send(Type.CHUNK, request, b"x", RESPONSE | FIN | RECEIVE)
                    sender.expect_response(request)
                    sender.expect(Type.CHUNK, request, RESPONSE | FIN)
                else:
                    receiver.answer(request)
                    receiver.send(Type.END, request, b"", RESPONSE | RECEIVE)
                    sender.expect_response(request)
                    sender.expect(Type.END, request, RESPONSE)
                second = sender.start()
                receiver.expect_request(second)
                receiver.leave()
                receiver.expect_leave(Code.OK)
                sender.expect_reset(second, Code.UNAVAILABLE)

    def test_two_at_once_do_not_mix(self):
        pairs = [self.clients() for _ in range(2)]
        requests = []
        for sender, receiver in pairs:
            receiver.receive()
            receiver.sync()
            requests.append(sender.start())
            receiver.expect_request(requests[-1])
        for (sender, _), request in zip(pairs, requests):
            sender.chunk(request, request)
        for (_, receiver), request in zip(pairs, requests):
            receiver.expect_chunk(request, request)
            receiver.finish(request, request)
        for (sender, _), request in zip(pairs, requests):
            self.assertEqual(sender.expect_response(request, FIN).body, request)

    def test_request_id_may_be_used_again_at_once(self):
        sender, receiver = self.clients()
        request = uuid.uuid4().bytes
        for body in (b"one", b"two"):
            receiver.receive()
            sender.start(request, body, FIN)
            self.assertEqual(receiver.expect_request(request, FIN).body, body)
            receiver.finish(request)
            sender.expect_response(request, FIN)

    def test_channels_know_nothing_of_each_other(self):
        sender, _ = self.clients()
        elsewhere = uuid.uuid4().bytes
        other_sender = self.client(channel=elsewhere, id=sender.id)
        other_receiver = self.client(channel=elsewhere)
        other_receiver.receive()
        other_receiver.sync()
        request = sender.start(body=b"here")
        sender.sync()
        other_receiver.expect_quiet()
        other_sender.start(request, b"there")
        self.assertEqual(other_receiver.expect_request(request).body, b"there")
        receiver = self.receiver()
        self.assertEqual(receiver.expect_request(request).body, b"here")
        other_receiver.finish(request, b"THERE")
        receiver.finish(request, b"HERE")
        self.assertEqual(sender.expect_response(request, FIN).body, b"HERE")
        self.assertEqual(other_sender.expect_response(request, FIN).body, b"THERE")


class ExchangeOnOneConnection(Exchange):
    """The same, with all clients on the slots of a single connection."""

    def setUp(self):
        super().setUp()
        self.line = self.greeted()
        self.slots = iter(range(1, 100))

    def client(self, line=None, slot=None, channel=None, **join):
        return Client(self, self.line, next(self.slots), channel or self.channel, **join)


class StartBlock(ConformanceTest):

    def test_each_side_learns_the_others_client_id(self):
        sender, receiver = self.sender(), self.receiver()
        request = sender.start()
        self.assertEqual(receiver.expect_request(request).peer, sender.id)
        receiver.finish(request)
        self.assertEqual(sender.expect_response(request, FIN).peer, receiver.id)

    def test_start_and_body_pass_as_they_are(self):
        start = Start(method="resize", content_type="image/png", metadata=[Field(key="k", value=b"\x00\xff")])
        sender, receiver = self.sender(), self.receiver()
        request = sender.start(start=start, body=b"body")
        came = receiver.expect_request(request)
        self.assertEqual((came.start, came.body), (start.encode(), b"body"))
        receiver.answer(request, b"BODY", start=start)
        back = sender.expect_response(request)
        self.assertEqual((back.start, back.body, back.timeout_ms, back.extension_ms),
                         (start.encode(), b"BODY", 0, 0))

    def test_attempt_is_1_on_both(self):
        sender, receiver = self.sender(), self.receiver()
        request = sender.start()
        self.assertEqual(receiver.expect_request(request).attempt, 1)
        receiver.finish(request)
        self.assertEqual(sender.expect_response(request, FIN).attempt, 1)

    def test_queue_wait_and_remaining_timeout(self):
        sender, before = self.client(), time.monotonic()
        request = sender.start(timeout_ms=60_000)
        sender.sync()
        read = time.monotonic()
        self.pass_time(30)
        receive = time.monotonic()
        receiver = self.client()
        receiver.receive()
        came = receiver.expect_request(request)
        after = time.monotonic()
        self.assertGreaterEqual(came.queued_us, (receive - read) * 1e6 - 2000)
        self.assertLessEqual(came.queued_us, (after - before) * 1e6 + 2000)
        self.assertGreaterEqual(came.timeout_ms, 60_000 - (after - before) * 1e3 - 2)
        self.assertLessEqual(came.timeout_ms, 60_000 - (receive - read) * 1e3 + 2)
        receiver.finish(request)
        self.assertEqual(sender.expect_response(request, FIN).queued_us, came.queued_us)

    def pass_time(self, milliseconds):
        """The server's own clock: a wait on a channel where nothing comes."""
        client = self.client(channel=uuid.uuid4().bytes)
        client.receive(milliseconds)
        client.expect_nothing_came()

    def test_no_timeout_stays_none(self):
        sender, receiver = self.sender(), self.receiver()
        self.assertEqual(receiver.expect_request(sender.start()).timeout_ms, 0)


class Waiting(ConformanceTest):

    def test_wait_of_0_is_answered_at_once(self):
        receiver = self.receiver(wait_ms=0)
        receiver.expect_nothing_came()
        sender = self.sender()
        request = sender.start()
        sender.sync()
        receiver.expect_quiet()
        receiver.receive(0)
        receiver.expect_request(request)

    def test_wait_of_50_ms(self):
        receiver = self.sender()
        began = time.monotonic()
        receiver.receive(50)
        receiver.expect_nothing_came()
        waited = time.monotonic() - began
        self.assertGreaterEqual(waited, 0.049)
        self.assertLess(waited, 2)
        sender = self.sender()
        sender.start()
        sender.sync()
        receiver.expect_quiet()

    def test_request_within_the_wait(self):
        receiver = self.receiver(wait_ms=60_000)
        receiver.expect_request(self.sender().start())

    def test_slot_is_free_after_the_wait(self):
        client = self.receiver(wait_ms=0)
        client.expect_nothing_came()
        self.receiver().expect_request(client.start())

    def test_withdraw_of_a_waiting_slot(self):
        receiver = self.receiver()
        receiver.withdraw()
        receiver.expect_withdrawn()
        sender = self.sender()
        request = sender.start()
        sender.sync()
        receiver.expect_quiet()
        self.receiver().expect_request(request)

    def test_withdraw_of_an_idle_slot_hands_out_nothing(self):
        sender = self.sender()
        request = sender.start()
        receiver = self.client()
        sender.sync()
        receiver.withdraw()
        receiver.expect_withdrawn()
        receiver.expect_quiet()
        receiver.receive()
        receiver.expect_request(request)

    def test_withdraw_that_crosses_a_start(self):
        sender, receiver = self.sender(), self.receiver()
        request = sender.start()
        sender.sync()
        receiver.withdraw()
        receiver.expect_request(request)
        receiver.expect_withdrawn()
        receiver.finish(request, b"done")
        self.assertEqual(sender.expect_response(request, FIN).body, b"done")

    def test_withdraw_while_sending_changes_nothing(self):
        sender, receiver, request = self.assigned()
        sender.withdraw()
        sender.expect_withdrawn()
        receiver.finish(request)
        sender.expect_response(request, FIN)

    def test_receive_flag_on_a_late_frame_counts(self):
        sender, receiver, request = self.assigned()
        sender.reset(request, Code.CANCELLED)
        receiver.expect_reset(request, Code.CANCELLED)
        receiver.send(Type.END, request, b"", RESPONSE | RECEIVE)
        receiver.sync()
        second = sender.start()
        receiver.expect_request(second)


class Order(ConformanceTest):

    def test_requests_are_handed_out_in_the_order_of_their_starts(self):
        requests = []
        for body in range(5):
            sender = self.sender()
            requests.append(sender.start(body=bytes([body]), flags=FIN))
            sender.sync()
        receiver = self.client()
        for body, request in enumerate(requests):
            receiver.receive()
            self.assertEqual(receiver.expect_request(request, FIN).body, bytes([body]))
            receiver.finish(request)

    def test_the_receiver_that_has_waited_longest_is_next(self):
        receivers = [self.receiver() for _ in range(4)]
        for receiver in receivers:
            sender = self.sender()
            request = sender.start()
            sender.sync()
            receiver.expect_request(request)

    def test_a_receiver_that_comes_back_joins_the_end_of_the_line(self):
        first, second = self.receiver(), self.receiver()
        sender = self.sender()
        request = sender.start()
        first.expect_request(request)
        first.answer(request, flags=FIN | RECEIVE)
        sender.expect_response(request, FIN)
        second.expect_request(sender.start())
        first.expect_request(self.sender().start())

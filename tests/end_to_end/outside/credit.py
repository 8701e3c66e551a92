"""Credit: what a stream may cost, how it is raised, and what happens to an exchange that costs more."""

from harness import ConformanceTest
from relay_wire import FIN, FRAME_COST, IDEMPOTENT, REQUEST, RESPONSE, Code, Type

DEFAULT_WINDOW_BYTES = 256 * 1024
DEFAULT_MAX_WINDOW_BYTES = 16 * 1024 * 1024


class Credit(ConformanceTest):

    def fill(self, client, request, cost, direction=REQUEST):
        """Spends exactly this much of a stream's credit."""
        while cost:
            step = min(cost, 65536)
            step = step if cost - step >= FRAME_COST or cost == step else step - FRAME_COST
            client.chunk(request, bytes(step - FRAME_COST), direction)
            cost -= step

    def drain(self, client, request, cost, direction=REQUEST):
        while cost:
            cost -= FRAME_COST + len(client.expect(Type.CHUNK, request, direction))

    def test_held_frames_may_fill_the_window_before_any_receiver(self):
        sender = self.sender()
        request = sender.start()
        self.fill(sender, request, DEFAULT_WINDOW_BYTES)
        sender.sync().expect_quiet()
        receiver = self.receiver()
        receiver.expect_request(request)
        self.drain(receiver, request, DEFAULT_WINDOW_BYTES)

    def test_one_byte_over_the_window_while_queued(self):
        sender = self.sender()
        request = sender.start()
        self.fill(sender, request, DEFAULT_WINDOW_BYTES + 1)
        sender.expect_reset(request, Code.RESOURCE_EXHAUSTED)

    def test_request_window_at_and_over(self):
        sender, receiver, request = self.assigned()
        self.fill(sender, request, DEFAULT_WINDOW_BYTES)
        self.drain(receiver, request, DEFAULT_WINDOW_BYTES)
        sender.sync().expect_quiet()
        sender.chunk(request, b"")
        sender.expect_reset(request, Code.RESOURCE_EXHAUSTED)
        receiver.expect_reset(request, Code.RESOURCE_EXHAUSTED)
        self.check_exchange(sender, receiver)

    def test_response_window_at_and_over(self):
        sender, receiver, request = self.assigned()
        receiver.answer(request)
        sender.expect_response(request)
        self.fill(receiver, request, DEFAULT_WINDOW_BYTES, RESPONSE)
        self.drain(sender, request, DEFAULT_WINDOW_BYTES, RESPONSE)
        receiver.sync().expect_quiet()
        receiver.chunk(request, b"", RESPONSE)
        sender.expect_reset(request, Code.RESOURCE_EXHAUSTED)
        receiver.expect_reset(request, Code.RESOURCE_EXHAUSTED)
        self.check_exchange(sender, receiver)

    def test_start_costs_its_body_and_a_frame(self):
        for body, over in ((b"", 0), (bytes(1000), 0), (b"", 1), (bytes(1000), 1)):
            with self.subTest(body=len(body), over=over):
                sender, receiver, request = self.assigned(body=body)
                rest = DEFAULT_WINDOW_BYTES - (FRAME_COST + len(body) if body else 0)
                self.fill(sender, request, rest + over)
                if over:
                    sender.expect_reset(request, Code.RESOURCE_EXHAUSTED)
                else:
                    self.drain(receiver, request, rest)
                    sender.sync().expect_quiet()

    def test_end_costs_nothing(self):
        sender, receiver, request = self.assigned()
        self.fill(sender, request, DEFAULT_WINDOW_BYTES)
        self.drain(receiver, request, DEFAULT_WINDOW_BYTES)
        sender.end(request, payload=b"trailer")
        receiver.expect_end(request)

    def test_window_is_handed_on_and_may_be_used_whole(self):
        sender, receiver, request = self.assigned()
        total = DEFAULT_WINDOW_BYTES + 100_000
        receiver.window(request, total, REQUEST)
        sender.expect_window(request, total, REQUEST)
        self.fill(sender, request, total)
        self.drain(receiver, request, total)
        sender.chunk(request, b"")
        sender.expect_reset(request, Code.RESOURCE_EXHAUSTED)

    def test_response_window_is_handed_on_and_may_be_used_whole(self):
        sender, receiver, request = self.assigned()
        total = DEFAULT_WINDOW_BYTES + 100_000
        sender.window(request, total, RESPONSE)
        receiver.expect_window(request, total, RESPONSE)
        receiver.answer(request)
        sender.expect_response(request)
        self.fill(receiver, request, total, RESPONSE)
        self.drain(sender, request, total, RESPONSE)
        receiver.chunk(request, b"", RESPONSE)
        receiver.expect_reset(request, Code.RESOURCE_EXHAUSTED)

    def test_only_a_greater_total_means_anything(self):
        sender, receiver, request = self.assigned()
        for total in (0, DEFAULT_WINDOW_BYTES, DEFAULT_WINDOW_BYTES + 9, DEFAULT_WINDOW_BYTES + 9,
                      DEFAULT_WINDOW_BYTES + 8):
            receiver.window(request, total, REQUEST)
        receiver.sync()
        sender.expect_window(request, DEFAULT_WINDOW_BYTES + 9, REQUEST)
        sender.expect_quiet()

    def test_window_up_to_max_window_beyond_the_cost(self):
        sender, receiver, request = self.assigned(body=bytes(1000))
        total = FRAME_COST + 1000 + DEFAULT_MAX_WINDOW_BYTES
        receiver.window(request, total, REQUEST)
        sender.expect_window(request, total, REQUEST)
        for over in (total + 1, 2**64 - 1):
            sender, receiver, request = self.assigned(body=bytes(1000))
            receiver.window(request, over, REQUEST)
            sender.expect_reset(request, Code.INVALID_ARGUMENT)
            receiver.expect_reset(request, Code.INVALID_ARGUMENT)

    def test_response_window_too_far_before_anybody_is_assigned(self):
        sender = self.sender()
        request = sender.start()
        sender.window(request, DEFAULT_MAX_WINDOW_BYTES + 1, RESPONSE)
        sender.expect_reset(request, Code.INVALID_ARGUMENT)
        receiver = self.receiver(wait_ms=0)
        receiver.expect_nothing_came()

    def test_response_window_before_assignment_comes_behind_start(self):
        sender = self.sender()
        request = sender.start(flags=FIN)
        for total in (DEFAULT_WINDOW_BYTES + 1, DEFAULT_WINDOW_BYTES + 70_000, DEFAULT_WINDOW_BYTES + 2):
            sender.window(request, total, RESPONSE)
        sender.sync()
        receiver = self.receiver()
        receiver.expect_request(request, FIN)
        receiver.expect_window(request, DEFAULT_WINDOW_BYTES + 70_000, RESPONSE)
        receiver.expect_quiet()

    def test_one_stalled_exchange_holds_up_nobody(self):
        sender, receiver, request = self.assigned()
        self.fill(sender, request, DEFAULT_WINDOW_BYTES)
        self.check_exchange(self.client(sender.line, 2), self.client(receiver.line, 2))


class CreditOfARedeliverableRequest(ConformanceTest):

    def test_windows_are_kept_back_until_a_response_frame_passes(self):
        sender, receiver, request = self.assigned(IDEMPOTENT)
        for extra in (1, 70_000):
            receiver.window(request, DEFAULT_WINDOW_BYTES + extra, REQUEST)
        receiver.sync()
        sender.expect_quiet()
        receiver.answer(request)
        came = {frame.type: frame for frame in (sender.next(), sender.next())}
        self.assertEqual(set(came), {Type.START, Type.WINDOW})
        self.assertEqual(int.from_bytes(came[Type.WINDOW].payload, "big"), DEFAULT_WINDOW_BYTES + 70_000)

    def test_windows_go_out_when_the_stream_passes_half_a_window(self):
        sender, receiver, request = self.assigned(IDEMPOTENT)
        receiver.window(request, DEFAULT_WINDOW_BYTES + 5, REQUEST)
        half = DEFAULT_WINDOW_BYTES // 2
        for size in (65536, half - 65536 - 2 * FRAME_COST):
            sender.chunk(request, bytes(size))
        receiver.sync()
        sender.expect_quiet()
        sender.chunk(request, b"")
        sender.expect_window(request, DEFAULT_WINDOW_BYTES + 5, REQUEST)


class SmallWindow(ConformanceTest):
    FLAGS = ("--initial-window-bytes", "65536")

    def test_start_that_carries_exactly_the_window(self):
        self.assigned(body=bytes(65536 - FRAME_COST))

    def test_start_that_carries_one_byte_more(self):
        sender = self.sender()
        sender.expect_reset(sender.start(body=bytes(65536 - FRAME_COST + 1)), Code.RESOURCE_EXHAUSTED)

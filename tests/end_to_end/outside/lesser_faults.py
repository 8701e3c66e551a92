"""Faults that stay smaller than their connection: of an exchange, a slot, an id, a join. And late frames, which are
no fault at all.
"""

import uuid

from harness import ConformanceTest
from relay_wire import FIN, NIL, REQUEST, RESPONSE, Code, Type

DEFAULT_MAX_START_BYTES = 16 * 1024


class ExchangeFaults(ConformanceTest):
    """RESET to both sides with INVALID_ARGUMENT; both clients are free at once, and nothing else is touched."""

    def check_reset_of_both(self, sender, receiver, request):
        sender.expect_reset(request, Code.INVALID_ARGUMENT)
        receiver.expect_reset(request, Code.INVALID_ARGUMENT)
        self.check_exchange(sender, receiver)

    def answered(self):
        sender, receiver, request = self.assigned()
        receiver.answer(request)
        sender.expect_response(request)
        return sender, receiver, request

    def test_second_request_start(self):
        sender, receiver, request = self.assigned()
        sender.start(request)
        self.check_reset_of_both(sender, receiver, request)

    def test_second_response_start(self):
        sender, receiver, request = self.answered()
        receiver.answer(request)
        self.check_reset_of_both(sender, receiver, request)

    def test_response_before_its_start(self):
        for type in (Type.CHUNK, Type.END):
            with self.subTest(type.name):
                sender, receiver, request = self.assigned()
                receiver.send(type, request, b"", RESPONSE)
                self.check_reset_of_both(sender, receiver, request)

    def test_request_frames_after_its_end(self):
        for ended_by in (Type.START, Type.CHUNK, Type.END):
            for type in (Type.CHUNK, Type.END):
                with self.subTest(f"{type.name} after {ended_by.name}"):
                    flags = FIN if ended_by == Type.START else 0
                    sender, receiver, request = self.assigned(flags)
                    if ended_by == Type.CHUNK:
                        sender.send(Type.CHUNK, request, b"x", REQUEST | FIN)
                        receiver.expect(Type.CHUNK, request, REQUEST | FIN)
                    elif ended_by == Type.END:
                        sender.end(request)
                        receiver.expect_end(request)
                    sender.send(type, request, b"", REQUEST)
                    self.check_reset_of_both(sender, receiver, request)

    def test_request_frame_after_its_end_while_queued(self):
        sender = self.sender()
        request = sender.start(flags=FIN)
        sender.chunk(request, b"x")
        sender.expect_reset(request, Code.INVALID_ARGUMENT)
        receiver = self.receiver(wait_ms=0)
        receiver.expect_nothing_came()

    def test_request_start_of_max_start_bytes_and_one_over(self):
        sender, receiver = self.sender(), self.receiver()
        request = sender.start(start=bytes(DEFAULT_MAX_START_BYTES))
        self.assertEqual(len(receiver.expect_request(request).start), DEFAULT_MAX_START_BYTES)
        newcomer = self.sender()
        newcomer.expect_reset(newcomer.start(start=bytes(DEFAULT_MAX_START_BYTES + 1)), Code.INVALID_ARGUMENT)
        newcomer.receive()
        newcomer.expect_request(self.sender().start())

    def test_response_start_of_max_start_bytes_and_one_over(self):
        for over in (0, 1):
            sender, receiver, request = self.assigned()
            receiver.answer(request, start=bytes(DEFAULT_MAX_START_BYTES + over))
            if over:
                self.check_reset_of_both(sender, receiver, request)
            else:
                sender.expect_response(request)

    def test_end_payload_of_max_start_bytes_and_one_over(self):
        for direction in (REQUEST, RESPONSE):
            for over in (0, 1):
                with self.subTest(direction=direction, over=over):
                    sender, receiver, request = self.answered()
                    writer, reader = (sender, receiver) if direction == REQUEST else (receiver, sender)
                    writer.end(request, direction, bytes(DEFAULT_MAX_START_BYTES + over))
                    if over:
                        self.check_reset_of_both(sender, receiver, request)
                    else:
                        reader.expect_end(request, direction)


class SlotFaults(ConformanceTest):
    """RESET of that id, or of nil for RECEIVE, with FAILED_PRECONDITION; what the slot does goes on."""

    def check_refused(self, client):
        """The slot may begin neither a Receive nor a Send."""
        client.receive()
        client.expect_reset(NIL, Code.FAILED_PRECONDITION)
        request = client.start()
        client.expect_reset(request, Code.FAILED_PRECONDITION)
        client.sync()

    def test_slot_that_is_not_joined(self):
        client = self.sender()
        client.slot = 7
        self.check_refused(client)

    def test_waiting_slot(self):
        receiver = self.receiver()
        self.check_refused(receiver)
        receiver.expect_request(self.sender().start())

    def test_slot_with_a_queued_request(self):
        sender = self.sender()
        request = sender.start()
        self.check_refused(sender)
        self.receiver().expect_request(request)

    def test_both_slots_of_an_exchange(self):
        sender, receiver, request = self.assigned()
        self.check_refused(sender)
        self.check_refused(receiver)
        sender.chunk(request, b"on")
        receiver.expect_chunk(request, b"on")
        receiver.finish(request)
        sender.expect_response(request, FIN)
        self.check_exchange(sender, receiver)

    def test_slot_that_has_left(self):
        client = self.sender()
        client.leave()
        client.expect_leave(Code.OK)
        self.check_refused(client)


class IdFaults(ConformanceTest):
    """RESET to the newcomer with ALREADY_EXISTS; the live exchange goes on."""

    def check_newcomer(self, newcomer, request):
        newcomer.start(request, b"mine")
        newcomer.expect_reset(request, Code.ALREADY_EXISTS)

    def test_id_of_a_queued_request(self):
        sender = self.sender()
        request = sender.start(body=b"first")
        sender.sync()
        self.check_newcomer(self.client(), request)
        self.check_newcomer(self.client(sender.line, 2), request)
        self.assertEqual(self.receiver().expect_request(request).body, b"first")
        sender.expect_quiet()

    def test_id_of_an_assigned_request(self):
        sender, receiver, request = self.assigned()
        newcomer = self.client()
        self.check_newcomer(newcomer, request)
        self.check_newcomer(self.client(receiver.line, 2), request)
        sender.chunk(request, b"on")
        receiver.expect_chunk(request, b"on")
        receiver.finish(request)
        sender.expect_response(request, FIN)
        self.check_exchange(newcomer, receiver)


class JoinFaults(ConformanceTest):
    FLAGS = ("--max-clients-per-connection", "2")

    def test_live_client_id(self):
        old = self.receiver()
        for line, slot in ((self.greeted(), 1), (old.line, 2)):
            newcomer = self.client(line, slot, id=old.id)
            newcomer.expect_leave(Code.ALREADY_EXISTS)
            self.client(line, slot).sync().expect_quiet()
        old.expect_request(self.sender().start())

    def test_too_many_clients(self):
        line = self.greeted()
        first, second = self.client(line, 1), self.client(line, 2)
        self.client(line, 3).expect_leave(Code.RESOURCE_EXHAUSTED)
        self.check_exchange(first, second)
        second.leave()
        second.expect_leave(Code.OK)
        self.check_exchange(first, self.client(line, 3))


class TakingOver(ConformanceTest):
    KEY = b"a secret of the client's"

    def test_waiting_receiver(self):
        old = self.receiver(key=self.KEY)
        new = self.client(id=old.id, key=self.KEY)
        old.expect_leave(Code.ABORTED)
        request = self.sender().start()
        new.receive()
        new.expect_request(request)
        old.expect_quiet()

    def test_old_slot_may_be_bound_again(self):
        old = self.sender(key=self.KEY)
        new = self.client(old.line, 2, id=old.id, key=self.KEY)
        old.expect_leave(Code.ABORTED)
        self.check_exchange(self.client(old.line, 1), new)

    def test_working_receiver(self):
        sender, receiver = self.sender(), self.receiver(key=self.KEY)
        request = sender.start()
        receiver.expect_request(request)
        self.client(id=receiver.id, key=self.KEY)
        receiver.expect_leave(Code.ABORTED)
        self.assertTrue(sender.expect_reset(request, Code.UNAVAILABLE).may_have_run)

    def test_sender(self):
        sender, receiver = self.sender(key=self.KEY), self.receiver()
        request = sender.start()
        receiver.expect_request(request)
        new = self.client(id=sender.id, key=self.KEY)
        sender.expect_leave(Code.ABORTED)
        receiver.expect_reset(request, Code.CANCELLED)
        self.check_exchange(new, receiver)

    def test_any_other_key_takes_nothing(self):
        for old_key, new_key in ((self.KEY, b"another"), (self.KEY, b""), (b"", self.KEY), (b"", b"")):
            with self.subTest(old=old_key, new=new_key):
                old = self.sender(key=old_key)
                self.client(id=old.id, key=new_key).expect_leave(Code.ALREADY_EXISTS)
                old.expect_quiet()


class LateFrames(ConformanceTest):
    """Dropped, and never an error: to whoever sends one, a foreign id looks like an unknown one."""

    def say_everything(self, client, request):
        for direction in (REQUEST, RESPONSE):
            client.chunk(request, b"x", direction)
            client.end(request, direction)
            client.window(request, 1 << 20, direction)
        client.answer(request)
        client.reset(request, Code.CANCELLED)
        client.sync().expect_quiet()

    def test_unknown_id(self):
        client = self.sender()
        self.say_everything(client, uuid.uuid4().bytes)
        self.check_exchange(client, self.client())

    def test_slot_that_is_not_joined(self):
        client = self.sender()
        client.slot = 9
        self.say_everything(client, uuid.uuid4().bytes)

    def test_ended_id(self):
        sender, receiver, request = self.assigned()
        receiver.finish(request)
        sender.expect_response(request, FIN)
        self.say_everything(sender, request)
        self.say_everything(receiver, request)
        self.check_exchange(sender, receiver)

    def test_payload_of_a_late_frame_is_not_looked_at(self):
        client = self.sender()
        client.send(Type.RESET, uuid.uuid4().bytes, b"\xff")
        client.send(Type.START, uuid.uuid4().bytes, b"short", RESPONSE)
        client.sync().expect_quiet()

    def test_strangers_touch_neither_a_queued_nor_an_assigned_exchange(self):
        stranger = self.sender()
        queued = self.sender()
        first = queued.start()
        queued.sync()
        self.say_everything(stranger, first)
        self.say_everything(self.client(queued.line, 2), first)
        receiver = self.receiver()
        receiver.expect_request(first)
        self.say_everything(stranger, first)
        self.say_everything(self.client(receiver.line, 2), first)
        queued.expect_quiet()
        receiver.expect_quiet()
        receiver.finish(first)
        queued.expect_response(first, FIN)

    def test_receiver_that_was_not_assigned_answers(self):
        sender, receiver, request = self.assigned()
        other = self.receiver()
        other.finish(request, b"not mine")
        other.sync()
        sender.expect_quiet()
        receiver.finish(request, b"mine")
        self.assertEqual(sender.expect_response(request, FIN).body, b"mine")

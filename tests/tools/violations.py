"""Conversations that break each rule of PROTOCOL.md, and such that break none. Each is what passes on one connection,
as ("up", bytes) and ("down", bytes)."""

import uuid

from conversation import (CHUNK, EXTEND, FIN, GOAWAY, MIRROR, NIL, OBSERVE, PING, PREFACE, RECEIVE, REQUEST, RESPONSE,
                          START, TAKES_NEXT, chunk, end, frame, goaway, handed_on, hello, id_of, join, leave, message,
                          ping, receive, reset, start, varint, welcome, window, withdraw)

UP, DOWN = "up", "down"
ONE, TWO, REQ = id_of(1), id_of(2), id_of(5)
OPENS = [(UP, PREFACE + hello() + join(1, ONE) + join(2, TWO)),
         (DOWN, welcome())]
GREETS = PREFACE + hello()
BEGUN = (UP, start(REQUEST, 1, REQ))
ASSIGNED = [(UP, receive(2)), (DOWN, handed_on(REQUEST, 2, REQ, b"abc"))]

# By the rule that one frame of each breaks, and no other does: what is said on a connection where two clients have
# joined.
BREAKS = {
    "second_hello": [[(UP, hello())]],
    "second_welcome": [[(DOWN, welcome())]],
    "server_frame": [[(UP, welcome())], [(UP, frame(MIRROR, 0, 0, NIL, bytes(56)))]],
    "client_frame": [[(DOWN, hello())], [(DOWN, join(3, REQ))],
                     [(DOWN, frame(OBSERVE, 0, 0, NIL))]],
    "observer_role": [[(UP, frame(OBSERVE, 0, 0, NIL))]],
    "bad_header": [[(UP, ping(slot=5))], [(UP, chunk(REQUEST | RESPONSE, 1, REQ))],
                   [(UP, frame(RECEIVE, 0x40, 1, NIL))], [(UP, chunk(REQUEST, 1, NIL))],
                   [(DOWN, chunk(REQUEST, 0, REQ))], [(UP, frame(RECEIVE, 0, 1, REQ))]],
    "payload_too_large": [[(UP, frame(CHUNK, REQUEST, 1, REQ, bytes(65537)) + ping()),
                           (UP, ping()), (DOWN, chunk(REQUEST, 1, REQ))]],
    "malformed": [[(UP, frame(PING, 0, 0, NIL, bytes(7)))],
                  [(UP, frame(RECEIVE, 0, 1, NIL, b"\x08"))],
                  [(UP, frame(GOAWAY, 0, 0, NIL, b"\x12\1\xff"))],
                  [(UP, join(3, NIL))], [(UP, join(3, b"short"))], [(UP, join(3, id_of(3), f4=bytes(65)))],
                  [(UP, start(REQUEST, 1, REQ, message=b"\x08"))]],
    "bad_start": [[(UP, frame(START, REQUEST, 1, REQ, bytes(39)))],
                  [(UP, frame(START, REQUEST, 1, REQ, bytes(26) + b"\0\1" + bytes(12)))],
                  [(UP, start(REQUEST, 1, REQ, attempt=1))],
                  [(UP, receive(2)), (DOWN, frame(START, REQUEST, 2, REQ, bytes(39)))],
                  [*ASSIGNED, (UP, frame(START, RESPONSE, 2, REQ, bytes(19) + b"\1" + bytes(20)))]],
    "slot_bound": [[(UP, join(1, id_of(3)))]],
    "slot_leaving": [[(UP, leave(1, ONE)), (UP, join(1, id_of(3)))]],
    "channel_name": [[(UP, join(3, id_of(3), name=b"other"))],
                     [(UP, join(3, id_of(3), name=b"a\nb"))],
                     [(UP, join(3, id_of(3), name=str(uuid.UUID(int=7)).encode()))]],
    "nil_reset": [[(UP, reset(1, NIL, 1))]],
    "after_fault": [[(DOWN, goaway(3)), (DOWN, ping())]],
    "receive_handed_on": [[BEGUN, (DOWN, handed_on(RESPONSE, 1, REQ)),
                           (DOWN, end(RESPONSE | TAKES_NEXT, 1, REQ))]],
    "slot_not_joined": [[(UP, receive(9))], [(UP, start(REQUEST, 9, REQ))],
                        [(UP, withdraw(9))]],
    "slot_busy": [[(UP, receive(2)), (UP, receive(2))],
                  [BEGUN, (UP, start(REQUEST, 1, id_of(6)))]],
    "connection_leaving": [[(UP, goaway()), (UP, receive(2))],
                           [(UP, goaway()), (UP, start(REQUEST, 1, REQ))]],
    "before_echo": [[(UP, receive(2) + withdraw(2)), (UP, receive(2))]],
    "id_live": [[BEGUN, (UP, start(REQUEST, 2, REQ))]],
    "not_waiting": [[(DOWN, receive(1))], [(DOWN, handed_on(REQUEST, 1, REQ))]],
    "no_withdrawal": [[(DOWN, withdraw(1))]],
    "attempt": [[(UP, receive(2)), (DOWN, start(REQUEST, 2, REQ))]],
    "second_start": [[BEGUN, BEGUN], [*ASSIGNED, (UP, start(RESPONSE, 2, REQ) * 2)]],
    "not_started": [[(UP, chunk(REQUEST, 1, REQ))], [(UP, end(REQUEST, 1, REQ))],
                    [*ASSIGNED, (UP, chunk(RESPONSE, 2, REQ))],
                    [*ASSIGNED, (UP, end(RESPONSE, 2, REQ))]],
    "after_end": [[BEGUN, (UP, end(REQUEST, 1, REQ)), (UP, end(REQUEST, 1, REQ))],
                  [(UP, start(REQUEST | FIN, 1, REQ)), (UP, chunk(REQUEST, 1, REQ))],
                  [*ASSIGNED, (UP, start(RESPONSE | FIN, 2, REQ) + end(RESPONSE, 2, REQ))],
                  [BEGUN, (DOWN, handed_on(RESPONSE, 1, REQ) + end(RESPONSE, 1, REQ) + end(RESPONSE, 1, REQ))]],
    "start_too_large": [[(UP, start(REQUEST, 1, REQ, message=message(f1=b"m" * 4094)))],
                        [*ASSIGNED, (UP, start(RESPONSE, 2, REQ,
                                                            message=message(f1=b"m" * 4094)))]],
    "end_too_large": [[BEGUN, (UP, end(REQUEST, 1, REQ, message(f2=b"\x0a\x01k\x12" +
                                                   varint(4090) + b"v" * 4090)))]],
    "window_overrun": [[BEGUN, (UP, chunk(REQUEST, 1, REQ, bytes(65536 - 23)))],
                       [(UP, start(REQUEST, 1, REQ, bytes(40000)) +
                         chunk(REQUEST, 1, REQ, bytes(30000)))]],
    "window_too_far": [[*ASSIGNED, (UP, window(REQUEST, 2, REQ, 28 + 4 * 65536))],
                       [*ASSIGNED, (UP, window(REQUEST, 2, REQ, 2**64 - 1))]],
    "not_assigned": [[(DOWN, chunk(REQUEST, 1, REQ))], [(DOWN, end(REQUEST, 2, REQ))]],
    "not_begun": [[(DOWN, chunk(RESPONSE, 2, REQ))], [(UP, chunk(RESPONSE, 1, REQ))],
                  [(DOWN, reset(1, REQ, 14))], [(UP, frame(EXTEND, 0, 1, REQ, bytes(4)))],
                  [(UP, window(REQUEST, 1, REQ, 70000))]],
    "wrong_way": [[BEGUN, (DOWN, handed_on(RESPONSE, 1, REQ)), (DOWN, chunk(REQUEST, 1, REQ))]],
}
# The same, from the first byte on.
BREAKS_FROM_THE_START = {
    "payload_too_large": [[(UP, GREETS + b"\xff" + ping())]],
    "bad_preface": [[(UP, b"GET / HTTP/1.1\r\n"), (UP, b"\r\n"), (DOWN, ping())], [(UP, b"REL"), (UP, b"AX")]],
    "before_hello": [[(UP, PREFACE + ping())]],
    "before_welcome": [[(UP, GREETS), (DOWN, ping())]],
    "bad_version": [[(UP, PREFACE + hello(version=2))]],
    "hello_too_large": [[(UP, PREFACE + hello(f2=b"a" * 4080))]],
    "payload_before_welcome": [[(UP, GREETS + join(1, ONE) +
                                 start(REQUEST, 1, REQ, bytes(65537 - 40)))]],
    "limits": [[(UP, GREETS), (DOWN, welcome(max_start=4095))]],
    "observer_role": [[(UP, PREFACE + hello(f4=1) + join(1, ONE))]],
}
# What is late, what is neither, and what credit is left.
BREAK_NOTHING = [
    [(UP, receive(2)), (UP, start(REQUEST, 1, REQ, b"a")),
     (DOWN, handed_on(REQUEST, 2, REQ, b"a")), (UP, chunk(REQUEST | FIN, 1, REQ, b"b")),
     (DOWN, chunk(REQUEST | FIN, 2, REQ, b"b")), (UP, window(REQUEST, 2, REQ, 70000)),
     (DOWN, window(REQUEST, 1, REQ, 70000) + window(REQUEST, 1, REQ, 5)),
     (UP, frame(EXTEND, 0, 2, REQ, bytes(4))), (UP, start(RESPONSE, 2, REQ)),
     (DOWN, handed_on(RESPONSE, 1, REQ)), (UP, end(RESPONSE | TAKES_NEXT, 2, REQ)),
     (DOWN, end(RESPONSE, 1, REQ)), (DOWN, chunk(REQUEST, 2, REQ)),
     (DOWN, handed_on(REQUEST, 2, id_of(6)))],
    [BEGUN, (UP, chunk(REQUEST, 1, REQ, bytes(65536 - 24))), (DOWN, reset(1, REQ, 4)),
     (UP, chunk(REQUEST, 1, REQ) + end(REQUEST, 1, REQ)),
     (UP, start(REQUEST, 1, id_of(6)) + reset(1, id_of(6), 1)),
     (DOWN, handed_on(RESPONSE, 1, id_of(6)) + window(REQUEST, 1, id_of(6), 70000))],
    [(UP, receive(2)), (UP, withdraw(2)),
     (DOWN, handed_on(REQUEST, 2, REQ) + withdraw(2))],
    [(DOWN, leave(1, ONE, 10)), (UP, receive(1)), (UP, start(REQUEST, 1, REQ)),
     (UP, chunk(REQUEST, 1, REQ)), (DOWN, reset(1, REQ, 9)), (UP, leave(1, ONE)),
     (UP, join(1, id_of(3)) + leave(2, TWO)), (DOWN, chunk(REQUEST, 2, REQ)),
     (DOWN, leave(2, TWO)), (UP, join(2, id_of(4), name=b""))],
    [(UP, receive(2)), (DOWN, goaway(14)), (UP, receive(2)),
     (DOWN, reset(2, NIL, 14)), (DOWN, goaway(8)), (UP, ping())],
    # Slots that are left, taken away and bound again.
    [(DOWN, leave(1, id_of(9))), (DOWN, leave(1, ONE, 10)), (UP, withdraw(1)),
     (DOWN, receive(1)), (UP, receive(2) + leave(2, TWO)),
     (DOWN, receive(2)), (DOWN, handed_on(REQUEST, 2, REQ))],
    [BEGUN, (UP, leave(1, ONE)), (DOWN, leave(1, ONE)), (UP, join(1, id_of(3))),
     (DOWN, window(REQUEST, 1, REQ, 70000)), (UP, start(REQUEST, 2, REQ))],
    [BEGUN, (DOWN, leave(1, ONE, 10)), (DOWN, reset(1, REQ, 10)),
     (UP, join(1, id_of(3))), (DOWN, window(REQUEST, 1, REQ, 70000))],
    [BEGUN, (DOWN, reset(1, REQ, 4)), (UP, start(REQUEST, 2, REQ))],
    # A RECEIVE that is refused, and one that comes with a frame that is late.
    [(UP, receive(2)), (DOWN, reset(2, NIL, 8)), (UP, receive(2))],
    [*ASSIGNED, (DOWN, reset(2, REQ, 1)), (UP, end(RESPONSE | TAKES_NEXT, 2, REQ)),
     (DOWN, handed_on(REQUEST, 2, id_of(6)))],
    [(UP, frame(77, 0xff, 1, REQ, b"?")), (DOWN, frame(200, 0, 0, NIL))],
]

// The language of fuzz_client_protocol's inputs: a byte says what happens next, and as many bytes as it needs follow.

#ifndef RELAY_TESTS_FUZZ_CLIENT_SCRIPT_H_
#define RELAY_TESTS_FUZZ_CLIENT_SCRIPT_H_

#include <cstdint>

namespace relay::fuzz {

// The first byte of an input is the length of the pieces in which the bytes come the second time. What a byte means
// from then on, modulo kClientStepCount. `slot` is taken modulo 8; `id` modulo 8 is an index: 0 the nil id, 6 and 7
// that of the slot's exchange, the others are ids of their own. A body has as many bytes as its
// byte says, from 128 on (byte - 127) x 512.
enum ClientStep : uint8_t {
  // What the server says.
  kSaysRaw,          // length, bytes
  kSaysFrame,        // type, flags, slot, id, length, payload
  kSaysWelcome,      // window and payload in 4 KiB more than the smallest, clients
  kSaysRequest,      // slot, id, flags, body, timeout in ms
  kSaysResponse,     // slot, id, flags, body
  kSaysHeadless,     // flags, slot, id: a START whose head cannot be read
  kSaysChunk,        // flags, slot, id, length of the body
  kSaysEnd,          // flags, slot, id, code
  kSaysWindow,       // flags, slot, id, in KiB
  kSaysReset,        // slot, id, code
  kSaysLeave,        // slot, code: of the slot's client
  kSaysNothingCame,  // slot
  kSaysWithdrawn,    // slot
  kSaysPing,         // number
  kSaysGoaway,       // code

  // What the owner does.
  kDoesJoin,      // client
  kDoesLeave,     // slot
  kDoesReceive,   // slot, wait in ms (255: without end)
  kDoesWithdraw,  // slot
  kDoesStart,     // slot, id, flags (of Does), body
  kDoesRespond,   // slot, id, flags, body
  kDoesWrite,     // slot, id, flags, length of the body
  kDoesEnd,       // slot, id, flags, code
  kDoesConsume,   // slot, id, part of what is outstanding, in 255ths
  kDoesReset,     // slot, id, code
  kDoesGoaway,    //
  kTimePasses,    // in units of 20 ms
  kSaysExtend,    // slot, id, in ms
  kDoesExtend,    // slot, id, in ms
  kClientStepCount,
};

enum Does : uint8_t {
  kIsWhole = 0x01,
  kGoesOn = 0x02,
  kIsIdempotent = 0x04,
  kRequiresReceiver = 0x08,
  kHasTimeout = 0x10,
  kAtMostOneKib = 0x20,  // kDoesWrite
};

}  // namespace relay::fuzz

#endif  // RELAY_TESTS_FUZZ_CLIENT_SCRIPT_H_

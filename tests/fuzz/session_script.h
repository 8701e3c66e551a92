// The language of fuzz_session's inputs: a byte says what happens next, and as many bytes as it needs follow.

#ifndef RELAY_TESTS_FUZZ_SESSION_SCRIPT_H_
#define RELAY_TESTS_FUZZ_SESSION_SCRIPT_H_

#include <cstdint>

namespace relay::fuzz {

// The first byte of an input.
enum Opening : uint8_t {
  kSaysHello = 0x01,    // every fuzzed connection begins with preface and HELLO
  kJoins = 0x02,        // and with clients on slots 1 and 2 of the bystanders' channel, 3 of another one
  kSmallLimits = 0x04,  // bounds of a few bytes and frames
  kObserved = 0x08,     // somebody is shown it all; each fuzzed connection may ask for that, too
};

// What a byte means, modulo kStepCount. `id` is an index: 0 the nil id, 1 the bystanders' request, 2... others.
enum Step : uint8_t {
  kRaw,       // length, bytes
  kFrame,     // type, flags, slot, id, length, payload
  kReceive,   // slot, wait in 10 ms (255: without end)
  kWithdraw,  // slot
  kRequest,   // slot, id, flags, length of the body, timeout in 100 ms (and that it may be extended by as much again)
  kResponse,  // slot, id, flags, length of the body
  kChunk,     // flags, slot, id, length
  kEnd,       // flags, slot, id
  kWindow,    // flags, slot, id, KiB
  kReset,     // slot, id, code
  kJoin,      // slot, client, channel
  kLeave,     // slot, client
  kPing,      //
  kGoaway,    //
  kHalfRaw,   // length, bytes: with the next step in one turn
  kTime,      // in units of 20 ms
  kBystand,   // the bystanders take a step
  kStall,     // the fuzzed peer does not read
  kResume,    //
  kInputEnd,  //
  kBreak,     //
  kConnect,   // the next steps are another connection's
  kExtend,    // slot, id, in 100 ms
  kStepCount,
};

}  // namespace relay::fuzz

#endif  // RELAY_TESTS_FUZZ_SESSION_SCRIPT_H_

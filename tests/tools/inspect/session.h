// A session with every type of frame and every end, as a proxy would have seen it: the relay's side is written by the
// real core, on a clock that moves only when told.

#ifndef RELAY_TESTS_TOOLS_INSPECT_SESSION_H_
#define RELAY_TESTS_TOOLS_INSPECT_SESSION_H_

#include <string>

#include "proto/uuid.h"
#include "tools/inspect/tap.h"

namespace relay::inspect {

// An id that looks like any other, and is the same in every run.
proto::Uuid SomeId(uint32_t number);

// Tells all of it, but for Finish.
void TellSession(Tap& tap);

// A request that waits until a receiver is free, moves from one that is lost to the next, and stands still for want of
// credit on its way back. Its id is SomeId(900).
void TellSlowExchange(Tap& tap);

// A request whose sender goes while a receiver works on it, and one that nobody took until its time was over. Each id
// is SomeId(900).
void TellLostSender(Tap& tap);
void TellExpiredRequest(Tap& tap);

// The two directions of a connection as raw bytes, of which nobody knows what passed when: exchanges that end well and
// ill, one that the capture cuts, and what a client does that it must not.
struct TwoDirections {
  std::string to_server;
  std::string to_client;
};
TwoDirections UnorderedSession();
void TellUnordered(Tap& tap);

}  // namespace relay::inspect

#endif  // RELAY_TESTS_TOOLS_INSPECT_SESSION_H_

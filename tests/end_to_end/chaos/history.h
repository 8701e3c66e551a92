// What the actors of a run saw: one record for each thing that happened to a request, on either side.
//
// An actor writes each record to its file before it does what the record announces, and behind what it has seen, so
// that a SIGKILL loses nothing that mattered. The files together are the history that checker.h judges.

#ifndef RELAY_TESTS_END_TO_END_CHAOS_HISTORY_H_
#define RELAY_TESTS_END_TO_END_CHAOS_HISTORY_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "relay/status.h"
#include "relay/uuid.h"

namespace relay::chaos {

// A value, as it stands in the file. `key` names a Send for the whole run: the sender draws it and it travels in the
// metadata. `delivery` names one handing-out of a request among those of its actor.
struct Event {
  enum class Kind : uint8_t {
    kBegin,      // the sender is about to send: is_idempotent, timeout_ms, sum of the body
    kNamed,      // the sender knows the request's id: request
    kEnd,        // the Send has ended: code, may_have_run, sum of the reply
    kDelivered,  // a receiver was handed a request: request, attempt, delivery
    kBodyRead,   // it has read the body to its end: sum
    kAnswer,     // it is about to answer: code, sum of the answer
    kAnswered,   // it has answered: code of what Finish said
  };

  int64_t at_us = 0;   // on the clock of the machine
  uint64_t key = 0;    // of the Send
  uint64_t sum = 0;    // SumOf the bytes
  Uuid request;        // its id on the wire
  uint32_t actor = 0;  // the process that writes
  uint32_t delivery = 0;
  uint32_t timeout_ms = 0;  // 0: none
  uint32_t attempt = 0;
  Kind kind = Kind::kBegin;
  StatusCode code : 8 = StatusCode::kOk;
  bool is_idempotent = false;
  bool may_have_run = false;
  uint32_t unused = 0;
};
// A write of so many bytes never crosses a page of the file, where a kill could cut it.
static_assert(sizeof(Event) == 64);

using History = std::vector<Event>;

// For people.
std::string ToString(const Event& event);

// 64 bits that tell bytes apart, their number included.
uint64_t SumOf(std::string_view bytes);

// Microseconds on the machine's monotonic clock, which all processes share.
int64_t NowUs();

// The file of one actor. Thread-safe.
class Recorder {
 public:
  // Makes the file, or empties it; a failure ends the process.
  Recorder(const std::string& path, uint32_t actor);
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;
  ~Recorder();

  // Writes `event` with the time and the actor filled in. It is in the file when this returns.
  void Write(Event event);

 private:
  const int file_;
  const uint32_t actor_;
};

// The records of one file.
History LoadHistory(const std::string& path);

}  // namespace relay::chaos

#endif  // RELAY_TESTS_END_TO_END_CHAOS_HISTORY_H_

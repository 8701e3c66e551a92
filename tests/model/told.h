// A frame that the relay sends, as far as PROTOCOL.md determines it: two are equal if a client could not tell them
// apart but for words meant for people and estimates.

#ifndef RELAY_TESTS_MODEL_TOLD_H_
#define RELAY_TESTS_MODEL_TOLD_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "proto/frame.h"

namespace relay::model {

// A value type. What a type does not bear is zero.
struct Told {
  proto::FrameType type = {};
  uint8_t flags = 0;
  uint64_t id = 0;  // the number in its last bytes
  // START.
  uint64_t other_client = 0;
  uint16_t attempt = 0;
  uint32_t timeout_ms = 0;  // EXTEND too
  uint32_t max_extension_ms = 0;
  uint32_t queue_wait_us = 0;
  // RESET, LEAVE, GOAWAY.
  absl::StatusCode code = absl::StatusCode::kOk;
  std::string end = {};
  bool may_have_run = false;

  std::string body = {};  // START, CHUNK
  uint64_t window = 0;    // WINDOW
  bool withdraw = false;  // RECEIVE

  bool operator==(const Told&) const = default;
  std::string ToString() const;
};

// A frame as it came. Its slot is where it was found.
Told Read(const proto::Frame& frame);

}  // namespace relay::model

#endif  // RELAY_TESTS_MODEL_TOLD_H_

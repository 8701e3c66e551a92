// What was sent in the simulated world, so that whoever reads can judge it.

#ifndef RELAY_TESTS_SIMULATION_STORY_H_
#define RELAY_TESTS_SIMULATION_STORY_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "proto/uuid.h"
#include "simulation/random.h"

namespace relay::simulation {

// A stream of bytes that both sides can compute: a piece of one long tape, which begins somewhere.
struct Sent {
  uint64_t seed = 0;
  uint64_t bytes = 0;  // sent so far
  bool is_whole = false;

  // The next `count` bytes.
  std::string Next(uint64_t count) const {
    std::string text;
    text.reserve(count);
    Pieces(bytes, count, [&](std::string_view piece) {
      text.append(piece);
      return true;
    });
    return text;
  }

  // Whether `text` stands at `at` in what was sent.
  bool Has(std::string_view text, uint64_t at) const {
    if (at + text.size() > bytes) return false;
    return Pieces(at, text.size(), [&](std::string_view piece) {
      const bool is_same = text.substr(0, piece.size()) == piece;
      text.remove_prefix(piece.size());
      return is_same;
    });
  }

 private:
  // A prime, so that no two windows of a stream look the same.
  static constexpr size_t kTapeBytes = 65521;

  static const std::array<char, kTapeBytes>& Tape() {
    static const auto* const tape = [] {
      auto* const made = new std::array<char, kTapeBytes>;
      Random random(1);
      for (char& c : *made) c = static_cast<char>(random.Next());
      return made;
    }();
    return *tape;
  }

  template <typename Use>
  bool Pieces(uint64_t at, uint64_t count, Use use) const {
    while (count > 0) {
      const size_t from = static_cast<size_t>((seed % kTapeBytes + at) % kTapeBytes);
      const size_t length = static_cast<size_t>(std::min<uint64_t>(count, kTapeBytes - from));
      if (!use(std::string_view(Tape().data() + from, length))) return false;
      at += length;
      count -= length;
    }
    return true;
  }
};

// One request and what became of it. Its number travels as the method of its START, and of each response to it.
struct Story {
  proto::Uuid sender = {};
  Sent request;
  bool is_idempotent = false;
  uint32_t handed_out = 0;             // how often the relay wrote it to a receiver
  std::set<uint16_t> wild_attempts;    // those that went to a wild one
  bool is_over = false;                // its sender has been told so
  std::map<uint16_t, Sent> responses;  // by attempt
  std::map<uint16_t, proto::Uuid> receivers;
};

}  // namespace relay::simulation

#endif  // RELAY_TESTS_SIMULATION_STORY_H_

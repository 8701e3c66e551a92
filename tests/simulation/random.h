// Chance that is the same with every compiler: splitmix64 (Steele, Lea, Flood, 2014), and no std:: distribution.

#ifndef RELAY_TESTS_SIMULATION_RANDOM_H_
#define RELAY_TESTS_SIMULATION_RANDOM_H_

#include <cstdint>
#include <cstring>

#include "proto/uuid.h"

namespace relay::simulation {

// Thread-compatible.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  // 0 to n - 1; n is at least 1.
  uint64_t Below(uint64_t n) { return Next() % n; }
  uint64_t Between(uint64_t least, uint64_t most) { return least + Below(most - least + 1); }
  bool OneIn(uint64_t n) { return Below(n) == 0; }

  // Small numbers as often as large ones: each bit length up to that of `most` equally often.
  uint64_t Scaled(uint64_t most) {
    uint64_t bits = 0;
    while ((most >> bits) != 0) ++bits;
    const uint64_t drawn = Next() & ((uint64_t{1} << Below(bits + 1)) - 1);
    return drawn > most ? most : drawn;
  }

  proto::Uuid Id() {
    proto::Uuid id;
    const uint64_t halves[2] = {Next(), Next() | 1};
    std::memcpy(id.data, halves, sizeof(halves));
    return id;
  }

 private:
  uint64_t state_;
};

}  // namespace relay::simulation

#endif  // RELAY_TESTS_SIMULATION_RANDOM_H_

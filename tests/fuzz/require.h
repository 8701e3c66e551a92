// What an oracle demands. A fuzzer stops at the first demand that fails, and keeps the input.

#ifndef RELAY_TESTS_FUZZ_REQUIRE_H_
#define RELAY_TESTS_FUZZ_REQUIRE_H_

#include <cstdio>
#include <cstdlib>

namespace relay::fuzz {

inline void Require(bool holds, const char* rule) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", rule);
  std::abort();
}

}  // namespace relay::fuzz

#endif  // RELAY_TESTS_FUZZ_REQUIRE_H_

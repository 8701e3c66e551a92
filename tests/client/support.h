// What the tests of the SDK share: connections that must open, bodies that can be told apart, a latch with a time
// limit.

#ifndef RELAY_TESTS_CLIENT_SUPPORT_H_
#define RELAY_TESTS_CLIENT_SUPPORT_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <random>
#include <string>

#include "relay/client.h"

namespace relay::testing {

#if defined(__SANITIZE_THREAD__)
#define RELAY_TESTS_UNDER_TSAN 1
#elif defined(__SANITIZE_ADDRESS__)
#define RELAY_TESTS_UNDER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RELAY_TESTS_UNDER_TSAN 1
#elif __has_feature(address_sanitizer)
#define RELAY_TESTS_UNDER_ASAN 1
#endif
#endif

// Sanitizers take so much longer, and a part of the rounds finds as much. AddressSanitizer maps and unmaps each large
// body.
#if defined(RELAY_TESTS_UNDER_TSAN)
inline constexpr int kSlowness = 10;
#elif defined(RELAY_TESTS_UNDER_ASAN)
inline constexpr int kSlowness = 5;
#else
inline constexpr int kSlowness = 1;
#endif

// Whether the memory of this process is what the code under test asked for: sanitizers keep what was freed.
#if defined(RELAY_TESTS_UNDER_TSAN) || defined(RELAY_TESTS_UNDER_ASAN)
inline constexpr bool kMemoryTells = false;
#else
inline constexpr bool kMemoryTells = true;
#endif

using std::chrono::milliseconds;

inline std::shared_ptr<Connection> MustOpen(const std::string& url, ConnectionOptions options = {}) {
  auto connection = Connection::Open(url, std::move(options));
  EXPECT_TRUE(connection.ok()) << connection.status();
  return connection.ok() ? *connection : nullptr;
}

// Bytes that no other seed gives.
inline std::string Body(size_t bytes, uint32_t seed) {
  std::string body(bytes, '\0');
  std::minstd_rand random(seed + 1);
  for (size_t i = 0; i < bytes; i += 4) {
    const auto word = static_cast<uint32_t>(random());
    for (size_t k = 0; k < 4 && i + k < bytes; ++k) body[i + k] = static_cast<char>(word >> (8 * k));
  }
  return body;
}

// The status of a Send that its sender or its receiver has ended so while a receiver had it.
inline Status Ran(Status status) { return status.set_may_have_run(true); }

// What a worker of these tests makes of a request: no echo, so that nobody who sees his own bytes is content.
inline std::string Transformed(std::string body) {
  for (char& c : body) c = static_cast<char>(c ^ 0x5a);
  return body;
}

// Counts down; Wait is false where that takes longer than half a minute. Thread-safe.
class Countdown {
 public:
  explicit Countdown(int count) : count_(count) {}
  void Down() {
    std::lock_guard lock(mutex_);
    if (--count_ <= 0) changed_.notify_all();
  }
  bool Wait() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(30), [this] { return count_ <= 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int count_;
};

}  // namespace relay::testing

#endif  // RELAY_TESTS_CLIENT_SUPPORT_H_

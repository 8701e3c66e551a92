// A sender and a receiver that keep every rule and ask for little: a steady rate of small requests, each answered with
// its own body. What a flood does to them is what it does to everybody else.

#ifndef RELAY_TESTS_END_TO_END_FLOOD_PAIR_H_
#define RELAY_TESTS_END_TO_END_FLOOD_PAIR_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace flood {

// From writing START to having read the answer. A value type.
struct Latency {
  size_t count = 0;
  double p50_us = 0;
  double p90_us = 0;
  double p99_us = 0;
  double most_us = 0;
};

// Thread-safe; a thread of its own drives both.
class Pair {
 public:
  // `core`: that it is kept to, and there runs before all others that the system lets it.
  Pair(uint16_t port, double requests_per_second, std::optional<int> core);
  // Stop().
  ~Pair();
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;

  // Of the requests that were answered since the last call. Waits first, up to half a minute, until as many are
  // answered as had been sent: what a server that stood still has not answered counts with the time that it took.
  Latency Take();

  // Sends no more, waits for what is outstanding, up to half a minute. What went wrong, in words; empty where every
  // request was answered once and with its own body.
  std::string Stop();

 private:
  class Peer;

  void Run();

  const uint16_t port_;
  const double requests_per_second_;
  const std::optional<int> core_;
  std::mutex mutex_;
  std::vector<double> latencies_us_;  // guarded by mutex_
  std::string fault_;                 // written by the thread, read once it has ended
  std::atomic<uint64_t> sent_ = 0;
  std::atomic<uint64_t> answered_ = 0;
  std::atomic<bool> stopping_ = false;
  std::atomic<bool> ready_ = false;
  std::thread thread_;
};

}  // namespace flood

#endif  // RELAY_TESTS_END_TO_END_FLOOD_PAIR_H_

// Senders and receivers at random load, and the record of what they saw. Each connection has a thread that opens it,
// works on it for a while with several clients, closes it, now and then under the feet of what runs, and begins again.

#ifndef RELAY_TESTS_END_TO_END_CHAOS_LOAD_H_
#define RELAY_TESTS_END_TO_END_CHAOS_LOAD_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "history.h"
#include "relay/connection.h"

namespace relay::chaos {

struct LoadOptions {
  enum class Role { kSend, kReceive };

  Role role = Role::kSend;
  std::string url;
  uint32_t actor = 0;
  uint64_t seed = 0;
  size_t connections = 2;
  size_t clients = 4;  // of each connection
};

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  uint64_t Next() { return engine_(); }
  // From `least` to `most`.
  uint64_t Between(uint64_t least, uint64_t most) {
    return std::uniform_int_distribution<uint64_t>(least, most)(engine_);
  }
  bool Percent(uint64_t percent) { return Between(1, 100) <= percent; }

 private:
  std::mt19937_64 engine_;
};

// Runs from its making to Stop. Thread-compatible.
class Load {
 public:
  // `numbers` is what the actor counts its Sends and deliveries with, over all its loads.
  Load(const LoadOptions& options, const std::string& file, std::atomic<uint32_t>& numbers);
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;
  ~Load() { Stop(); }

  // Begins nothing more, and returns when all has ended. Sends are waited for, receivers closed.
  void Stop();

 private:
  void RunConnection(uint64_t seed);
  void RunSession(const std::shared_ptr<Connection>& connection, Random& random);

  const LoadOptions options_;
  std::atomic<uint32_t>& numbers_;
  Recorder recorder_;
  std::atomic<bool> is_stopping_ = false;
  std::vector<std::thread> threads_;
};

// The clients of one session, in sender.cc and receiver.cc: work until `is_over` says so or the connection is closed.
struct Session {
  const LoadOptions& options;
  std::shared_ptr<Connection> connection;
  Recorder& recorder;
  std::atomic<uint32_t>& numbers;
  std::function<bool()> is_over;
};
void SendUntilOver(const Session& session, Random& random);
void ReceiveUntilOver(const Session& session, Random& random);

// The channel on which all meet; where a Send's key travels; bytes that no other seed gives, mostly few.
inline constexpr const char* kChannel = "chaos";
inline constexpr const char* kKeyName = "key";
std::string Bytes(uint64_t seed, size_t size);
size_t DrawSize(Random& random);

}  // namespace relay::chaos

#endif  // RELAY_TESTS_END_TO_END_CHAOS_LOAD_H_

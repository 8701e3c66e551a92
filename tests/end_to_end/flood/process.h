// The processes of a flood: relayd, whose memory and CPU are watched from outside, and a sink that takes bytes and does
// nothing with them, to tell what a busy machine alone costs.

#ifndef RELAY_TESTS_END_TO_END_FLOOD_PROCESS_H_
#define RELAY_TESTS_END_TO_END_FLOOD_PROCESS_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace flood {

// Prints what failed, with errno's words, and exits with 2: the test itself cannot go on.
[[noreturn]] void Die(const std::string& what);

// A TCP connection to 127.0.0.1:`port`, not blocking and not yet there. -1 where the system has none left.
int Connect(uint16_t port);

// Ended at the latest with the object. Thread-compatible.
class Relayd {
 public:
  Relayd(const std::string& path, const std::vector<std::string>& flags);
  ~Relayd();
  Relayd(const Relayd&) = delete;
  Relayd& operator=(const Relayd&) = delete;

  uint16_t port() const { return port_; }
  pid_t pid() const { return pid_; }

  double CpuSeconds() const;
  size_t RssBytes() const;
  // The most since the last ForgetPeak.
  size_t PeakRssBytes() const;
  void ForgetPeak() const;

  // The longest turn of its loop since the last call, in us, as it says itself.
  uint64_t TakeLongestTurnUs();

  // SIGTERM, then the exit code, or minus the signal that ended it. Call once.
  int Stop();
  // How often each named end was reached, and every other count; from the log, after Stop.
  std::map<std::string, uint64_t> Counts() const;
  // The last lines of its log.
  std::string LogTail() const;

 private:
  size_t StatusBytes(const std::string& field) const;

  pid_t pid_ = -1;
  uint16_t port_ = 0;
  int log_ = -1;
};

// Accepts, reads and forgets. Ended with the object. Thread-compatible.
class Sink {
 public:
  Sink();
  ~Sink();
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;

  uint16_t port() const { return port_; }

 private:
  pid_t pid_ = -1;
  uint16_t port_ = 0;
};

}  // namespace flood

#endif  // RELAY_TESTS_END_TO_END_FLOOD_PROCESS_H_

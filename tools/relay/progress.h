// The line on a terminal that says how far a long request has come.

#ifndef RELAY_TOOLS_RELAY_PROGRESS_H_
#define RELAY_TOOLS_RELAY_PROGRESS_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>

#include "net/mutex.h"

namespace relay::tools {

// What the line says, in less than 80 columns.
struct ProgressNumbers {
  uint64_t sent_bytes = 0;
  std::optional<uint64_t> total_bytes;  // to be sent
  uint64_t received_bytes = 0;
  std::chrono::nanoseconds elapsed{0};
};
std::string ProgressText(const ProgressNumbers& numbers);

// Redraws the line from a thread of its own, once a body is long: beyond 1 MiB, or a second. Draws nothing unless
// Start was called. Thread-safe, but for Start and Finish.
class Progress {
 public:
  Progress() = default;
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { Finish(); }

  void Start(std::optional<uint64_t> total_bytes);
  void AddSent(size_t bytes) { sent_bytes_ += bytes; }
  void AddReceived(size_t bytes) { received_bytes_ += bytes; }
  // Draws the line a last time, if it was drawn before, and ends it. Nothing is drawn from here on.
  void Finish();

 private:
  void Run();
  void Draw();

  std::optional<uint64_t> total_bytes_;
  std::chrono::steady_clock::time_point started_;
  std::atomic<uint64_t> sent_bytes_ = 0;
  std::atomic<uint64_t> received_bytes_ = 0;
  bool is_drawn_ = false;  // the thread's; Finish's when that is gone

  net::Mutex mutex_;
  net::Condition changed_;
  bool finishing_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace relay::tools

#endif  // RELAY_TOOLS_RELAY_PROGRESS_H_

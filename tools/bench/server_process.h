// A server under measurement as a process of its own: started, watched through /proc, stopped by its id.

#ifndef RELAY_TOOLS_BENCH_SERVER_PROCESS_H_
#define RELAY_TOOLS_BENCH_SERVER_PROCESS_H_

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace relay::bench {

// What the system says of a process. Zero where it does not exist.
class ProcessMeter {
 public:
  explicit ProcessMeter(pid_t pid) : pid_(pid) {}
  // Of all of its threads, user and system.
  std::chrono::nanoseconds Cpu() const;
  uint64_t RssBytes() const;
  // The letter that /proc gives its state.
  char State() const;

 private:
  pid_t pid_;
};

// Killed with the object if it was not stopped. Thread-compatible.
class ServerProcess {
 public:
  // Starts relayd on a port of the system's choosing, or on `listen`, with more flags, and waits until it is ready.
  // `under` is what stands before it on the command line, as valgrind and its flags.
  static absl::StatusOr<std::unique_ptr<ServerProcess>> StartRelayd(const std::string& path, const std::string& listen,
                                                                    const std::vector<std::string>& flags,
                                                                    const std::vector<std::string>& under);
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  const std::string& url() const { return url_; }
  pid_t pid() const { return pid_; }

  // Returns when it stands still: waits until it has nothing to do, then stops it. Resume lets it go on.
  void Pause() const;
  void Resume() const;

  // SIGTERM; returns when it is gone, and fails if it did not end well.
  absl::Status Stop();

 private:
  ServerProcess() = default;

  pid_t child_ = -1;  // what was started; another process where it runs under a tracer
  pid_t pid_ = -1;
  std::string url_;
};

}  // namespace relay::bench

#endif  // RELAY_TOOLS_BENCH_SERVER_PROCESS_H_

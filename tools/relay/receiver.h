// The pool behind `relay receive`: takes requests, has them worked on, says what became of them, and stops when it is
// told to.

#ifndef RELAY_TOOLS_RELAY_RECEIVER_H_
#define RELAY_TOOLS_RELAY_RECEIVER_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <optional>
#include <string>

#include "net/mutex.h"
#include "relay/request.h"
#include "relay/serve.h"
#include "relay/status.h"
#include "tools/relay/work.h"

namespace relay::tools {

struct ReceiveArguments {
  enum class Work { kExec, kEcho, kStdout };
  enum class Talk { kQuiet, kFailures, kEveryRequest };

  std::string channel;
  std::string server;
  Work work = Work::kStdout;
  std::string command;  // of kExec
  size_t concurrency = 1;
  size_t count = 0;  // 0: no bound
  std::optional<std::chrono::milliseconds> wait;
  std::optional<std::chrono::milliseconds> extend;
  Talk talk = Talk::kFailures;
};

// Runs once. Thread-safe inside: requests come on the threads of the pool, signals on one of their own.
class Receiver {
 public:
  explicit Receiver(ReceiveArguments arguments);

  // Until SIGINT, SIGTERM, the count, the wait or an error. The exit code.
  int Run();

 private:
  bool OnStopSignal();
  void OnConnectionChange(const Status& status);
  Status OnRequest(Request& request);

  // Work on a request as the arguments say, and finish it. What it was finished with.
  Status Work(Request& request, Tally& tally);
  Status Echo(Request& request, Tally& tally);
  Status CopyToStdout(Request& request, Tally& tally);

  // Takes no more requests.
  void Stop();
  int ExitCode(const Status& pool_status);
  void Say(const std::string& words) const;

  const ReceiveArguments arguments_;
  std::atomic<size_t> taken_ = 0;
  std::atomic<size_t> running_ = 0;

  net::Mutex mutex_;
  Server* server_ ABSL_GUARDED_BY(mutex_) = nullptr;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  Status output_ ABSL_GUARDED_BY(mutex_);           // stdout cannot be written
  Status first_cut_short_ ABSL_GUARDED_BY(mutex_);  // a request of kStdout that did not come whole
};

}  // namespace relay::tools

#endif  // RELAY_TOOLS_RELAY_RECEIVER_H_

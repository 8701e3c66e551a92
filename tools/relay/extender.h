// Sees to it that a request has time left while it is worked on.

#ifndef RELAY_TOOLS_RELAY_EXTENDER_H_
#define RELAY_TOOLS_RELAY_EXTENDER_H_

#include <chrono>
#include <thread>

#include "net/mutex.h"
#include "relay/request.h"

namespace relay::tools {

// Asks for `time` from now on whenever half of that is left, on a thread of its own, from its beginning to its end or
// until that gains nothing more. The request outlives it. Thread-compatible.
class Extender {
 public:
  Extender(Request& request, std::chrono::milliseconds time);
  Extender(const Extender&) = delete;
  Extender& operator=(const Extender&) = delete;
  ~Extender();

 private:
  void Run();
  // False where it is to stop before.
  bool WaitUntil(std::chrono::steady_clock::time_point then);

  Request& request_;
  const std::chrono::milliseconds time_;
  net::Mutex mutex_;
  net::Condition changed_;
  bool stops_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace relay::tools

#endif  // RELAY_TOOLS_RELAY_EXTENDER_H_

// SIGINT and SIGTERM, taken by a thread instead of a signal handler: the first is a request to stop, the second ends
// the process.

#ifndef RELAY_TOOLS_RELAY_STOP_SIGNALS_H_
#define RELAY_TOOLS_RELAY_STOP_SIGNALS_H_

#include <functional>
#include <thread>

#include "tools/relay/io.h"

namespace relay::tools {

// Made before any other thread is, so that all of them leave the two signals to it. Thread-safe.
class StopSignals {
 public:
  // Both on the thread of this object. `stop` with the first signal; false: there is nothing to wait for. `end` with
  // the second one, or then; the process ends behind it with the code that a shell gives for that signal.
  StopSignals(std::function<bool()> stop, std::function<void()> end);
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;
  ~StopSignals();

 private:
  void Run();

  const std::function<bool()> stop_;
  const std::function<void()> end_;
  Wakeup quit_;
  UniqueFd signals_;
  std::thread thread_;
};

}  // namespace relay::tools

#endif  // RELAY_TOOLS_RELAY_STOP_SIGNALS_H_

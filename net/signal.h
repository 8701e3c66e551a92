// Calls on the loop for a signal of the process, outside of the signal's own context.

#ifndef RELAY_NET_SIGNAL_H_
#define RELAY_NET_SIGNAL_H_

#include <functional>

#include "net/loop.h"

namespace relay::net {

// Loop thread only. While it lives the signal's default action does not happen. It does not keep Run() from returning.
class SignalWatcher {
 public:
  SignalWatcher(Loop& loop, int signal_number, std::function<void()> call);
  ~SignalWatcher();
  SignalWatcher(const SignalWatcher&) = delete;
  SignalWatcher& operator=(const SignalWatcher&) = delete;

 private:
  struct Handle;

  Handle* const handle_;  // Deleted by its close callback.
};

}  // namespace relay::net

#endif  // RELAY_NET_SIGNAL_H_

#include "tools/relay/stop_signals.h"

#include <poll.h>
#include <pthread.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <utility>

#include "tools/relay/exit_codes.h"

namespace relay::tools {

StopSignals::StopSignals(std::function<bool()> stop, std::function<void()> end)
    : stop_(std::move(stop)), end_(std::move(end)) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signals_ = UniqueFd(signalfd(-1, &set, SFD_CLOEXEC));
  if (!signals_.is_open()) {
    PrintError(ErrnoText("relay: signalfd", errno) + "\n");
    std::abort();
  }
  thread_ = std::thread([this] { Run(); });
}

StopSignals::~StopSignals() {
  quit_.Wake();
  thread_.join();
}

void StopSignals::Run() {
  bool is_stopping = false;
  for (;;) {
    std::array<pollfd, 2> fds = {{{signals_.get(), POLLIN, 0}, {quit_.fd(), POLLIN, 0}}};
    if (poll(fds.data(), fds.size(), -1) < 0 && errno != EINTR) return;
    if (fds[1].revents != 0) return;
    signalfd_siginfo signal = {};
    if (fds[0].revents == 0 || read(signals_.get(), &signal, sizeof(signal)) != sizeof(signal)) continue;
    if (!is_stopping && stop_()) {
      is_stopping = true;
      continue;
    }
    end_();
    _exit(kExitSignalBase + static_cast<int>(signal.ssi_signo));
  }
}

}  // namespace relay::tools

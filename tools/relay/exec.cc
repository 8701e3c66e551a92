#include "tools/relay/exec.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <memory>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "tools/relay/child.h"
#include "tools/relay/environment.h"
#include "tools/relay/io.h"
#include "tools/relay/last_line.h"

namespace relay::tools {
namespace {

using Clock = std::chrono::steady_clock;

// Time to clean up between SIGTERM and SIGKILL.
constexpr std::chrono::seconds kGrace{5};

// One run of the command. Two threads: the handler's takes its output and its end, one feeds its input.
class Execution {
 public:
  Execution(Request& request, Child& child, Tally& tally)
      : request_(request), child_(child), tally_(tally), block_(kBlockBytes) {}

  Status Run() {
    std::thread feed([this] { Feed(); });
    request_.OnCancelled([this](const Status&) { given_up_.Wake(); });
    while (!is_over()) Turn();
    if (child_.errors().is_open()) PassErrors();
    const Status status = CommandStatus(child_.Wait(), last_error_line_.Get());
    // Frees the thread from a Read that it waits in.
    const Status end = Finish(status);
    request_.OnCancelled({});
    stop_feeding_.Wake();
    feed.join();
    return end;
  }

 private:
  // What the command has started may hold its stdout open when it has itself ended: that is waited for, as a shell
  // does.
  bool is_over() const { return has_ended_ && (!child_.output().is_open() || is_killed_); }

  Status Finish(const Status& status) {
    if (Child::AllWereSignalled()) {
      request_.Requeue();
      return UnavailableError("the worker was stopped");
    }
    const Status finished = request_.Finish(status);
    // Not OK: the request has ended before.
    return finished.ok() ? status : finished;
  }

  void Turn() {
    std::array<pollfd, 4> fds = {{{child_.output().get(), POLLIN, 0},
                                  {child_.errors().get(), POLLIN, 0},
                                  {has_ended_ ? -1 : child_.ended_fd(), POLLIN, 0},
                                  {is_terminated_ ? -1 : given_up_.fd(), POLLIN, 0}}};
    const int ready = poll(fds.data(), fds.size(), MillisecondsToKill());
    if (ready < 0) return;
    if (fds[3].revents != 0) Terminate();
    if (kill_at_.has_value() && Clock::now() >= *kill_at_) Kill();
    if (fds[1].revents != 0) PassErrors();
    if (fds[0].revents != 0) PassOutput();
    if (fds[2].revents != 0) has_ended_ = true;
  }

  void PassOutput() {
    const ssize_t got = read(child_.output().get(), block_.data(), block_.size());
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
      child_.output().Close();
      return;
    }
    const auto bytes = static_cast<size_t>(got);
    // Where it fails the request has ended, and the other thread says so; until the command has ended too, what it
    // still writes is thrown away.
    if (request_.Write({block_.data(), bytes}).ok()) tally_.out_bytes += bytes;
  }

  // One block is all that a pipe holds.
  void PassErrors() {
    const ssize_t got = read(child_.errors().get(), block_.data(), block_.size());
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
      child_.errors().Close();
      return;
    }
    const std::string_view text(block_.data(), static_cast<size_t>(got));
    last_error_line_.Add(text);
    PrintError(text);
  }

  void Terminate() {
    is_terminated_ = true;
    child_.Signal(SIGTERM);
    kill_at_ = Clock::now() + kGrace;
  }

  void Kill() {
    kill_at_.reset();
    is_killed_ = true;
    child_.Signal(SIGKILL);
  }

  int MillisecondsToKill() const {
    if (!kill_at_.has_value()) return -1;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*kill_at_ - Clock::now());
    return static_cast<int>(std::max<int64_t>(0, left.count()));
  }

  void Feed() {
    std::vector<char> block(kBlockBytes);
    for (;;) {
      const StatusOr<size_t> got = request_.Read(block);
      // Given up: the command must not take what it has for a whole body, so its stdin stays open until it is ended.
      if (!got.ok()) return;
      if (*got == 0) break;
      tally_.in_bytes += *got;
      const Status status = WriteAll(child_.input().get(), "stdin", {block.data(), *got}, &stop_feeding_);
      // It does not want to read on, which is its right.
      if (!status.ok()) break;
    }
    child_.input().Close();
  }

  Request& request_;
  Child& child_;  // its input is the feeding thread's
  Tally& tally_;
  Wakeup given_up_;
  Wakeup stop_feeding_;

  std::vector<char> block_;
  LastLine last_error_line_;
  bool has_ended_ = false;
  bool is_terminated_ = false;
  bool is_killed_ = false;
  std::optional<Clock::time_point> kill_at_;
};

std::vector<std::string> OwnEnvironment() {
  std::vector<std::string> environment;
  for (char** variable = environ; *variable != nullptr; ++variable) environment.emplace_back(*variable);
  return environment;
}

}  // namespace

Status RunCommand(Request& request, const std::string& channel, const std::string& command, Tally& tally) {
  const StatusOr<std::unique_ptr<Child>> child =
      Child::Start(command, CommandEnvironment(request.info(), channel, request.remaining(), OwnEnvironment()));
  if (!child.ok()) {
    const Status finished = request.Finish(child.status());
    return finished.ok() ? child.status() : finished;
  }
  return Execution(request, **child, tally).Run();
}

}  // namespace relay::tools

#include "tools/relay/receiver.h"

#include <unistd.h>

#include <csignal>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "relay/connection.h"
#include "relay/options.h"
#include "tools/relay/child.h"
#include "tools/relay/exec.h"
#include "tools/relay/exit_codes.h"
#include "tools/relay/extender.h"
#include "tools/relay/io.h"
#include "tools/relay/stop_signals.h"
#include "tools/relay/text.h"

namespace relay::tools {
namespace {

constexpr size_t kIdLetters = 8;
constexpr size_t kMethodColumns = 12;

// "3f2a9c1b  resize         1.2 MiB in   34.0 KiB out    12.3 ms  OK", 80 columns but for what a failure says.
std::string RequestLine(const RequestInfo& info, const Tally& tally, std::chrono::nanoseconds elapsed,
                        const Status& status) {
  const std::string method = info.method.empty() ? "-" : Printable(info.method, kMethodColumns);
  return info.id.ToString().substr(0, kIdLetters) + "  " + PadRight(method, kMethodColumns) + " " +
         PadLeft(FormatBytes(tally.in_bytes), 10) + " in " + PadLeft(FormatBytes(tally.out_bytes), 10) + " out " +
         PadLeft(FormatDuration(elapsed), 9) + "  " + status.ToString() + "\n";
}

Status FinishWith(Request& request, const Status& status) {
  const Status finished = request.Finish(status);
  return finished.ok() ? status : finished;
}

}  // namespace

Receiver::Receiver(ReceiveArguments arguments) : arguments_(std::move(arguments)) {}

int Receiver::Run() {
  // Made before the connection and its thread.
  const StopSignals signals([this] { return OnStopSignal(); }, [] { Child::SignalAll(SIGTERM); });
  ConnectionOptions options;
  options.agent = "relay-receive/" RELAY_VERSION;
  options.on_change = [this](const Status& status) { OnConnectionChange(status); };
  const auto connection = Connection::Open(arguments_.server, std::move(options));
  if (!connection.ok()) return ExitCode(connection.status());
  const ServeOptions pool{arguments_.concurrency, arguments_.count, arguments_.wait};
  const StatusOr<std::unique_ptr<Server>> server =
      Serve(*connection, arguments_.channel, pool, [this](Request& request) { return OnRequest(request); });
  if (!server.ok()) return ExitCode(server.status());
  {
    const net::MutexLock lock(mutex_);
    server_ = server->get();
    if (stopping_) server_->BeginStop();
  }
  Say("waiting for requests on " + arguments_.channel + " at " + (*connection)->url());
  const Status status = (*server)->Wait();
  {
    const net::MutexLock lock(mutex_);
    server_ = nullptr;
  }
  return ExitCode(status);
}

bool Receiver::OnStopSignal() {
  {
    const net::MutexLock lock(mutex_);
    if (server_ == nullptr) return false;
  }
  if (const size_t running = running_; running > 0) {
    Say("finishing " + Counted(running, "request") + "; a second signal stops at once");
  }
  Stop();
  return true;
}

void Receiver::OnConnectionChange(const Status& status) {
  Say(status.ok() ? "connected again" : status.message() + "; trying again");
}

Status Receiver::OnRequest(Request& request) {
  using Talk = ReceiveArguments::Talk;
  const auto started = std::chrono::steady_clock::now();
  ++taken_;
  ++running_;
  Tally tally;
  std::optional<Extender> extender;
  if (arguments_.extend.has_value()) extender.emplace(request, *arguments_.extend);
  const Status status = Work(request, tally);
  extender.reset();
  --running_;
  if (arguments_.talk == Talk::kEveryRequest || (arguments_.talk == Talk::kFailures && !status.ok())) {
    PrintError(RequestLine(request.info(), tally, std::chrono::steady_clock::now() - started, status));
  }
  return status;
}

Status Receiver::Work(Request& request, Tally& tally) {
  switch (arguments_.work) {
    case ReceiveArguments::Work::kExec:
      return RunCommand(request, arguments_.channel, arguments_.command, tally);
    case ReceiveArguments::Work::kEcho:
      return Echo(request, tally);
    case ReceiveArguments::Work::kStdout:
      return CopyToStdout(request, tally);
  }
  return FinishWith(request, InternalError("no such work"));
}

Status Receiver::Echo(Request& request, Tally& tally) {
  Status status = request.SetHead(request.info().method, request.info().content_type, request.info().metadata);
  std::vector<char> block(kBlockBytes);
  while (status.ok()) {
    const StatusOr<size_t> got = request.Read(block);
    if (!got.ok()) return got.status();
    if (*got == 0) break;
    tally.in_bytes += *got;
    status = request.Write({block.data(), *got});
    if (status.ok()) tally.out_bytes += *got;
  }
  return FinishWith(request, status);
}

Status Receiver::CopyToStdout(Request& request, Tally& tally) {
  std::vector<char> block(kBlockBytes);
  for (;;) {
    const StatusOr<size_t> got = request.Read(block);
    if (!got.ok()) {
      const net::MutexLock lock(mutex_);
      if (first_cut_short_.ok()) first_cut_short_ = got.status();
      return got.status();
    }
    if (*got == 0) return FinishWith(request, OkStatus());
    tally.in_bytes += *got;
    if (const Status status = WriteAll(STDOUT_FILENO, "stdout", {block.data(), *got}); !status.ok()) {
      request.Requeue();
      {
        const net::MutexLock lock(mutex_);
        output_ = status;
      }
      Stop();
      return status;
    }
  }
}

void Receiver::Stop() {
  const net::MutexLock lock(mutex_);
  stopping_ = true;
  if (server_ != nullptr) server_->BeginStop();
}

int Receiver::ExitCode(const Status& pool_status) {
  const net::MutexLock lock(mutex_);
  if (!output_.ok()) {
    PrintError("relay receive: " + output_.message() + "\n");
    return kExitIo;
  }
  Status status = pool_status;
  if (status.code() == StatusCode::kDeadlineExceeded && arguments_.wait.has_value()) {
    // The wait has run out: no more than the end of the work, unless too little of it came.
    const bool is_enough = taken_ > 0 && taken_ >= arguments_.count;
    status = is_enough ? OkStatus()
                       : DeadlineExceededError(Counted(taken_, "request") + " came, the last wait was of " +
                                               FormatDuration(*arguments_.wait));
  }
  if (status.ok()) status = first_cut_short_;
  if (!status.ok()) PrintError("relay receive: " + status.ToString() + "\n");
  return ExitCodeOf(status.code());
}

void Receiver::Say(const std::string& words) const {
  if (arguments_.talk != ReceiveArguments::Talk::kQuiet) PrintError("relay receive: " + words + "\n");
}

}  // namespace relay::tools

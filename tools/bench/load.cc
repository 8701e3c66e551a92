#include "tools/bench/load.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace relay::bench {
namespace {

constexpr auto kPatience = std::chrono::seconds(30);
constexpr int kPatienceMs = 30'000;

}  // namespace

Load::Load(const Shape& shape, Dialect& dialect)
    : shape_(shape), dialect_(dialect), poll_(epoll_create1(EPOLL_CLOEXEC)), senders_(shape.in_flight) {}

Load::~Load() { close(poll_); }

absl::StatusOr<Socket*> Load::Connect(std::string_view url, Side side) {
  absl::StatusOr<std::unique_ptr<Socket>> socket = Socket::Connect(url, side);
  if (!socket.ok()) return socket.status();
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.ptr = socket->get();
  if (epoll_ctl(poll_, EPOLL_CTL_ADD, (*socket)->descriptor(), &event) != 0) {
    return absl::UnavailableError(absl::StrCat("epoll_ctl: ", std::strerror(errno)));
  }
  sockets_.push_back(*std::move(socket));
  return sockets_.back().get();
}

void Load::HasOutput(Socket& socket) {
  // A socket that stands in the list already was the last to be written to, nearly always.
  if (with_output_.empty() || with_output_.back() != &socket) with_output_.push_back(&socket);
}

absl::Status Load::FlushAll() {
  for (Socket* const socket : std::exchange(with_output_, {})) {
    if (absl::Status status = socket->Flush(); !status.ok()) return status;
    if (socket->has_unsent()) with_output_.push_back(socket);
  }
  return absl::OkStatus();
}

absl::Status Load::Turn(int timeout_ms) {
  epoll_event ready[256];
  // What the system did not take is offered again soon; senders and receivers here never owe each other much.
  const int count = epoll_wait(poll_, ready, 256, with_output_.empty() ? timeout_ms : 1);
  if (count < 0 && errno != EINTR) return absl::UnavailableError(absl::StrCat("epoll_wait: ", std::strerror(errno)));
  if (count == 0 && with_output_.empty()) return absl::DeadlineExceededError("nothing came for half a minute");
  now_ = Clock::now();
  for (int i = 0; i < count; ++i) {
    Socket& socket = *static_cast<Socket*>(ready[i].data.ptr);
    if (absl::Status status = socket.Read(); !status.ok()) return status;
    if (absl::Status status = dialect_.OnInput(*this, socket); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status Load::PumpUntil(const std::function<bool()>& done) {
  const Clock::time_point give_up = Clock::now() + kPatience;
  while (!done()) {
    if (absl::Status status = FlushAll(); !status.ok()) return status;
    if (done()) break;
    if (absl::Status status = Turn(kPatienceMs); !status.ok()) return status;
    if (Clock::now() > give_up) return absl::DeadlineExceededError("the connections were not ready in half a minute");
  }
  return FlushAll();
}

absl::Status Load::OnAnswer(size_t sender, uint64_t number) {
  if (sender >= senders_.size() || number == 0 || senders_[sender].number != number) {
    return absl::DataLossError(absl::StrCat("an answer that sender ", sender, " does not wait for: ", number));
  }
  if (is_warm_) {
    result_.latencies.Add(now_ - senders_[sender].since);
    ++result_.requests;
  }
  senders_[sender].number = 0;
  ++answers_;
  answered_.push_back(sender);
  return absl::OkStatus();
}

void Load::Begin(size_t sender) {
  senders_[sender] = {.number = ++begun_, .since = now_};
  dialect_.Send(*this, sender, begun_);
}

bool Load::MayBegin() const {
  if (plan_->requests > 0) return begun_ < plan_->warm_up_requests + plan_->requests;
  return !is_warm_ || now_ < warm_at_ + plan_->duration;
}

void Load::NoteWarm() {
  if (is_warm_ || answers_ < plan_->warm_up_requests) return;
  is_warm_ = true;
  if (plan_->on_warm) plan_->on_warm();
  now_ = warm_at_ = Clock::now();
}

absl::StatusOr<LoadResult> Load::Run(const LoadPlan& plan) {
  plan_ = &plan;
  result_ = {};
  is_warm_ = false;
  begun_ = answers_ = requests_seen_ = 0;
  answered_.clear();
  for (size_t i = 0; i < senders_.size(); ++i) answered_.push_back(i);
  now_ = Clock::now();
  NoteWarm();
  if (plan.pause && plan.resume) {
    if (absl::Status status = RunInStep(plan); !status.ok()) return status;
  } else {
    while (true) {
      for (const size_t sender : std::exchange(answered_, {})) {
        if (MayBegin()) Begin(sender);
      }
      if (answers_ == begun_) break;
      if (absl::Status status = FlushAll(); !status.ok()) return status;
      if (absl::Status status = Turn(kPatienceMs); !status.ok()) return status;
      NoteWarm();
    }
  }
  result_.elapsed = Clock::now() - warm_at_;
  return result_;
}

absl::Status Load::RunInStep(const LoadPlan& plan) {
  while (MayBegin()) {
    now_ = Clock::now();
    for (const size_t sender : std::exchange(answered_, {})) {
      if (MayBegin()) Begin(sender);
    }
    for (const uint64_t* const seen : {&requests_seen_, &answers_}) {
      plan.pause();
      absl::Status status = FlushAll();
      if (status.ok() && !with_output_.empty())
        status = absl::ResourceExhaustedError("a step is more than sockets hold");
      plan.resume();
      while (status.ok() && *seen < begun_) status = Turn(kPatienceMs);
      if (!status.ok()) return status;
    }
    NoteWarm();
  }
  return absl::OkStatus();
}

}  // namespace relay::bench

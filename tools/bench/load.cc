#include "tools/bench/load.h"

#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace relay::bench {
namespace {

constexpr std::chrono::nanoseconds kPatience = std::chrono::seconds(30);
// A sleep ends later than asked, here by some 50 us. A receiver of 1 ms is to take 1 ms, as one that computes does: the
// last of it is watched, not slept.
constexpr std::chrono::nanoseconds kWatched = std::chrono::microseconds(150);

}  // namespace

absl::Status Dialect::OnRoom(Load& /*load*/, Socket& /*socket*/) { return absl::OkStatus(); }

Load::Load(const Shape& shape, Dialect& dialect)
    : shape_(shape), dialect_(dialect), poll_(epoll_create1(EPOLL_CLOEXEC)), senders_(shape.in_flight) {
  for (const std::chrono::microseconds service : shape_.service) workers_.emplace_back().service = service;
  prctl(PR_SET_TIMERSLACK, 1);  // ns, instead of 50 us
}

Load::~Load() { close(poll_); }

absl::StatusOr<Socket*> Load::Connect(std::string_view url, Side side) {
  // Thousands of them greet as they come: a server allows few that have said nothing.
  constexpr size_t kGreetAtOnce = 64;
  if (sockets_.size() % kGreetAtOnce == kGreetAtOnce - 1) {
    if (absl::Status status = FlushAll(); !status.ok()) return status;
    if (absl::Status status = Turn(std::chrono::nanoseconds(0)); !status.ok()) return status;
  }
  absl::StatusOr<std::unique_ptr<Socket>> socket = Socket::Connect(url, side);
  if (!socket.ok()) return socket.status();
  return Keep(*std::move(socket));
}

absl::StatusOr<Socket*> Load::Adopt(int descriptor, Side side) {
  return Keep(std::make_unique<Socket>(descriptor, side));
}

absl::StatusOr<Socket*> Load::Keep(std::unique_ptr<Socket> socket) {
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.ptr = socket.get();
  if (epoll_ctl(poll_, EPOLL_CTL_ADD, socket->descriptor(), &event) != 0) {
    return absl::UnavailableError(absl::StrCat("epoll_ctl: ", std::strerror(errno)));
  }
  sockets_.push_back(std::move(socket));
  return sockets_.back().get();
}

void Load::HasOutput(Socket& socket) {
  // A socket that stands in the list already was the last to be written to, nearly always.
  if (with_output_.empty() || with_output_.back() != &socket) with_output_.push_back(&socket);
}

absl::Status Load::FlushAll() {
  while (!with_output_.empty()) {
    for (Socket* const socket : std::exchange(with_output_, {})) {
      if (absl::Status status = Flush(*socket); !status.ok()) return status;
    }
  }
  return absl::OkStatus();
}

absl::Status Load::Flush(Socket& socket) {
  if (!socket.has_unsent()) return absl::OkStatus();
  const bool waited = socket.waits_for_room();
  if (absl::Status status = socket.Flush(); !status.ok()) return status;
  if (socket.has_unsent() != waited) {
    socket.set_waits_for_room(!waited);
    epoll_event event = {};
    event.events = waited ? EPOLLIN : EPOLLIN | EPOLLOUT;
    event.data.ptr = &socket;
    if (epoll_ctl(poll_, EPOLL_CTL_MOD, socket.descriptor(), &event) != 0) {
      return absl::UnavailableError(absl::StrCat("epoll_ctl: ", std::strerror(errno)));
    }
  }
  return socket.has_unsent() ? absl::OkStatus() : dialect_.OnRoom(*this, socket);
}

absl::Status Load::Turn(std::chrono::nanoseconds most) {
  epoll_event ready[256];
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(most);
  const timespec timeout = {seconds.count(), (most - seconds).count()};
  const int count = epoll_pwait2(poll_, ready, 256, &timeout, nullptr);
  if (count < 0 && errno != EINTR) return absl::UnavailableError(absl::StrCat("epoll_wait: ", std::strerror(errno)));
  now_ = Clock::now();
  if (count == 0 && most >= kPatience) return absl::DeadlineExceededError("nothing came for half a minute");
  for (int i = 0; i < count; ++i) {
    Socket& socket = *static_cast<Socket*>(ready[i].data.ptr);
    absl::Status status;
    if ((ready[i].events & EPOLLOUT) != 0) status = Flush(socket);
    if (status.ok() && (ready[i].events & ~EPOLLOUT) != 0) {
      status = socket.Read();
      if (status.ok()) status = dialect_.OnInput(*this, socket);
    }
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status Load::PumpUntil(const std::function<bool()>& done) {
  while (true) {
    if (absl::Status status = FlushAll(); !status.ok()) return status;
    if (done()) return absl::OkStatus();
    if (absl::Status status = Turn(kPatience); !status.ok()) return status;
  }
}

absl::Status Load::PumpFor(std::chrono::nanoseconds duration) {
  const Clock::time_point until = Clock::now() + duration;
  for (now_ = Clock::now(); now_ < until;) {
    if (absl::Status status = FlushAll(); !status.ok()) return status;
    const absl::Status status = Turn(std::min<std::chrono::nanoseconds>(until - now_, kPatience / 2));
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

void Load::OnRequest(Socket& socket, std::string_view ticket, uint64_t number) {
  ++requests_seen_;
  if (socket.index() >= workers_.size()) {
    dialect_.Answer(*this, socket, ticket, number);
    return;
  }
  Worker& worker = workers_[socket.index()];
  if (worker.jobs.empty()) worker.done_at = now_ + worker.service;
  worker.jobs.push_back({&socket, std::string(ticket), number});
}

void Load::FinishDue() {
  for (Worker& worker : workers_) {
    while (!worker.jobs.empty() && worker.done_at <= now_) {
      const Job job = std::move(worker.jobs.front());
      worker.jobs.pop_front();
      worker.done_at += worker.service;
      dialect_.Answer(*this, *job.socket, job.ticket, job.number);
    }
  }
}

absl::Status Load::OnAnswer(size_t sender, uint64_t number) {
  if (sender >= senders_.size() || number == 0 || senders_[sender].number != number) {
    return absl::DataLossError(absl::StrCat("an answer that sender ", sender, " does not wait for: ", number));
  }
  if (is_warm_) {
    result_.latencies.Add(now_ - senders_[sender].since);
    ++result_.requests;
    if (now_ < warm_at_ + plan_->duration) ++result_.in_time;
  }
  senders_[sender].number = 0;
  ++ended_;
  free_.push_back(sender);
  return absl::OkStatus();
}

void Load::OnRefusal(size_t sender) {
  senders_[sender].number = 0;
  ++result_.refused;
  ++ended_;
  free_.push_back(sender);
}

bool Load::MayBegin() const {
  if (plan_->requests > 0) return begun_ < plan_->warm_up_requests + (is_warm_ ? plan_->requests : 0);
  return !is_warm_ || now_ < warm_at_ + plan_->duration;
}

void Load::Begin(size_t sender) {
  senders_[sender] = {.number = ++begun_, .since = now_};
  dialect_.Send(*this, sender, begun_);
}

void Load::BeginDue() {
  if (plan_->per_second <= 0) {
    const size_t most = plan_->most_active > 0 ? plan_->most_active : senders_.size();
    for (size_t count = free_.size(); count > 0 && begun_ - ended_ < most && MayBegin(); --count) {
      Begin(free_.front());
      free_.pop_front();
    }
    return;
  }
  const auto period = std::chrono::nanoseconds(static_cast<int64_t>(1e9 / plan_->per_second));
  for (; next_at_ <= now_ && MayBegin(); next_at_ += period) {
    if (free_.empty()) {
      ++result_.not_offered;
      continue;
    }
    Begin(free_.front());
    free_.pop_front();
  }
}

std::chrono::nanoseconds Load::UntilDue() const {
  Clock::time_point due = now_ + kPatience;
  if (plan_->per_second > 0 && MayBegin()) due = std::min(due, next_at_);
  for (const Worker& worker : workers_) {
    if (!worker.jobs.empty()) due = std::min(due, worker.done_at - kWatched);
  }
  return std::max(std::chrono::nanoseconds(0), std::chrono::nanoseconds(due - Clock::now()));
}

void Load::CutReceiver() {
  has_cut_ = true;
  const auto found = std::find_if(sockets_.begin(), sockets_.end(),
                                  [](const auto& socket) { return socket->side() == Side::kReceiver; });
  std::erase(with_output_, found->get());
  sockets_.erase(found);
}

void Load::NoteWarm() {
  if (is_warm_ || ended_ < plan_->warm_up_requests) return;
  is_warm_ = true;
  if (plan_->on_warm) plan_->on_warm();
  next_at_ = now_ = warm_at_ = Clock::now();
}

absl::StatusOr<LoadResult> Load::Run(const LoadPlan& plan) {
  plan_ = &plan;
  result_ = {};
  is_warm_ = false;
  begun_ = ended_ = requests_seen_ = 0;
  free_.clear();
  for (size_t i = 0; i < senders_.size(); ++i) free_.push_back(i);
  next_at_ = now_ = Clock::now();
  NoteWarm();
  if (absl::Status status = plan.pause && plan.resume ? RunInStep() : RunFree(); !status.ok()) return status;
  if (!is_warm_) return absl::DeadlineExceededError("the warm-up did not end");
  result_.elapsed = Clock::now() - warm_at_;
  result_.lost = begun_ - ended_;
  return result_;
}

absl::Status Load::RunFree() {
  Clock::time_point ending_since = Clock::time_point::max();
  while (true) {
    if (plan_->kill_after > 0 && ended_ >= plan_->kill_after && !has_cut_) CutReceiver();
    FinishDue();
    BeginDue();
    if (!MayBegin()) {
      if (ended_ == begun_) return absl::OkStatus();
      ending_since = std::min(ending_since, now_);
      if (now_ - ending_since > plan_->patience) return absl::OkStatus();
    }
    if (absl::Status status = FlushAll(); !status.ok()) return status;
    if (absl::Status status = Turn(std::min(UntilDue(), plan_->patience)); !status.ok()) return status;
    NoteWarm();
  }
}

bool Load::HasUnsent() const {
  return std::any_of(sockets_.begin(), sockets_.end(), [](const auto& socket) { return socket->has_unsent(); });
}

absl::Status Load::RunInStep() {
  while (MayBegin()) {
    now_ = Clock::now();
    BeginDue();
    for (const uint64_t* const seen : {&requests_seen_, &ended_}) {
      plan_->pause();
      absl::Status status = FlushAll();
      if (status.ok() && !with_output_.empty())
        status = absl::ResourceExhaustedError("a step is more than sockets hold");
      plan_->resume();
      while (status.ok() && *seen < begun_) status = Turn(kPatience);
      if (!status.ok()) return status;
    }
    NoteWarm();
  }
  return absl::OkStatus();
}

}  // namespace relay::bench

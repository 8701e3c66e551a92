#include "net/loop.h"

#include <algorithm>
#include <utility>

#include "net/uv_error.h"

namespace relay::net {
namespace {

absl::Time Clock() { return absl::UnixEpoch() + absl::Nanoseconds(uv_hrtime()); }

}  // namespace

absl::StatusOr<std::unique_ptr<Loop>> Loop::Create() {
  std::unique_ptr<Loop> loop(new Loop());
  if (const int result = uv_loop_init(&loop->uv_); result != 0) {
    loop->uv_.data = nullptr;
    return UvError(result, "create", "event loop");
  }
  loop->uv_.data = loop.get();
  CheckUv(uv_prepare_init(&loop->uv_, &loop->turn_end_handle_), "uv_prepare_init");
  loop->turn_end_handle_.data = loop.get();
  CheckUv(uv_prepare_start(&loop->turn_end_handle_,
                           [](uv_prepare_t* handle) { static_cast<Loop*>(handle->data)->EndTurn(); }),
          "uv_prepare_start");
  uv_unref(reinterpret_cast<uv_handle_t*>(&loop->turn_end_handle_));
  CheckUv(uv_check_init(&loop->uv_, &loop->polled_handle_), "uv_check_init");
  loop->polled_handle_.data = loop.get();
  CheckUv(
      uv_check_start(&loop->polled_handle_, [](uv_check_t* handle) { static_cast<Loop*>(handle->data)->OnPolled(); }),
      "uv_check_start");
  uv_unref(reinterpret_cast<uv_handle_t*>(&loop->polled_handle_));
  CheckUv(uv_idle_init(&loop->uv_, &loop->soon_handle_), "uv_idle_init");
  loop->soon_handle_.data = loop.get();
  return loop;
}

Loop::~Loop() {
  if (uv_.data == nullptr) return;
  uv_close(reinterpret_cast<uv_handle_t*>(&turn_end_handle_), nullptr);
  uv_close(reinterpret_cast<uv_handle_t*>(&polled_handle_), nullptr);
  uv_close(reinterpret_cast<uv_handle_t*>(&soon_handle_), nullptr);
  uv_walk(
      &uv_,
      [](uv_handle_t* handle, void*) {
        Check(uv_is_closing(handle) != 0, "something made on a loop was not destroyed before the loop");
      },
      nullptr);
  // A Stop() that no Run() has seen ends the first of these at once.
  while (uv_run(&uv_, UV_RUN_DEFAULT) != 0) {
  }
  CheckUv(uv_loop_close(&uv_), "uv_loop_close");
}

void Loop::Run() {
  uv_run(&uv_, UV_RUN_DEFAULT);
  ending_run_ = true;
  EndTurn();
  ending_run_ = false;
}

void Loop::Stop() {
  if (!ending_run_) uv_stop(&uv_);
}

absl::Time Loop::Now() {
  if (!now_.has_value()) now_ = Clock();
  return *now_;
}

void Loop::SetTurnEnd(std::function<void()> turn_end) { turn_end_ = std::move(turn_end); }

void Loop::EndTurn() {
  if (turn_end_) turn_end_();
  read_buffers_.EndTurn();
  if (now_.has_value()) longest_turn_ = std::max(longest_turn_, Clock() - *now_);
  now_.reset();
  has_polled_ = false;
  ++turn_;
}

void Loop::OnPolled() {
  has_polled_ = true;
  if (uv_is_active(reinterpret_cast<const uv_handle_t*>(&soon_handle_)) != 0) RunSoon();
}

void Loop::RunSoon() {
  CheckUv(uv_idle_stop(&soon_handle_), "uv_idle_stop");
  if (soon_.next == &soon_) return;  // All were cancelled.
  // What is scheduled from here on waits for the next turn.
  SoonLink due;
  due.next = std::exchange(soon_.next, &soon_);
  due.previous = std::exchange(soon_.previous, &soon_);
  due.next->previous = &due;
  due.previous->next = &due;
  goes_on_ = true;
  EndTurn();
  goes_on_ = false;
  runs_put_off_ = true;
  while (due.next != &due) {
    auto* soon = static_cast<Soon*>(due.next);
    soon->Cancel();
    const auto call = soon->call_;
    (*call)();
  }
  runs_put_off_ = false;
}

Soon::Soon(Loop& loop, std::function<void()> call)
    : loop_(loop), call_(std::make_shared<const std::function<void()>>(std::move(call))) {}

Soon::~Soon() { Cancel(); }

void Soon::Schedule() {
  if (scheduled()) return;
  if (uv_is_active(reinterpret_cast<const uv_handle_t*>(&loop_.soon_handle_)) == 0) {
    CheckUv(uv_idle_start(&loop_.soon_handle_, [](uv_idle_t*) {}), "uv_idle_start");
  }
  previous = loop_.soon_.previous;
  next = &loop_.soon_;
  previous->next = this;
  next->previous = this;
}

void Soon::Cancel() {
  previous->next = next;
  next->previous = previous;
  previous = this;
  next = this;
}

}  // namespace relay::net

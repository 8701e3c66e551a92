// One libuv loop: the thread that runs it owns everything that hangs on it. A turn of the loop is: waiting for and
// reading whatever is ready, timers that are due, the turn's end. What was put off with Soon is a turn of its own
// behind the next reading, so that what was read needs not wait for it. Owners queue what they have to say during a
// turn and write it at its end, one gathered write for each connection.

#ifndef RELAY_NET_LOOP_H_
#define RELAY_NET_LOOP_H_

#include <uv.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "net/read_buffers.h"

namespace relay::net {

// Loop thread only: the thread that calls Run(), or whichever one thread holds the loop before and after that. Only
// Mailbox::Post crosses threads. Everything made on a loop is destroyed before the loop.
class Loop {
 public:
  // Fails where the system is out of descriptors or memory.
  static absl::StatusOr<std::unique_ptr<Loop>> Create();

  // Closes the loop's own handles and runs what remains until every close callback has come. May wait for a name
  // lookup that a destroyed Connector has left behind. Not from inside Run().
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Runs turns until Stop(), or until nothing is left that could wake the loop. The last turn is ended like any other.
  // May be called again.
  void Run();

  // Run() returns when the current turn has ended; a call outside Run() makes the next Run() return at once.
  void Stop();

  // Monotonic time: UnixEpoch() plus the nanoseconds of uv_hrtime(). Read at the first call in a turn and the same for
  // the rest of it.
  absl::Time Now();

  // The longest time from what woke a turn to its end since this was last called. A time in which the system let others
  // run counts, too.
  absl::Duration TakeLongestTurn() { return std::exchange(longest_turn_, absl::ZeroDuration()); }

  // Called once in each turn, after everything ready was read and before the loop waits. What was read in the turn is
  // valid until it returns.
  void SetTurnEnd(std::function<void()> turn_end);

  // In a turn's end. Whether the loop has looked for what is ready since the end before it.
  bool has_polled() const { return has_polled_; }
  // In a turn's end. Whether what was put off runs now, before the loop looks again for what is ready.
  bool goes_on() const { return goes_on_; }

  // Whether what was put off runs.
  bool runs_put_off() const { return runs_put_off_; }

  // For the classes of net/.
  uv_loop_t* uv() { return &uv_; }
  ReadBuffers& read_buffers() { return read_buffers_; }
  // Counts the turns that have ended.
  uint64_t turn() const { return turn_; }

 private:
  friend class Soon;

  struct SoonLink {
    SoonLink* previous = this;
    SoonLink* next = this;
  };

  Loop() = default;
  void EndTurn();
  void OnPolled();
  void RunSoon();

  uv_loop_t uv_;
  uv_prepare_t turn_end_handle_;
  uv_check_t polled_handle_;
  uv_idle_t soon_handle_;  // Active while soon_ is not empty, so that the loop does not wait.
  std::function<void()> turn_end_;
  ReadBuffers read_buffers_;
  std::optional<absl::Time> now_;
  uint64_t turn_ = 0;
  absl::Duration longest_turn_;
  bool has_polled_ = false;
  bool goes_on_ = false;
  bool runs_put_off_ = false;
  bool ending_run_ = false;  // In the last turn's end, where a Stop() must not reach into the next Run().
  SoonLink soon_;
};

// Puts one call off to a turn of its own behind the next look at what is ready, for what must not be called from inside
// a call of its owner.
//
// Loop thread only. Destroying it cancels.
class Soon : private Loop::SoonLink {
 public:
  Soon(Loop& loop, std::function<void()> call);
  ~Soon();
  Soon(const Soon&) = delete;
  Soon& operator=(const Soon&) = delete;

  // Once, however often it is scheduled before the call. The call may destroy this Soon.
  void Schedule();
  void Cancel();
  bool scheduled() const { return next != this; }

 private:
  friend class Loop;

  Loop& loop_;
  const std::shared_ptr<const std::function<void()>> call_;
};

}  // namespace relay::net

#endif  // RELAY_NET_LOOP_H_

// Deadlines, any number of them: set, moved and dropped in O(1).
//
// A hierarchical wheel (Varghese and Lauck, 1987): six levels of 64 places, a place of level l is 64^l milliseconds
// wide, so that it reaches 2^36 ms, more than any time that the wire can say. It reads no clock.

#ifndef RELAY_SERVER_TIMER_WHEEL_H_
#define RELAY_SERVER_TIMER_WHEEL_H_

#include <array>
#include <boost/intrusive/list.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "server/instant.h"

namespace relay::server {

// One deadline, a member of what it is for. Unset on destruction. Thread-compatible.
class Deadline {
 public:
  enum class Of : uint8_t { kRelay, kSession, kPassedOver, kClient, kExchange };

  Deadline(Of of, void* owner) : of_(of), owner_(owner) {}

  Of of() const { return of_; }
  void* owner() const { return owner_; }
  bool is_set() const { return hook_.is_linked(); }
  void Unset() { hook_.unlink(); }

 private:
  friend class TimerWheel;
  using Hook = boost::intrusive::list_member_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>>;

  const Of of_;
  void* const owner_;
  uint64_t tick_ = 0;
  Hook hook_;
};

// Thread-compatible. Deadlines are owned by others and leave the wheel when they are destroyed.
class TimerWheel {
 public:
  explicit TimerWheel(Instant start) : start_(start) {}
  ~TimerWheel();
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  // Sets, or moves, `deadline`. It expires at the first Expire of `at` or later, rounded up to a millisecond; one that
  // lies in the past, in the millisecond after the last Expire.
  void Set(Deadline& deadline, Instant at);

  // The same for one that is not earlier than any that was appended before and is still set: such deadlines stand in a
  // queue of their own, which costs a fifth.
  void Append(Deadline& deadline, Instant at);

  // When a deadline that is set here expires.
  Instant When(const Deadline& deadline) const { return start_ + std::chrono::milliseconds(deadline.tick_); }

  // The next deadline that has passed at `now`, unset; null when there is none left. Call until null.
  Deadline* Expire(Instant now);

  // When Expire may have something to do next: never later than the earliest deadline. Nothing where none is set.
  std::optional<Instant> next() const;

 private:
  static constexpr size_t kLevels = 6;
  static constexpr size_t kBits = 6;
  static constexpr size_t kPlaces = 1 << kBits;
  using List =
      boost::intrusive::list<Deadline, boost::intrusive::member_hook<Deadline, Deadline::Hook, &Deadline::hook_>,
                             boost::intrusive::constant_time_size<false>>;
  struct Position {
    size_t level;
    size_t place;
    uint64_t tick;
  };

  uint64_t TickOf(Instant at) const;
  void Insert(Deadline& deadline);
  // The first place that holds something, whose tick is later than now_.
  std::optional<Position> First() const;

  const Instant start_;
  uint64_t now_ = 0;
  std::array<std::array<List, kPlaces>, kLevels> places_;
  mutable std::array<uint64_t, kLevels> occupied_ = {};  // a bit may outlive its list's last member
  List expired_;
  List appended_;
};

}  // namespace relay::server

#endif  // RELAY_SERVER_TIMER_WHEEL_H_

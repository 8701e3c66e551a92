#include "server/timer_wheel.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <limits>

namespace relay::server {

using Tick = std::chrono::milliseconds;

TimerWheel::~TimerWheel() {
  for (auto& level : places_) {
    for (List& list : level) list.clear();
  }
  expired_.clear();
  appended_.clear();
}

uint64_t TimerWheel::TickOf(Instant at) const {
  const int64_t ticks = std::chrono::ceil<Tick>(at - start_).count();
  // One place of the last level less than the wheel is round, so that no deadline lands in the current place.
  constexpr uint64_t kReach = (uint64_t{kPlaces} - 1) << ((kLevels - 1) * kBits);
  const uint64_t tick = ticks > 0 ? static_cast<uint64_t>(ticks) : 0;
  return std::clamp(tick, now_ + 1, now_ + kReach);
}

void TimerWheel::Set(Deadline& deadline, Instant at) {
  deadline.Unset();
  deadline.tick_ = TickOf(at);
  Insert(deadline);
}

void TimerWheel::Append(Deadline& deadline, Instant at) {
  deadline.Unset();
  deadline.tick_ = TickOf(at);
  assert(appended_.empty() || deadline.tick_ >= appended_.back().tick_);
  appended_.push_back(deadline);
}

void TimerWheel::Insert(Deadline& deadline) {
  const uint64_t differing = deadline.tick_ ^ now_;
  const size_t level = differing == 0 ? 0 : std::min(kLevels - 1, (std::bit_width(differing) - 1) / kBits);
  const size_t place = (deadline.tick_ >> (level * kBits)) & (kPlaces - 1);
  places_[level][place].push_back(deadline);
  occupied_[level] |= uint64_t{1} << place;
}

std::optional<TimerWheel::Position> TimerWheel::First() const {
  for (size_t level = 0; level < kLevels; ++level) {
    const size_t shift = level * kBits;
    while (occupied_[level] != 0) {
      const size_t current = (now_ >> shift) & (kPlaces - 1);
      // Places are taken in order from the one behind the current one; only the last level wraps around.
      const uint64_t turned = std::rotr(occupied_[level], static_cast<int>(current));
      const auto ahead = static_cast<size_t>(std::countr_zero(turned));
      const size_t place = (current + ahead) & (kPlaces - 1);
      if (places_[level][place].empty()) {
        occupied_[level] &= ~(uint64_t{1} << place);
        continue;
      }
      const uint64_t base = (now_ >> shift) + ahead;
      return Position{level, place, base << shift};
    }
  }
  return std::nullopt;
}

Deadline* TimerWheel::Expire(Instant now) {
  const int64_t elapsed = std::chrono::duration_cast<Tick>(now - start_).count();
  const uint64_t target = elapsed > 0 ? static_cast<uint64_t>(elapsed) : 0;
  while (expired_.empty()) {
    const auto first = First();
    const uint64_t most = first.has_value() ? std::min(first->tick, target) : target;
    if (!appended_.empty() && appended_.front().tick_ <= most) {
      Deadline& deadline = appended_.front();
      appended_.pop_front();
      now_ = std::max(now_, deadline.tick_);
      return &deadline;
    }
    if (!first.has_value() || first->tick > target) {
      now_ = std::max(now_, target);
      return nullptr;
    }
    now_ = std::max(now_, first->tick);
    List list;
    list.swap(places_[first->level][first->place]);
    occupied_[first->level] &= ~(uint64_t{1} << first->place);
    while (!list.empty()) {
      Deadline& deadline = list.front();
      list.pop_front();
      if (deadline.tick_ <= now_) {
        expired_.push_back(deadline);
      } else {
        Insert(deadline);
      }
    }
  }
  Deadline& deadline = expired_.front();
  expired_.pop_front();
  return &deadline;
}

std::optional<Instant> TimerWheel::next() const {
  if (!expired_.empty()) return start_ + Tick(now_);
  const auto first = First();
  if (!first.has_value() && appended_.empty()) return std::nullopt;
  constexpr uint64_t kNever = std::numeric_limits<uint64_t>::max();
  return start_ +
         Tick(std::min(first.has_value() ? first->tick : kNever, appended_.empty() ? kNever : appended_.front().tick_));
}

}  // namespace relay::server

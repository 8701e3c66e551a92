#include "simulation/cores.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "proto/frame.h"

namespace relay::simulation {

using server::ConnectionId;
using server::Effect;
using server::Relay;

Cores::Cores(const server::Limits& limits, const proto::Uuid& server_id, absl::Time start, uint32_t cores,
             uint64_t seed)
    : random_(seed), now_(start) {
  const auto totals = std::make_shared<server::Totals>();
  for (uint32_t core = 0; core < cores; ++core) {
    cores_.push_back(std::make_unique<Relay>(limits, server_id, start, server::Place{core, cores}, totals));
  }
}

// ---- Events --------------------------------------------------------------------------------------------------------

ConnectionId Cores::OnOpen(std::string peer, absl::Time now) {
  now_ = now;
  return cores_[0]->OnOpen(std::move(peer), now);
}

size_t Cores::OnBytes(ConnectionId id, std::span<uint8_t> bytes, absl::Time now) {
  uint32_t work = std::numeric_limits<uint32_t>::max();
  return OnBytes(id, bytes, now, work);
}

size_t Cores::OnBytes(ConnectionId id, std::span<uint8_t> bytes, absl::Time now, uint32_t& work) {
  now_ = now;
  if (cores_.size() == 1) return cores_[0]->OnBytes(id, bytes, now, work);
  size_t taken = 0;
  for (is_moving_ = false; !is_moving_;) {
    // One frame at a time: what is said on different slots of one connection may reach two cores in any order.
    std::span<uint8_t> rest = bytes.subspan(taken);
    const std::string_view text(reinterpret_cast<const char*>(rest.data()), rest.size());
    if (text.starts_with(proto::kPreface)) {
      rest = rest.first(proto::kPreface.size());
    } else if (proto::Frame frame; proto::DecodeFrame(rest, UINT32_MAX, frame) == proto::Decoded::kFrame) {
      rest = frame.bytes();
    }
    const uint32_t work_before = work;
    const size_t more = HomeOf(id).OnBytes(id, rest, now, work);
    taken += more;
    const bool waited = HomeOf(id).Waits(id);
    Carry();
    is_moving_ = HomeOf(id).Waits(id);
    if (waited) {
      work = work_before;
    } else if (more < rest.size() || taken == bytes.size() || work == 0) {
      break;
    }
  }
  return taken;
}

void Cores::OnInputEnd(ConnectionId id, bool is_broken, absl::Time now) {
  now_ = now;
  HomeOf(id).OnInputEnd(id, is_broken, now);
  if (cores_.size() > 1) Carry();
}

void Cores::OnUnsent(ConnectionId id, size_t bytes, absl::Time now) {
  now_ = now;
  unsent_[id] = bytes;
  HomeOf(id).OnUnsent(id, bytes, now);
  if (cores_.size() > 1) Carry();
}

void Cores::OnTime(absl::Time now) {
  now_ = now;
  for (const auto& core : cores_) core->OnTime(now);
  if (cores_.size() > 1) Carry();
}

void Cores::OnMemoryShort(ConnectionId id, absl::Time now) {
  now_ = now;
  for (const auto& core : cores_) core->OnMemoryShort(core.get() == &HomeOf(id) ? id : 0, now);
}

void Cores::OnMemoryBack() {
  for (const auto& core : cores_) core->OnMemoryBack();
}

void Cores::Drain(absl::Time now) {
  now_ = now;
  for (const auto& core : cores_) core->Drain(now);
}

// ---- Effects -------------------------------------------------------------------------------------------------------

void Cores::Carry() {
  const auto count = static_cast<uint32_t>(cores_.size());
  for (bool goes_on = true; goes_on;) {
    goes_on = false;
    for (const auto& core : cores_) core->TellHomes();
    for (uint64_t first = random_.Below(uint64_t{count} * count), i = 0; i < uint64_t{count} * count; ++i) {
      const auto pair = static_cast<uint32_t>((first + i) % (uint64_t{count} * count));
      const uint32_t from = pair / count;
      server::CrossingBatch batch = cores_[from]->TakeCrossings(pair % count);
      if (batch.empty()) continue;
      goes_on = true;
      cores_[pair % count]->OnCrossings(from, std::move(batch), now_);
    }
  }
}

void Cores::EndTurns() {
  Carry();
  for (const auto& core : cores_) {
    for (const Effect& effect : core->TakeEffects()) {
      if (effect.home != home_[effect.connection]) {
        home_[effect.connection] = effect.home;
        moved_.push_back(effect.connection);
      }
      if (effect.write.empty() && !effect.shut && !effect.close) continue;  // it only moves, or reads on
      Written& written = written_[effect.connection];
      for (const std::span<const uint8_t> slice : effect.write) {
        written.bytes.insert(written.bytes.end(), slice.begin(), slice.end());
      }
      written.shut |= effect.shut;
      written.close |= effect.close;
      if (effect.close) {
        home_.erase(effect.connection);
        unsent_.erase(effect.connection);
      }
    }
    core->EndTurn();
  }
  if (cores_.size() > 1) Carry();
  for (const ConnectionId id : std::exchange(moved_, {})) HomeOf(id).OnUnsent(id, unsent_[id], now_);
}

bool Cores::has_effects() {
  return !written_.empty() || std::any_of(cores_.begin(), cores_.end(), [](const auto& core) {
    return core->has_effects() || core->has_crossings();
  });
}

std::span<const Effect> Cores::TakeEffects() {
  if (cores_.size() == 1) return cores_[0]->TakeEffects();
  EndTurns();
  effects_.clear();
  for (auto& [id, written] : written_) {
    if (!written.bytes.empty()) written.slices.emplace_back(written.bytes);
    effects_.push_back({id, written.slices, written.shut, written.close, false, home_[id]});
  }
  return effects_;
}

void Cores::EndTurn() {
  if (cores_.size() == 1) return cores_[0]->EndTurn();
  written_.clear();
}

// ---- What is asked -------------------------------------------------------------------------------------------------

std::optional<absl::Time> Cores::next_deadline() const {
  std::optional<absl::Time> next;
  for (const auto& core : cores_) {
    const std::optional<absl::Time> of_core = core->next_deadline();
    if (of_core.has_value()) next = std::min(next.value_or(absl::InfiniteFuture()), *of_core);
  }
  return next;
}

const server::Metrics& Cores::metrics() {
  if (cores_.size() == 1) return cores_[0]->metrics();
  sum_ = {};
  for (const auto& core : cores_) sum_ += core->metrics();
  return sum_;
}

size_t Cores::Sum(size_t (server::Relay::*count)() const) const {
  return std::accumulate(cores_.begin(), cores_.end(), size_t{0},
                         [count](size_t sum, const auto& core) { return sum + (*core.*count)(); });
}

std::string Cores::Check() const {
  for (const auto& core : cores_) {
    if (std::string broken = core->Check(); !broken.empty()) return broken;
  }
  return "";
}

}  // namespace relay::simulation

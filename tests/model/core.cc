#include "model/core.h"

#include <algorithm>

#include "driver.h"

namespace relay::model {

namespace {

absl::Time At(int64_t ms) { return absl::UnixEpoch() + absl::Hours(1000) + absl::Milliseconds(ms); }

// No heartbeat, and no connection closed for its silence, within the time of a model.
server::Limits LimitsOf(const Rules& rules) {
  server::Limits limits;
  limits.initial_window_bytes = kFirstWindow;
  limits.max_window_bytes = kMaxWindow;
  limits.attempts = static_cast<uint32_t>(rules.attempts);
  limits.queue_count = static_cast<uint32_t>(rules.queue_count);
  limits.heartbeat_interval = absl::Hours(100);
  limits.linger_time = absl::Hours(100);
  limits.drain_timeout = absl::Milliseconds(kDrainMs);
  return limits;
}

}  // namespace

Core::Core(const Rules& rules) : relay_(LimitsOf(rules), server::Id(0x5e), At(0)) {}

void Core::Do(const Input& input, int64_t now_ms) {
  switch (input.what) {
    case Input::Do::kOpen:
      connections_.push_back({relay_.OnOpen("model", At(now_ms))});
      break;
    case Input::Do::kBytes: {
      std::string& bytes = given_.emplace_back(input.bytes);
      const size_t taken = relay_.OnBytes(connections_[static_cast<size_t>(input.connection)].id,
                                          {reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()}, At(now_ms));
      if (taken != bytes.size()) broken_ = "whole frames were not taken whole";
      break;
    }
    case Input::Do::kCut:
      relay_.OnInputEnd(connections_[static_cast<size_t>(input.connection)].id, /*is_broken=*/true, At(now_ms));
      break;
    case Input::Do::kDrain:
      relay_.Drain(At(now_ms));
      break;
  }
}

std::vector<std::pair<Place, Told>> Core::EndTurn(int64_t now_ms) {
  std::vector<std::pair<Place, Told>> told;
  relay_.OnTime(At(now_ms));
  while (relay_.has_effects()) {
    for (const server::Effect& effect : relay_.TakeEffects()) {
      const auto found = std::find_if(connections_.begin(), connections_.end(),
                                      [&](const Connection& connection) { return connection.id == effect.connection; });
      Read(static_cast<int>(found - connections_.begin()), effect, told);
    }
    relay_.EndTurn();
  }
  given_.clear();
  if (broken_.empty()) broken_ = relay_.Check();
  return told;
}

void Core::Read(int connection, const server::Effect& effect, std::vector<std::pair<Place, Told>>& told) {
  std::string bytes;
  for (const std::span<const uint8_t> slice : effect.write) {
    bytes.append(reinterpret_cast<const char*>(slice.data()), slice.size());
  }
  Connection& to = connections_[static_cast<size_t>(connection)];
  if (!bytes.empty() && to.is_closed) broken_ = "bytes for a connection that was shut";
  std::span<uint8_t> rest(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size());
  proto::Frame frame;
  while (proto::DecodeFrame(rest, UINT32_MAX, frame) == proto::Decoded::kFrame) {
    told.emplace_back(Place{connection, frame.slot()}, model::Read(frame));
    rest = rest.subspan(frame.bytes().size());
  }
  if (!rest.empty()) broken_ = "the relay wrote a part of a frame";
  if (effect.shut || effect.close) to.is_closed = true;
}

std::string Core::CheckNothingLeft(int64_t now_ms) {
  for (const Connection& connection : connections_) relay_.OnInputEnd(connection.id, /*is_broken=*/true, At(now_ms));
  EndTurn(now_ms);
  if (relay_.connection_count() != 0) return "a connection is left";
  if (relay_.client_count() != 0) return "a client is left";
  if (relay_.channel_count() != 0) return "a channel is left";
  if (relay_.metrics().exchanges_live != 0) return "an exchange is left";
  if (relay_.metrics().held_bytes != 0) return "held bytes are left";
  return broken_;
}

}  // namespace relay::model

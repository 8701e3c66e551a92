#include "server/effects.h"

#include <algorithm>

namespace relay::server {

v1::Status StatusOf(End end, std::string_view words, bool may_have_run) {
  const EndInfo& info = InfoOf(end);
  if (words.empty()) words = info.words;
  v1::Status status;
  status.set_code(static_cast<uint32_t>(info.code));
  status.set_message(words.data(), words.size());
  status.set_end(info.name.data(), info.name.size());
  status.set_may_have_run(may_have_run);
  return status;
}

void Effects::Touch(Session& session) {
  if (session.is_dirty) return;
  session.is_dirty = true;
  touched_.push_back(&session);
}

void Effects::Write(Session& to, std::span<const uint8_t> frames) {
  if (!to.is_live()) return;
  Touch(to);
  to.out_bytes += frames.size();
  if (!to.out.empty()) {
    std::span<const uint8_t>& last = to.out.back();
    if (last.data() + last.size() == frames.data()) {
      last = {last.data(), last.size() + frames.size()};
      return;
    }
  }
  to.out.push_back(frames);
}

void Effects::Send(Session& to, proto::FrameType type, uint16_t slot, const proto::Uuid& id,
                   const google::protobuf::MessageLite& message) {
  const size_t payload_bytes = message.ByteSizeLong();
  const std::span<uint8_t> frame = memory_.Take(proto::kHeaderBytes + payload_bytes);
  proto::WriteHeader(frame.data(), static_cast<uint32_t>(payload_bytes), type, 0, slot, id);
  message.SerializeWithCachedSizesToArray(frame.data() + proto::kHeaderBytes);
  Write(to, frame);
}

void Effects::SendPayload(Session& to, proto::FrameType type, uint8_t flags, uint16_t slot, const proto::Uuid& id,
                          std::span<const uint8_t> payload) {
  const std::span<uint8_t> frame = memory_.Take(proto::kHeaderBytes + payload.size());
  proto::WriteHeader(frame.data(), static_cast<uint32_t>(payload.size()), type, flags, slot, id);
  std::copy(payload.begin(), payload.end(), frame.begin() + proto::kHeaderBytes);
  Write(to, frame);
}

void Effects::SendReset(Session& to, uint16_t slot, const proto::Uuid& id, v1::Status status) {
  v1::Reset reset;
  *reset.mutable_status() = std::move(status);
  Send(to, proto::FrameType::kReset, slot, id, reset);
}

void Effects::Refuse(Session& to, uint16_t slot, const proto::Uuid& id, End end, uint32_t retry_after_ms) {
  metrics_.Count(end);
  IsFaultless(end) ? to.DrawRefusal() : to.DrawError();
  CountOwed(to);
  v1::Status status = StatusOf(end);
  status.set_retry_after_ms(retry_after_ms);
  SendReset(to, slot, id, std::move(status));
}

void Effects::EndTurn() {
  for (Session* const session : touched_) {
    session->is_dirty = false;
    session->out.clear();
    session->out_bytes = 0;
    session->given_bytes = 0;
  }
  touched_.clear();
  notices_.clear();
  memory_.Rewind();
}

}  // namespace relay::server

#include "tools/inspect/payload.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>

#include "proto/endian.h"

namespace relay::inspect {
namespace {

using proto::FrameType;
using State = Payload::State;

State ParseStart(Payload& out, bool is_response, std::span<uint8_t> payload, uint32_t payload_bytes, bool from_server) {
  const bool is_cut = payload.size() < payload_bytes;
  if (is_cut && payload.size() < proto::kStartBlockBytes) return State::kCut;
  const proto::StartFault fault = proto::CheckStart(payload, is_response);
  if (fault == proto::StartFault::kShorterThanBlock || (fault == proto::StartFault::kShorterThanStart && !is_cut)) {
    out.start_fault = fault;
    return State::kBadStart;
  }
  const proto::StartBlock block(payload);
  out.other_client = block.other_client();
  out.timeout_ms = block.timeout_ms();
  out.max_extension_ms = block.max_extension_ms();
  out.queue_wait_us = block.queue_wait_us();
  out.attempt = block.attempt();
  out.start_bytes = block.start_bytes();
  const size_t head_bytes = proto::kStartBlockBytes + out.start_bytes;
  if (payload_bytes < head_bytes) {
    out.start_fault = proto::StartFault::kShorterThanStart;
    return State::kBadStart;
  }
  out.body_bytes = payload_bytes - head_bytes;
  if (payload.size() < head_bytes) return State::kCut;
  out.body = payload.subspan(head_bytes);
  if (!proto::ParseMessage(block.start(), out.start)) return State::kMalformed;
  if (fault == proto::StartFault::kServerFieldsSet && from_server) {
    if (!is_response || (out.timeout_ms == 0 && out.max_extension_ms == 0)) return State::kParsed;
    out.start_fault = proto::StartFault::kTimeoutOnResponse;
    return State::kBadStart;
  }
  out.start_fault = fault;
  return fault == proto::StartFault::kNone ? State::kParsed : State::kBadStart;
}

}  // namespace

void Payload::Parse(FrameType type, uint8_t flags, std::span<uint8_t> payload, uint32_t payload_bytes,
                    bool from_server) {
  state = State::kParsed;
  start_fault = proto::StartFault::kNone;
  body_bytes = 0;
  body = {};
  other_client = proto::kNilUuid;
  timeout_ms = max_extension_ms = queue_wait_us = 0;
  attempt = start_bytes = 0;
  const std::string_view text(reinterpret_cast<const char*>(payload.data()), payload.size());
  const bool is_cut = payload.size() < payload_bytes;
  const auto parse = [&](google::protobuf::MessageLite& message) {
    message.Clear();
    if (is_cut) {
      state = State::kCut;
    } else if (!proto::ParseMessage(text, message)) {
      state = State::kMalformed;
    }
  };
  const auto sized = [&](size_t bytes) {
    if (payload_bytes != bytes) {
      state = State::kMalformed;
    } else if (is_cut) {
      state = State::kCut;
    }
    return state == State::kParsed;
  };
  switch (type) {
    case FrameType::kHello:
      return parse(hello);
    case FrameType::kWelcome:
      return parse(welcome);
    case FrameType::kJoin:
      return parse(join);
    case FrameType::kLeave:
    case FrameType::kGoaway:
      return parse(status);
    case FrameType::kReceive:
      return parse(receive);
    case FrameType::kEnd:
      return parse(end);
    case FrameType::kReset:
      return parse(reset);
    case FrameType::kStart:
      start.Clear();
      state = ParseStart(*this, (flags & proto::flag::kResponse) != 0, payload, payload_bytes, from_server);
      return;
    case FrameType::kChunk:
      body_bytes = payload_bytes;
      body = payload;
      return;
    case FrameType::kWindow:
      window = 0;
      if (sized(sizeof(uint64_t))) window = proto::LoadBig<uint64_t>(payload.data());
      return;
    case FrameType::kExtend:
      extend_ms = 0;
      if (sized(proto::kExtendBytes)) extend_ms = proto::LoadBig<uint32_t>(payload.data());
      return;
    case FrameType::kObserve:
      return parse(observe);
    case FrameType::kMirror: {
      if (is_cut) {
        state = State::kCut;
        return;
      }
      if (!proto::CheckMirror(payload)) {
        state = State::kMalformed;
        return;
      }
      const proto::MirrorBlock block(payload);
      mirror_kind = block.kind();
      mirror_connection = block.connection();
      mirror_lost = block.lost();
      const bool has_frame = mirror_kind == proto::MirrorKind::kRead || mirror_kind == proto::MirrorKind::kWritten;
      mirror_type = has_frame ? block.shown()[4] : 0;
      return;
    }
    case FrameType::kPing:
    case FrameType::kPong:
      sized(proto::kPingBytes);
      return;
  }
}

void HideSecret(FrameType type, std::span<uint8_t> payload) {
  using google::protobuf::internal::WireFormatLite;
  const bool is_hello = type == FrameType::kHello;
  if (!is_hello && type != FrameType::kJoin) return;
  const int secret = is_hello ? int{v1::Hello::kTokenFieldNumber} : int{v1::Join::kKeyFieldNumber};
  google::protobuf::io::CodedInputStream input(payload.data(), static_cast<int>(payload.size()));
  while (const uint32_t tag = input.ReadTag()) {
    if (WireFormatLite::GetTagWireType(tag) != WireFormatLite::WIRETYPE_LENGTH_DELIMITED) {
      if (!WireFormatLite::SkipField(&input, tag)) return;
      continue;
    }
    uint32_t bytes = 0;
    if (!input.ReadVarint32(&bytes)) return;
    const auto rest = payload.subspan(static_cast<size_t>(input.CurrentPosition()));
    const auto value = rest.first(std::min<size_t>(rest.size(), bytes));
    if (WireFormatLite::GetTagFieldNumber(tag) == secret) std::fill(value.begin(), value.end(), uint8_t{0});
    if (!input.Skip(static_cast<int>(value.size()))) return;
  }
}

}  // namespace relay::inspect

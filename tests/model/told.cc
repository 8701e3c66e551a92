#include "model/told.h"

#include "absl/strings/str_cat.h"
#include "proto/endian.h"
#include "proto/messages.h"
#include "proto/start_block.h"

namespace relay::model {

using proto::Frame;
using proto::FrameType;

namespace {

uint64_t NumberOf(const proto::Uuid& id) { return proto::LoadBig<uint64_t>(id.data + 8); }

void ReadStatus(const v1::Status& status, Told& told) {
  told.code = proto::CodeFromWire(status.code());
  told.end = status.end();
  told.may_have_run = status.may_have_run();
}

}  // namespace

Told Read(const Frame& frame) {
  Told told{.type = frame.type(), .flags = frame.flags(), .id = NumberOf(frame.id())};
  bool is_whole = true;
  switch (frame.type()) {
    case FrameType::kStart: {
      const proto::StartBlock block(frame.payload());
      told.other_client = NumberOf(block.other_client());
      told.attempt = block.attempt();
      told.timeout_ms = block.timeout_ms();
      told.max_extension_ms = block.max_extension_ms();
      told.queue_wait_us = block.queue_wait_us();
      told.body.assign(block.body().begin(), block.body().end());
      break;
    }
    case FrameType::kChunk:
      told.body = frame.payload_text();
      break;
    case FrameType::kWindow:
      told.window = proto::LoadBig<uint64_t>(frame.payload().data());
      break;
    case FrameType::kExtend:
      told.timeout_ms = proto::LoadBig<uint32_t>(frame.payload().data());
      break;
    case FrameType::kReceive: {
      v1::Receive receive;
      is_whole = proto::ParseMessage(frame.payload_text(), receive);
      told.withdraw = receive.withdraw();
      break;
    }
    case FrameType::kReset: {
      v1::Reset reset;
      is_whole = proto::ParseMessage(frame.payload_text(), reset);
      ReadStatus(reset.status(), told);
      break;
    }
    case FrameType::kLeave:
    case FrameType::kGoaway: {
      v1::Status status;
      is_whole = proto::ParseMessage(frame.payload_text(), status);
      ReadStatus(status, told);
      break;
    }
    case FrameType::kHello:
    case FrameType::kWelcome:
    case FrameType::kJoin:
    case FrameType::kEnd:
    case FrameType::kPing:
    case FrameType::kPong:
    case FrameType::kObserve:
    case FrameType::kMirror:
      break;
  }
  if (!is_whole) told.end = "(does not parse)";
  return told;
}

std::string Told::ToString() const {
  std::string text = absl::StrCat(std::string(proto::NameOf(type)), " flags=", flags, " id=", id);
  const auto add = [&text](const char* name, const auto& value) { absl::StrAppend(&text, " ", name, "=", value); };
  if (type == FrameType::kStart) {
    add("other", other_client);
    add("attempt", attempt);
    add("timeout_ms", timeout_ms);
    add("max_extension_ms", max_extension_ms);
    add("queue_wait_us", queue_wait_us);
  }
  if (!end.empty()) {
    add("code", absl::StatusCodeToString(code));
    add("end", end);
    add("may_have_run", may_have_run);
  }
  if (!body.empty()) add("body", body);
  if (type == FrameType::kExtend) add("remains_ms", timeout_ms);
  if (type == FrameType::kWindow) add("window", window);
  if (type == FrameType::kReceive) add("withdraw", withdraw);
  return text;
}

}  // namespace relay::model

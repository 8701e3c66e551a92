// A client's protocol between a server that says anything and an owner that does anything (see client_script.h). The
// model says which event each frame has to become and judges every frame that goes out; the same bytes in other pieces
// give the same events and the same output.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "client/protocol.h"
#include "client/wire.h"
#include "client_model.h"
#include "client_script.h"
#include "driver.h"
#include "input.h"
#include "proto/messages.h"
#include "require.h"

namespace relay::fuzz {
namespace {

using client::Event;
using client::Protocol;
using proto::FrameType;
using server::Id;
using Kind = Event::Kind;
namespace flag = proto::flag;

constexpr size_t kMostPieces = 200;  // of what is said at once; the rest comes whole
constexpr absl::Time kBegin = absl::UnixEpoch();

std::string TextOf(const Event& event) {
  std::string text = "event " + std::to_string(static_cast<int>(event.kind)) + " " + std::to_string(event.slot) + " " +
                     proto::ToString(event.id) + " " + event.status.ToString() + " " + event.status.end() + " " +
                     std::to_string(event.status.retry_after().count()) + " " + std::to_string(event.cost) + " " +
                     proto::ToString(event.other_client) + " " + std::to_string(event.attempt) + " " +
                     absl::FormatDuration(event.queue_wait) + " " +
                     absl::FormatDuration(event.remaining.value_or(-absl::Seconds(1)));
  for (const bool is : {event.status.may_have_run(), event.is_last, event.is_idempotent}) text += is ? " yes" : " no";
  return text + event.head.SerializeAsString() + event.end.SerializeAsString() + std::string(event.body) + "\n";
}

class Connection {
 public:
  // The server's bytes come whole where a piece is 0 bytes long.
  Connection(Input input, size_t piece_bytes) : input_(input), piece_bytes_(piece_bytes) {}

  void Run() {
    TakeOutput({});
    while (!input_.is_empty() && !model_.has_failed() && !is_dead_) {
      Step();
      TakeOutput({});
      model_.Compare(protocol_);
    }
    if (!is_dead_) model_.Finish();
  }

  // All events and results, and all output.
  const std::string& heard() const { return heard_; }
  const std::string& output() const { return output_; }

 private:
  void Step();

  // Mostly few, at times as many as fill a window: up to 127 bytes, or up to 64 KiB.
  size_t BodyBytes() {
    const size_t number = input_.Byte();
    return number < 128 ? number : (number - 127) * 512;
  }
  uint16_t SlotNumber() { return input_.Byte() % 8; }
  proto::Uuid RequestId(uint16_t slot) {
    const uint8_t number = input_.Byte() % 8;
    if (number == 0) return proto::kNilUuid;
    const proto::Uuid& own = model_.slot(slot).id;
    return number >= 6 && own != proto::kNilUuid ? own : Id(number);
  }

  // ---- The server.

  void Says(std::string_view bytes) {
    size_t pieces = 0;
    while (!bytes.empty() && !model_.has_failed()) {
      const size_t most = piece_bytes_ == 0 || ++pieces > kMostPieces ? bytes.size() : piece_bytes_;
      pending_ += bytes.substr(0, most);
      bytes.remove_prefix(std::min(most, bytes.size()));
      protocol_.OnRead(now_);
      Hear();
    }
  }

  // In memory of its own size, so that a sanitizer sees a read behind it.
  void Hear() {
    const auto exact = std::make_unique<uint8_t[]>(pending_.size());
    std::memcpy(exact.get(), pending_.data(), pending_.size());
    std::span<uint8_t> rest(exact.get(), pending_.size());
    for (;;) {
      const std::span<uint8_t> before = rest;
      const Event event = protocol_.Next(rest);
      Judge(before, rest, event);
      TakeOutput(event);
      if (event.kind == Kind::kNone) break;
      heard_ += TextOf(event);
      model_.Compare(protocol_);
    }
    pending_.assign(reinterpret_cast<const char*>(rest.data()), rest.size());
  }

  void Judge(std::span<uint8_t> before, std::span<uint8_t> after, const Event& event) {
    if (model_.has_failed()) {
      Require(event.kind == Kind::kNone && after.empty(), "behind a fault everything is ignored");
      return;
    }
    for (;;) {
      proto::Frame frame;
      const proto::Decoded decoded = proto::DecodeFrame(before, model_.limits().max_payload_bytes, frame);
      const Kind expected = decoded == proto::Decoded::kTooLarge   ? Kind::kFault
                            : decoded == proto::Decoded::kNeedMore ? Kind::kNone
                                                                   : model_.Expect(frame);
      if (expected == Kind::kFault) {
        Require(event.kind == Kind::kFault && !event.status.ok() && after.empty(), "a fault of the server is said");
        model_.OnFault();
        return;
      }
      if (decoded == proto::Decoded::kNeedMore) {
        Require(event.kind == Kind::kNone && after.data() == before.data(), "a part of a frame is nothing yet");
        return;
      }
      before = before.subspan(frame.bytes().size());
      if (expected == Kind::kNone) {
        model_.OnDropped(frame);
        continue;
      }
      Require(event.kind == expected, "a frame becomes the event that it means");
      Require(after.data() == before.data() && after.size() == before.size(), "an event takes its frame");
      model_.OnEvent(event, frame);
      return;
    }
  }

  // ---- The owner.

  void TakeOutput(const Event& event) {
    std::string bytes;
    protocol_.TakeOutput(bytes, now_);
    model_.OnOutput(bytes, event);
    output_ += bytes;
  }

  // Behind a command that took so much of a body; `is_all` where it had to take all that the credit gives.
  void Took(const char* what, std::optional<size_t> bytes, std::optional<size_t> expected) {
    Require(bytes == expected, what);
    const uint64_t before = model_.body_bytes();
    TakeOutput({});
    Require(model_.body_bytes() - before == bytes.value_or(0), "what was taken is what was written");
    heard_ += std::string(what) + " " + std::to_string(bytes.value_or(0)) + "\n";
  }

  // How much of a body of so many bytes a START takes.
  size_t StartTakes(size_t body_bytes, size_t head_bytes, uint64_t credit) const {
    const size_t room = model_.limits().max_payload_bytes - proto::kStartBlockBytes - head_bytes;
    return std::min({body_bytes, room, static_cast<size_t>(credit)});
  }

  void Joins();
  void Starts();
  void Responds();
  void Writes();
  void Time();

  Input input_;
  const size_t piece_bytes_;
  absl::Time now_ = kBegin;
  Protocol protocol_{"fuzz", kBegin};
  ClientModel model_;
  bool is_leaving_ = false;  // GOAWAY was said: nothing begins any more
  bool is_dead_ = false;
  std::string pending_;
  std::string heard_;
  std::string output_;
};

void Connection::Joins() {
  const uint8_t client = input_.Byte();
  if (is_leaving_) return;
  const bool is_full = model_.bound() >= model_.limits().max_clients;
  const uint16_t slot = protocol_.Join(Id(0xc000u + client), Id(0xcc), "", "key");
  Require((slot == 0) == is_full, "JOIN is refused where the server takes no more");
  if (slot != 0) Require(model_.slot(slot).state == ClientModel::State::kFree, "JOIN binds a slot that is free");
}

void Connection::Starts() {
  const uint16_t slot = SlotNumber();
  const proto::Uuid id = RequestId(slot);
  const uint8_t flags = input_.Byte();
  const std::string body(BodyBytes(), 'o');
  if (is_leaving_ || id == proto::kNilUuid) return;
  client::RequestStart start;
  start.head = *client::MakeStart("method", "", {});
  start.is_idempotent = (flags & kIsIdempotent) != 0;
  start.requires_receiver = (flags & kRequiresReceiver) != 0;
  if ((flags & kHasTimeout) != 0) start.timeout = absl::Microseconds(1);
  std::optional<size_t> expected;
  if (model_.slot(slot).may_begin()) {
    expected = StartTakes(body.size(), start.head.size(), model_.limits().initial_window_bytes - 24);
  }
  Took("Start", protocol_.Start(slot, id, start, body, (flags & kIsWhole) != 0), expected);
}

void Connection::Responds() {
  const uint16_t slot = SlotNumber();
  const proto::Uuid id = RequestId(slot);
  const uint8_t flags = input_.Byte();
  const std::string body(BodyBytes(), 'o');
  const std::string head = *client::MakeStart("", "text", {});
  const ClientModel::Slot& of = model_.slot(slot);
  std::optional<size_t> expected;
  if (of.state == ClientModel::State::kServing && of.id == id && !of.out.is_open) {
    expected = StartTakes(body.size(), head.size(), model_.credit(slot));
  }
  const bool goes_on = (flags & kGoesOn) != 0 && !is_leaving_;
  Took("Respond", protocol_.Respond(slot, id, head, body, (flags & kIsWhole) != 0, goes_on), expected);
}

void Connection::Writes() {
  const uint16_t slot = SlotNumber();
  const proto::Uuid id = RequestId(slot);
  const uint8_t flags = input_.Byte();
  const std::string body(BodyBytes(), 'o');
  const bool goes_on = (flags & kGoesOn) != 0 && !is_leaving_;
  const ClientModel::Slot& of = model_.slot(slot);
  size_t expected = 0;
  const bool is_bounded = (flags & kAtMostOneKib) != 0;
  if (of.is_live() && of.id == id && of.out.is_open && !of.out.is_complete) {
    uint64_t credit = model_.credit(slot);
    while (credit > 0 && expected < body.size() && !(is_bounded && expected > 0)) {
      const size_t part = std::min({body.size() - expected, static_cast<size_t>(std::min<uint64_t>(credit, SIZE_MAX)),
                                    static_cast<size_t>(model_.limits().max_payload_bytes)});
      expected += part;
      credit -= std::min<uint64_t>(credit, part + 24);
      if (is_bounded && expected < 1024 - 24) break;
    }
  }
  const size_t most = is_bounded ? 1024 : SIZE_MAX;
  Took("Write", protocol_.Write(slot, id, body, (flags & kIsWhole) != 0, goes_on, most), expected);
}

void Connection::Time() {
  now_ += absl::Milliseconds(20) * input_.Byte();
  // What an owner does: OnTime when it is due, and once more behind a poll in which nothing came.
  for (int i = 0; i < 2 && now_ >= protocol_.next_time(); ++i) {
    if (protocol_.OnTime(now_)) continue;
    Require(i == 1, "a server is dead only behind a poll");
    is_dead_ = true;
  }
  heard_ += is_dead_ ? "dead\n" : "alive\n";
}

void Connection::Step() {
  // Named one by one: the order in which arguments are evaluated is not given.
  const auto what = static_cast<ClientStep>(input_.Byte() % kClientStepCount);
  switch (what) {
    case kSaysRaw:
      return Says(input_.Bytes(input_.Byte()));
    case kSaysFrame: {
      const auto type = static_cast<FrameType>(input_.Byte());
      const uint8_t flags = input_.Byte();
      const uint16_t slot = SlotNumber();
      const proto::Uuid id = RequestId(slot);
      return Says(server::FrameOf(type, flags, slot, id, input_.Bytes(input_.Byte())));
    }
    case kSaysWelcome: {
      const uint8_t more = input_.Byte();
      v1::Welcome welcome;
      welcome.set_max_payload_bytes(65536 + (more & 0x0fu) * 4096);
      welcome.set_initial_window_bytes(65536 + (more >> 4) * 4096u);
      welcome.set_max_start_bytes(4096);
      welcome.set_max_clients_per_connection(input_.Byte());
      welcome.set_heartbeat_interval_ms(1000);
      welcome.set_heartbeat_misses(3);
      return Says(server::FrameOf(FrameType::kWelcome, 0, proto::kNilUuid, welcome));
    }
    case kSaysRequest:
    case kSaysResponse: {
      const bool is_request = what == kSaysRequest;
      const uint16_t slot = SlotNumber();
      const proto::Uuid id = RequestId(slot);
      const uint8_t flags = input_.Byte();
      const std::string body(BodyBytes(), 's');
      const uint32_t timeout_ms = is_request ? input_.Byte() : 0;
      return Says(server::StartFrame(is_request ? flag::kRequest : flag::kResponse, slot, id,
                                     {.flags = flags, .start = "\x0a\x01m", .body = body, .timeout_ms = timeout_ms}));
    }
    case kSaysHeadless: {
      const uint8_t flags = input_.Byte();
      const uint16_t slot = SlotNumber();
      const proto::Uuid id = RequestId(slot);
      return Says(server::StartFrame(0, slot, id, {.flags = flags, .start = "\x0a", .body = "s"}));
    }
    case kSaysChunk: {
      const uint8_t flags = input_.Byte();
      const uint16_t slot = SlotNumber();
      const proto::Uuid id = RequestId(slot);
      return Says(server::ChunkFrame(flags, slot, id, std::string(BodyBytes(), 's')));
    }
    case kSaysEnd: {
      const uint8_t flags = input_.Byte();
      const uint16_t slot = SlotNumber();
      const proto::Uuid id = RequestId(slot);
      v1::End end;
      end.mutable_status()->set_code(input_.Byte());
      end.mutable_status()->set_end("queue_count");
      end.mutable_status()->set_may_have_run(true);
      return Says(server::EndFrame(flags, slot, id, end.SerializeAsString()));
    }
    case kSaysWindow: {
      const uint8_t flags = input_.Byte();
      const uint16_t slot = SlotNumber();
      const proto::Uuid id = RequestId(slot);
      return Says(server::WindowFrame(flags, slot, id, input_.Byte() * uint64_t{1024}));
    }
    case kSaysReset: {
      const uint16_t slot = SlotNumber();
      const proto::Uuid id = RequestId(slot);
      return Says(server::ResetFrame(slot, id, static_cast<absl::StatusCode>(input_.Byte())));
    }
    case kSaysLeave: {
      const uint16_t slot = SlotNumber();
      v1::Status status;
      status.set_code(input_.Byte() % 18);
      return Says(server::FrameOf(FrameType::kLeave, slot, model_.slot(slot).client, status));
    }
    case kSaysNothingCame:
      return Says(server::ReceiveFrame(SlotNumber()));
    case kSaysWithdrawn:
      return Says(server::WithdrawFrame(SlotNumber()));
    case kSaysPing:
      return Says(server::PingFrame(input_.Byte()));
    case kSaysGoaway: {
      v1::Status status;
      status.set_code(input_.Byte() % 18);
      return Says(server::FrameOf(FrameType::kGoaway, 0, proto::kNilUuid, status));
    }

    case kDoesJoin:
      return Joins();
    case kDoesLeave:
      return protocol_.Leave(SlotNumber());
    case kDoesReceive: {
      const uint16_t slot = SlotNumber();
      const uint8_t wait = input_.Byte();
      if (is_leaving_) return;
      const bool may = model_.slot(slot).may_begin();
      const auto most = wait == 255 ? std::nullopt : std::optional(absl::Milliseconds(wait));
      Require(protocol_.Receive(slot, most) == may, "Receive begins on a slot that is idle");
      return;
    }
    case kDoesWithdraw: {
      const uint16_t slot = SlotNumber();
      const ClientModel::Slot& of = model_.slot(slot);
      const bool may = of.state == ClientModel::State::kWaiting && !of.is_withdrawing;
      Require(protocol_.Withdraw(slot) == may, "Withdraw is of a slot that waits");
      return;
    }
    case kDoesStart:
      return Starts();
    case kDoesRespond:
      return Responds();
    case kDoesWrite:
      return Writes();
    case kDoesEnd: {
      const uint16_t slot = SlotNumber();
      const proto::Uuid id = RequestId(slot);
      const bool goes_on = (input_.Byte() & kGoesOn) != 0 && !is_leaving_;
      v1::End end;
      end.mutable_status()->set_code(input_.Byte() % 17);
      return protocol_.End(slot, id, end, goes_on);
    }
    case kDoesConsume: {
      const uint16_t slot = SlotNumber();
      const proto::Uuid id = RequestId(slot);
      const ClientModel::Slot& of = model_.slot(slot);
      const uint64_t cost = (of.in.cost - of.consumed) * input_.Byte() / 255;
      if (of.is_live() && of.id == id) model_.OnConsumed(slot, cost);
      return protocol_.Consumed(slot, id, cost);
    }
    case kDoesReset: {
      const uint16_t slot = SlotNumber();
      const proto::Uuid id = RequestId(slot);
      const uint8_t code = input_.Byte();
      return protocol_.Reset(slot, id, Status(static_cast<StatusCode>(code % 17), "no"), code >= 128);
    }
    case kDoesGoaway:
      is_leaving_ = true;
      return protocol_.Goaway(OkStatus());
    case kTimePasses:
      return Time();
    case kSaysExtend: {
      const uint16_t slot = SlotNumber();
      const proto::Uuid id = RequestId(slot);
      return Says(server::ExtendFrame(slot, id, input_.Byte()));
    }
    case kDoesExtend: {
      const uint16_t slot = SlotNumber();
      const proto::Uuid id = RequestId(slot);
      return protocol_.Extend(slot, id, absl::Milliseconds(input_.Byte()));
    }
    case kClientStepCount:
      return;
  }
}

}  // namespace
}  // namespace relay::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using relay::fuzz::Connection;
  static const bool is_set_up = (relay::proto::SilenceProtobuf(), true);
  if (!is_set_up || size == 0) return 0;
  Connection whole(relay::fuzz::Input(data + 1, size - 1), 0);
  whole.Run();
  Connection in_pieces(relay::fuzz::Input(data + 1, size - 1), std::max<size_t>(data[0], 1));
  in_pieces.Run();
  relay::fuzz::Require(whole.heard() == in_pieces.heard(), "the same events, however the bytes come");
  relay::fuzz::Require(whole.output() == in_pieces.output(), "the same output, however the bytes come");
  return 0;
}

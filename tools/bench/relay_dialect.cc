#include "tools/bench/relay_dialect.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/channel_name.h"
#include "proto/endian.h"
#include "proto/messages.h"
#include "proto/relay.pb.h"
#include "proto/start_block.h"
#include "proto/uuid.h"

namespace relay::bench {
namespace {

using proto::Frame;
using proto::FrameType;
using proto::Uuid;

constexpr std::string_view kPing = "ready?\n\n";
constexpr size_t kIdAt = 8;
constexpr size_t kSlotAt = 6;

// Ids that do not depend on chance, and spread over a hash as random ones do.
Uuid MakeId(uint64_t kind, uint64_t number) {
  uint64_t mixed = (number + (kind << 56)) * 0x9e3779b97f4a7c15;
  mixed ^= mixed >> 32;
  Uuid id;
  proto::StoreBig<uint64_t>(&id.data[0], mixed);
  proto::StoreBig<uint64_t>(&id.data[8], (kind << 56) | number);
  return id;
}

uint64_t NumberOf(const Uuid& id) { return proto::LoadBig<uint64_t>(&id.data[8]) & ((uint64_t{1} << 56) - 1); }

void Greet(std::string& out) {
  v1::Hello hello;
  hello.set_version(proto::kVersion);
  hello.set_agent("relay-bench");
  out += proto::kPreface;
  proto::AppendMessage(out, FrameType::kHello, 0, 0, proto::kNilUuid, hello);
}

void Join(std::string& out, uint16_t slot, const Uuid& client) {
  const Uuid channel = proto::ChannelId("bench");
  v1::Join join;
  join.set_client_id(client.data, proto::kUuidBytes);
  join.set_channel_id(channel.data, proto::kUuidBytes);
  proto::AppendMessage(out, FrameType::kJoin, 0, slot, proto::kNilUuid, join);
}

void Ping(std::string& out) { proto::AppendFrame(out, FrameType::kPing, 0, 0, proto::kNilUuid, kPing); }

}  // namespace

RelayDialect::RelayDialect(std::string server, unsigned frames) : server_(std::move(server)), frames_(frames) {}

absl::Status RelayDialect::Open(Load& load) {
  request_ = Message(proto::flag::kRequest, 0, load.shape().body_bytes);
  response_ = Message(proto::flag::kResponse, proto::flag::kReceive, load.shape().body_bytes);
  if (absl::Status status = OpenSenders(load); !status.ok()) return status;
  if (absl::Status status = OpenReceivers(load); !status.ok()) return status;
  // PONG stands behind all that was joined before it.
  return load.PumpUntil([this] { return pongs_ == first_sender_.size(); });
}

absl::Status RelayDialect::OpenSenders(Load& load) {
  const size_t in_flight = load.shape().in_flight;
  const size_t per_socket = load.shape().is_shared ? in_flight : 1;
  for (size_t sender = 0; sender < in_flight; sender += per_socket) {
    const absl::StatusOr<Socket*> socket = load.Connect(server_, Side::kSender);
    if (!socket.ok()) return socket.status();
    (*socket)->set_index(first_sender_.size());
    first_sender_.push_back(sender);
    Greet((*socket)->output());
    for (size_t i = 0; i < per_socket; ++i) {
      const auto slot = static_cast<uint16_t>(i + 1);
      Join((*socket)->output(), slot, MakeId(1, sender + i));
      senders_.push_back({*socket, slot});
    }
    Ping((*socket)->output());
    load.HasOutput(**socket);
  }
  return absl::OkStatus();
}

absl::Status RelayDialect::OpenReceivers(Load& load) {
  const size_t receivers = load.shape().receivers;
  const size_t slots = (load.shape().in_flight + receivers - 1) / receivers;
  std::string receive;
  proto::AppendMessage(receive, FrameType::kReceive, 0, 0, proto::kNilUuid, v1::Receive());
  for (size_t receiver = 0; receiver < receivers; ++receiver) {
    const absl::StatusOr<Socket*> socket = load.Connect(server_, Side::kReceiver);
    if (!socket.ok()) return socket.status();
    (*socket)->set_index(first_sender_.size());
    first_sender_.push_back(0);
    std::string& output = (*socket)->output();
    Greet(output);
    for (size_t i = 0; i < slots; ++i) {
      const auto slot = static_cast<uint16_t>(i + 1);
      Join(output, slot, MakeId(2, receiver * slots + i));
      proto::StoreBig<uint16_t>(&receive[kSlotAt], slot);
      output += receive;
    }
    Ping(output);
    load.HasOutput(**socket);
  }
  return absl::OkStatus();
}

std::string RelayDialect::Message(uint8_t direction, uint8_t last_flags, size_t body_bytes) const {
  const std::string block(proto::kStartBlockBytes, '\0');
  const std::string body(body_bytes, 'x');
  const auto with = [direction](uint8_t more) { return static_cast<uint8_t>(direction | more); };
  const auto last = static_cast<uint8_t>(last_flags);
  std::string message;
  if (frames_ == 1) {
    proto::AppendFrame(message, FrameType::kStart, with(static_cast<uint8_t>(proto::flag::kFin | last)), 0,
                       proto::kNilUuid, block + body);
    return message;
  }
  proto::AppendFrame(message, FrameType::kStart, direction, 0, proto::kNilUuid, block);
  proto::AppendFrame(message, FrameType::kChunk, direction, 0, proto::kNilUuid, body);
  proto::AppendFrame(message, FrameType::kEnd, with(last), 0, proto::kNilUuid, {});
  return message;
}

void RelayDialect::Append(Socket& socket, const std::string& message, uint16_t slot, const uint8_t* id,
                          uint64_t number) const {
  std::string& output = socket.output();
  const size_t begin = output.size();
  output += message;
  auto* frame = reinterpret_cast<uint8_t*>(output.data()) + begin;
  const auto address = [slot, id](uint8_t* header) {
    proto::StoreBig<uint16_t>(header + kSlotAt, slot);
    std::memcpy(header + kIdAt, id, proto::kUuidBytes);
  };
  address(frame);
  frame += proto::kHeaderBytes + proto::kStartBlockBytes;
  if (frames_ == 3) {
    address(frame);
    frame += proto::kHeaderBytes;
    address(reinterpret_cast<uint8_t*>(output.data()) + output.size() - proto::kHeaderBytes);
  }
  std::memcpy(frame, &number, sizeof(number));
}

void RelayDialect::Send(Load& load, size_t sender, uint64_t number) {
  const Sender& from = senders_[sender];
  Append(*from.socket, request_, from.slot, MakeId(3, number).data, number);
  load.HasOutput(*from.socket);
}

absl::Status RelayDialect::OnInput(Load& load, Socket& socket) {
  while (true) {
    Frame frame;
    const std::span<uint8_t> input = socket.input();
    const proto::Decoded decoded = proto::DecodeFrame(input, 1 << 20, frame);
    if (decoded == proto::Decoded::kNeedMore) return absl::OkStatus();
    if (decoded == proto::Decoded::kTooLarge) return absl::DataLossError("a frame that is too large");
    absl::Status status;
    switch (frame.type()) {
      case FrameType::kStart:
      case FrameType::kChunk:
      case FrameType::kEnd:
        status =
            socket.side() == Side::kSender ? OnSenderFrame(load, socket, frame) : OnReceiverFrame(load, socket, frame);
        break;
      default:
        status = OnControlFrame(socket, frame);
        if (socket.has_unsent()) load.HasOutput(socket);
    }
    if (!status.ok()) return status;
    socket.Consume(frame.bytes().size());
  }
}

absl::Status RelayDialect::OnReceiverFrame(Load& load, Socket& socket, const Frame& frame) {
  // The body comes in a frame before the last one, or in the same.
  if (frame.type() == FrameType::kStart && frames_ == 3) return absl::OkStatus();
  if (frame.type() == FrameType::kEnd) {
    load.OnRequest();
    load.HasOutput(socket);
    return absl::OkStatus();
  }
  const std::span<uint8_t> payload = frame.payload();
  const std::span<uint8_t> body = frames_ == 1 ? payload.subspan(proto::kStartBlockBytes) : payload;
  if (body.size() != load.shape().body_bytes) return absl::DataLossError("a request of another size");
  uint64_t number;
  std::memcpy(&number, body.data(), sizeof(number));
  Append(socket, response_, frame.slot(), frame.bytes().data() + kIdAt, number);
  if (frames_ == 3) return absl::OkStatus();  // answered in full; what is still to come is END
  load.OnRequest();
  load.HasOutput(socket);
  return absl::OkStatus();
}

absl::Status RelayDialect::OnSenderFrame(Load& load, const Socket& socket, const Frame& frame) {
  if (frame.type() == FrameType::kStart && frames_ == 3) return absl::OkStatus();
  const size_t sender = first_sender_[socket.index()] + frame.slot() - 1;
  if (frame.type() == FrameType::kEnd) return load.OnAnswer(sender, NumberOf(frame.id()));
  const std::span<uint8_t> payload = frame.payload();
  const std::span<uint8_t> body = frames_ == 1 ? payload.subspan(proto::kStartBlockBytes) : payload;
  uint64_t number;
  std::memcpy(&number, body.data(), sizeof(number));
  if (body.size() != load.shape().body_bytes || MakeId(3, number) != frame.id()) {
    return absl::DataLossError("an answer with the body of another request");
  }
  if (frames_ == 3) return absl::OkStatus();
  return load.OnAnswer(sender, number);
}

absl::Status RelayDialect::OnControlFrame(Socket& socket, const Frame& frame) {
  switch (frame.type()) {
    case FrameType::kWelcome:
    case FrameType::kWindow:
      return absl::OkStatus();
    case FrameType::kPong:
      ++pongs_;
      return absl::OkStatus();
    case FrameType::kPing:
      proto::AppendFrame(socket.output(), FrameType::kPong, 0, 0, proto::kNilUuid, frame.payload_text());
      return absl::OkStatus();
    default:
      return absl::UnavailableError(absl::StrCat("the server sent ", std::string(proto::NameOf(frame.type()))));
  }
}

}  // namespace relay::bench

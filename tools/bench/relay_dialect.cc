#include "tools/bench/relay_dialect.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
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
constexpr size_t kSlotAt = 6;
constexpr size_t kAddressBytes = 18;  // slot and id
constexpr size_t kMostSlots = 4096;   // of a connection

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

void SayHello(std::string& out) {
  v1::Hello hello;
  hello.set_version(proto::kVersion);
  hello.set_agent("relay-bench");
  out += proto::kPreface;
  proto::AppendMessage(out, FrameType::kHello, 0, 0, proto::kNilUuid, hello);
}

void Join(std::string& out, uint16_t slot, const Uuid& client, const Uuid& channel) {
  v1::Join join;
  join.set_client_id(client.data, proto::kUuidBytes);
  join.set_channel_id(channel.data, proto::kUuidBytes);
  proto::AppendMessage(out, FrameType::kJoin, 0, slot, proto::kNilUuid, join);
}

// What each connection says first. `number` is its own.
void Greet(std::string& out, const Shape& shape, size_t number) {
  SayHello(out);
  if (shape.home_channel.has_value()) Join(out, UINT16_MAX, MakeId(5, number), MakeId(4, *shape.home_channel));
}

void Ping(std::string& out) { proto::AppendFrame(out, FrameType::kPing, 0, 0, proto::kNilUuid, kPing); }

}  // namespace

RelayDialect::RelayDialect(std::string server, Options options)
    : server_(std::move(server)), options_(options), frames_(options.frames) {}

absl::Status RelayDialect::Open(Load& load) {
  request_ = Message(proto::flag::kRequest, 0, load.shape().body_bytes);
  response_ = Message(proto::flag::kResponse, proto::flag::kReceive, load.shape().body_bytes);
  if (absl::Status status = OpenSenders(load); !status.ok()) return status;
  if (absl::Status status = OpenReceivers(load); !status.ok()) return status;
  // PONG stands behind all that was joined before it.
  return load.PumpUntil([this] { return pongs_ == sockets_; });
}

absl::Status RelayDialect::OpenSenders(Load& load) {
  const size_t in_flight = load.shape().in_flight;
  const size_t most = load.shape().is_shared ? kMostSlots : 1;
  for (size_t sender = 0; sender < in_flight; sender += most) {
    const absl::StatusOr<Socket*> socket = load.Connect(server_, Side::kSender);
    if (!socket.ok()) return socket.status();
    (*socket)->set_index(sender);
    ++sockets_;
    Greet((*socket)->output(), load.shape(), sockets_);
    for (size_t i = 0; i < std::min(most, in_flight - sender); ++i) {
      const auto slot = static_cast<uint16_t>(i + 1);
      Join((*socket)->output(), slot, MakeId(1, sender + i),
           MakeId(4, load.shape().channel + (sender + i) % options_.channels));
      senders_.push_back({*socket, slot});
    }
    Ping((*socket)->output());
    load.HasOutput(**socket);
  }
  return absl::OkStatus();
}

absl::Status RelayDialect::OpenReceivers(Load& load) {
  const size_t receivers = load.shape().receivers;
  const size_t slots = load.shape().slots_each();
  for (size_t receiver = 0; receiver < receivers; ++receiver) {
    const absl::StatusOr<Socket*> socket = load.Connect(server_, Side::kReceiver);
    if (!socket.ok()) return socket.status();
    (*socket)->set_index(receiver);
    ++sockets_;
    std::string& output = (*socket)->output();
    Greet(output, load.shape(), sockets_);
    for (size_t i = 0; i < slots; ++i) {
      const auto slot = static_cast<uint16_t>(i + 1);
      Join(output, slot, MakeId(2, receiver * slots + i),
           MakeId(4, load.shape().channel + (receiver * slots + i) % options_.channels));
    }
    if (!options_.is_late) Receive(load, **socket);
    Ping(output);
    load.HasOutput(**socket);
    receivers_.push_back(*socket);
  }
  return absl::OkStatus();
}

void RelayDialect::Receive(Load& load, Socket& socket) {
  std::string receive;
  proto::AppendMessage(receive, FrameType::kReceive, 0, 0, proto::kNilUuid, v1::Receive());
  for (size_t slot = 1; slot <= load.shape().slots_each(); ++slot) {
    proto::StoreBig<uint16_t>(&receive[kSlotAt], static_cast<uint16_t>(slot));
    socket.output() += receive;
  }
  load.HasOutput(socket);
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

void RelayDialect::Append(Socket& socket, const std::string& message, std::string_view address, uint64_t number) const {
  std::string& output = socket.output();
  const size_t begin = output.size();
  output += message;
  char* frame = output.data() + begin;
  std::memcpy(frame + kSlotAt, address.data(), address.size());
  frame += proto::kHeaderBytes + proto::kStartBlockBytes;
  if (frames_ == 3) {
    std::memcpy(frame + kSlotAt, address.data(), address.size());
    frame += proto::kHeaderBytes;
    std::memcpy(&output[output.size() - proto::kHeaderBytes] + kSlotAt, address.data(), address.size());
  }
  std::memcpy(frame, &number, sizeof(number));
}

void RelayDialect::Send(Load& load, size_t sender, uint64_t number) {
  const Sender& from = senders_[sender];
  const Uuid id = MakeId(3, number);
  char address[kAddressBytes];
  proto::StoreBig<uint16_t>(address, from.slot);
  std::memcpy(address + sizeof(uint16_t), id.data, proto::kUuidBytes);
  Append(*from.socket, request_, {address, sizeof(address)}, number);
  load.HasOutput(*from.socket);
  if (++sent_ == load.shape().in_flight && options_.is_late) {
    for (Socket* const socket : receivers_) Receive(load, *socket);
  }
}

void RelayDialect::Answer(Load& load, Socket& socket, std::string_view ticket, uint64_t number) {
  Append(socket, response_, ticket, number);
  load.HasOutput(socket);
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
        status = OnControlFrame(load, socket, frame);
    }
    if (!status.ok()) return status;
    socket.Consume(frame.bytes().size());
  }
}

absl::Status RelayDialect::OnReceiverFrame(Load& load, Socket& socket, const Frame& frame) {
  if (absl::Status status = CheckBody(load, frame); !status.ok()) return status;
  if (IsLast(frame)) {
    const auto* const header = reinterpret_cast<const char*>(frame.bytes().data());
    load.OnRequest(socket, {header + kSlotAt, kAddressBytes}, NumberOf(frame.id()));
  }
  return absl::OkStatus();
}

absl::Status RelayDialect::OnSenderFrame(Load& load, const Socket& socket, const Frame& frame) {
  if (absl::Status status = CheckBody(load, frame); !status.ok()) return status;
  return IsLast(frame) ? load.OnAnswer(socket.index() + frame.slot() - 1, NumberOf(frame.id())) : absl::OkStatus();
}

// The body stands in the frame before the last one, or in the only one.
absl::Status RelayDialect::CheckBody(const Load& load, const Frame& frame) const {
  if (frame.type() != (frames_ == 1 ? FrameType::kStart : FrameType::kChunk)) return absl::OkStatus();
  const std::span<uint8_t> body = frame.payload().subspan(frames_ == 1 ? proto::kStartBlockBytes : 0);
  uint64_t number = 0;
  if (body.size() >= sizeof(number)) std::memcpy(&number, body.data(), sizeof(number));
  if (body.size() == load.shape().body_bytes && MakeId(3, number) == frame.id()) return absl::OkStatus();
  return absl::DataLossError("the body of another request");
}

bool RelayDialect::IsLast(const Frame& frame) const {
  return frame.type() == (frames_ == 1 ? FrameType::kStart : FrameType::kEnd);
}

absl::Status RelayDialect::OnControlFrame(Load& load, Socket& socket, const Frame& frame) {
  switch (frame.type()) {
    case FrameType::kWelcome:
    case FrameType::kWindow:
      return absl::OkStatus();
    case FrameType::kPong:
      ++pongs_;
      return absl::OkStatus();
    case FrameType::kPing:
      proto::AppendFrame(socket.output(), FrameType::kPong, 0, 0, proto::kNilUuid, frame.payload_text());
      load.HasOutput(socket);
      return absl::OkStatus();
    case FrameType::kReset:
      if (socket.side() == Side::kSender) {
        load.OnRefusal(socket.index() + frame.slot() - 1);
        return absl::OkStatus();
      }
      [[fallthrough]];
    default:
      return absl::UnavailableError(absl::StrCat("the server sent ", std::string(proto::NameOf(frame.type()))));
  }
}

}  // namespace relay::bench

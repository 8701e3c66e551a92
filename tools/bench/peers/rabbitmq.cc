#include "tools/bench/peers/rabbitmq.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/endian.h"
#include "tools/bench/peers/body.h"

namespace relay::bench {
namespace {

constexpr std::string_view kReplyTo = "amq.rabbitmq.reply-to";
constexpr std::string_view kQueue = "bench";
constexpr uint16_t kReplyToFlag = 0x0200;  // of a content header's properties

enum FrameType : uint8_t { kMethod = 1, kHeader = 2, kBody = 3, kHeartbeat = 8 };

// Class and method.
enum Method : uint32_t {
  kStart = 10 << 16 | 10,
  kStartOk = 10 << 16 | 11,
  kTune = 10 << 16 | 30,
  kTuneOk = 10 << 16 | 31,
  kOpen = 10 << 16 | 40,
  kOpenOk = 10 << 16 | 41,
  kChannelOpen = 20 << 16 | 10,
  kChannelOpenOk = 20 << 16 | 11,
  kQueueDeclare = 50 << 16 | 10,
  kQueueDeclareOk = 50 << 16 | 11,
  kQos = 60 << 16 | 10,
  kQosOk = 60 << 16 | 11,
  kConsume = 60 << 16 | 20,
  kConsumeOk = 60 << 16 | 21,
  kPublish = 60 << 16 | 40,
  kDeliver = 60 << 16 | 60,
  kAck = 60 << 16 | 80,
};

template <typename Integer>
void Append(std::string& out, Integer value) {
  char bytes[sizeof(Integer)];
  proto::StoreBig<Integer>(bytes, value);
  out.append(bytes, sizeof(bytes));
}

void AppendShort(std::string& out, std::string_view text) {
  out += static_cast<char>(text.size());
  out += text;
}

void AppendFrame(std::string& out, FrameType type, uint16_t channel, std::string_view payload) {
  out += static_cast<char>(type);
  Append<uint16_t>(out, channel);
  Append<uint32_t>(out, static_cast<uint32_t>(payload.size()));
  out += payload;
  out += '\xce';
}

std::string MethodOf(Method method) {
  std::string payload;
  Append<uint32_t>(payload, method);
  return payload;
}

void AppendStartOk(std::string& out) {
  std::string payload = MethodOf(kStartOk);
  Append<uint32_t>(payload, 0);  // no properties
  AppendShort(payload, "PLAIN");
  constexpr std::string_view kGuest("\0guest\0guest", 12);
  Append<uint32_t>(payload, kGuest.size());
  payload += kGuest;
  AppendShort(payload, "en_US");
  AppendFrame(out, kMethod, 0, payload);
}

void AppendOpen(std::string& out, std::string_view tune) {
  std::string payload = MethodOf(kTuneOk);
  payload += tune.substr(0, 6);
  Append<uint16_t>(payload, 0);  // no heartbeats
  AppendFrame(out, kMethod, 0, payload);
  payload = MethodOf(kOpen);
  AppendShort(payload, "/");
  payload += std::string_view("\0\0", 2);
  AppendFrame(out, kMethod, 0, payload);
}

void AppendConsume(std::string& out, std::string_view queue, bool no_ack) {
  std::string payload = MethodOf(kConsume);
  Append<uint16_t>(payload, 0);
  AppendShort(payload, queue);
  AppendShort(payload, "");
  payload += static_cast<char>(no_ack ? 2 : 0);
  Append<uint32_t>(payload, 0);
  AppendFrame(out, kMethod, 1, payload);
}

void AppendDeclareAndQos(std::string& out) {
  std::string payload = MethodOf(kQueueDeclare);
  Append<uint16_t>(payload, 0);
  AppendShort(payload, kQueue);
  payload += '\0';
  Append<uint32_t>(payload, 0);
  AppendFrame(out, kMethod, 1, payload);
  payload = MethodOf(kQos);
  Append<uint32_t>(payload, 0);
  Append<uint16_t>(payload, 1);
  payload += '\0';
  AppendFrame(out, kMethod, 1, payload);
}

void AppendPublish(std::string& out, std::string_view routing_key, bool with_reply_to, std::string_view body) {
  std::string payload = MethodOf(kPublish);
  Append<uint16_t>(payload, 0);
  AppendShort(payload, "");
  AppendShort(payload, routing_key);
  payload += '\0';
  AppendFrame(out, kMethod, 1, payload);
  payload.clear();
  Append<uint16_t>(payload, 60);
  Append<uint16_t>(payload, 0);
  Append<uint64_t>(payload, body.size());
  Append<uint16_t>(payload, with_reply_to ? kReplyToFlag : 0);
  if (with_reply_to) AppendShort(payload, kReplyTo);
  AppendFrame(out, kHeader, 1, payload);
  AppendFrame(out, kBody, 1, body);
}

}  // namespace

RabbitmqDialect::RabbitmqDialect(std::string server) : server_(std::move(server)) {}

absl::StatusOr<Socket*> RabbitmqDialect::Connect(Load& load, Side side, size_t index) {
  absl::StatusOr<Socket*> socket = load.Connect(server_, side);
  if (!socket.ok()) return socket;
  (*socket)->set_index(index);
  (*socket)->output() += std::string_view("AMQP\0\0\x9\1", 8);
  load.HasOutput(**socket);
  ++sockets_;
  channels_.resize(std::max(channels_.size(), static_cast<size_t>((*socket)->descriptor()) + 1));
  return socket;
}

absl::Status RabbitmqDialect::Open(Load& load) {
  for (size_t receiver = 0; receiver < load.shape().receivers; ++receiver) {
    const absl::StatusOr<Socket*> socket = Connect(load, Side::kReceiver, receiver);
    if (!socket.ok()) return socket.status();
  }
  for (size_t sender = 0; sender < load.shape().in_flight; ++sender) {
    if (load.shape().is_shared && sender > 0) {
      senders_.push_back(senders_[0]);
      continue;
    }
    const absl::StatusOr<Socket*> socket = Connect(load, Side::kSender, sender);
    if (!socket.ok()) return socket.status();
    senders_.push_back(*socket);
  }
  return load.PumpUntil([this] { return consuming_ == sockets_; });
}

void RabbitmqDialect::Send(Load& load, size_t sender, uint64_t number) {
  std::string body;
  Body{.number = number, .sender = sender}.AppendTo(body, load.shape().body_bytes);
  AppendPublish(senders_[sender]->output(), kQueue, true, body);
  load.HasOutput(*senders_[sender]);
}

// The ticket is the delivery's tag, the front of the body, and where the answer goes.
void RabbitmqDialect::Answer(Load& load, Socket& socket, std::string_view ticket, uint64_t number) {
  Body asked;
  asked.Read(ticket.substr(sizeof(uint64_t)));
  std::string body;
  Body{.number = number, .sender = asked.sender}.AppendTo(body, load.shape().body_bytes);
  AppendPublish(socket.output(), ticket.substr(sizeof(uint64_t) + kLeastBodyBytes), false, body);
  std::string ack = MethodOf(kAck);
  ack += ticket.substr(0, sizeof(uint64_t));
  ack += '\0';
  AppendFrame(socket.output(), kMethod, 1, ack);
  load.HasOutput(socket);
}

absl::Status RabbitmqDialect::OnInput(Load& load, Socket& socket) {
  constexpr size_t kFrameHeaderBytes = 7;
  while (socket.input().size() > kFrameHeaderBytes) {
    const std::string_view input = socket.input_text();
    const size_t bytes = proto::LoadBig<uint32_t>(input.data() + 3);
    if (input.size() < kFrameHeaderBytes + bytes + 1) return absl::OkStatus();
    const std::string_view payload = input.substr(kFrameHeaderBytes, bytes);
    Channel& channel = ChannelOf(socket);
    absl::Status status;
    switch (input[0]) {
      case kMethod:
        status = OnMethod(load, socket, payload);
        break;
      case kHeader: {
        channel.body.clear();
        channel.body_bytes = proto::LoadBig<uint64_t>(payload.data() + 4);
        channel.reply_to.clear();
        // Of the properties only this one was ever sent.
        if ((proto::LoadBig<uint16_t>(payload.data() + 12) & kReplyToFlag) != 0) {
          channel.reply_to = payload.substr(15, static_cast<uint8_t>(payload[14]));
        }
        break;
      }
      case kBody:
        channel.body += payload;
        if (channel.body.size() == channel.body_bytes) status = OnBody(load, socket);
        break;
      default:
        break;
    }
    if (!status.ok()) return status;
    socket.Consume(kFrameHeaderBytes + bytes + 1);
  }
  return absl::OkStatus();
}

absl::Status RabbitmqDialect::OnBody(Load& load, Socket& socket) {
  Channel& channel = ChannelOf(socket);
  Body body;
  if (!body.Read(channel.body)) return absl::DataLossError("a message of another size");
  if (socket.side() == Side::kSender) return load.OnAnswer(body.sender, body.number);
  std::string ticket;
  Append<uint64_t>(ticket, channel.delivery_tag);
  ticket.append(channel.body, 0, kLeastBodyBytes);
  ticket += channel.reply_to;
  load.OnRequest(socket, ticket, body.number);
  return absl::OkStatus();
}

absl::Status RabbitmqDialect::OnMethod(Load& load, Socket& socket, std::string_view payload) {
  const bool is_receiver = socket.side() == Side::kReceiver;
  std::string& output = socket.output();
  switch (const auto method = proto::LoadBig<uint32_t>(payload.data())) {
    case kStart:
      AppendStartOk(output);
      break;
    case kTune:
      AppendOpen(output, payload.substr(4));
      break;
    case kOpenOk:
      AppendFrame(output, kMethod, 1, MethodOf(kChannelOpen) + std::string(1, '\0'));
      break;
    case kChannelOpenOk:
      if (is_receiver) AppendDeclareAndQos(output);
      AppendConsume(output, is_receiver ? kQueue : kReplyTo, !is_receiver);
      break;
    case kConsumeOk:
      ++consuming_;
      return absl::OkStatus();
    case kDeliver: {
      const size_t tag_at = 5 + static_cast<uint8_t>(payload[4]);
      ChannelOf(socket).delivery_tag = proto::LoadBig<uint64_t>(payload.data() + tag_at);
      return absl::OkStatus();
    }
    case kQueueDeclareOk:
    case kQosOk:
      return absl::OkStatus();
    default:
      return absl::UnavailableError(absl::StrCat("RabbitMQ sent method ", method >> 16, ".", method & 0xffff));
  }
  load.HasOutput(socket);
  return absl::OkStatus();
}

}  // namespace relay::bench

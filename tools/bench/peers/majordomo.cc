#include "tools/bench/peers/majordomo.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/endian.h"
#include "tools/bench/peers/body.h"

namespace relay::bench {
namespace {

constexpr size_t kGreetingBytes = 64;
constexpr uint8_t kMore = 1;
constexpr uint8_t kLong = 2;
constexpr uint8_t kCommand = 4;

constexpr std::string_view kClient = "MDPC01";
constexpr std::string_view kWorker = "MDPW01";
constexpr std::string_view kReady("\x01", 1);
constexpr std::string_view kRequest("\x02", 1);
constexpr std::string_view kReply("\x03", 1);
constexpr std::string_view kHeartbeat("\x04", 1);

void AppendFrame(std::string& out, uint8_t flags, std::string_view data) {
  const bool is_long = data.size() > 255;
  out += static_cast<char>(flags | (is_long ? kLong : 0));
  if (is_long) {
    char size[8];
    proto::StoreBig<uint64_t>(size, data.size());
    out.append(size, sizeof(size));
  } else {
    out += static_cast<char>(data.size());
  }
  out += data;
}

void AppendMessage(std::string& out, std::initializer_list<std::string_view> parts) {
  size_t left = parts.size();
  for (const std::string_view part : parts) AppendFrame(out, --left > 0 ? kMore : 0, part);
}

std::string Greeting() {
  std::string greeting("\xff\0\0\0\0\0\0\0\1\x7f\3\0NULL", 16);
  greeting.resize(kGreetingBytes);
  AppendFrame(greeting, kCommand, {"\5READY\xbSocket-Type\0\0\0\6DEALER", 28});
  return greeting;
}

// The frame at `at`, which is moved behind it. False where it is not whole.
bool TakeFrame(std::string_view input, size_t& at, uint8_t& flags, std::string_view& data) {
  if (input.size() < at + 2) return false;
  flags = static_cast<uint8_t>(input[at]);
  const size_t header = (flags & kLong) != 0 ? 9 : 2;
  if (input.size() < at + header) return false;
  const size_t bytes =
      header == 9 ? proto::LoadBig<uint64_t>(input.data() + at + 1) : static_cast<uint8_t>(input[at + 1]);
  if (input.size() < at + header + bytes) return false;
  data = input.substr(at + header, bytes);
  at += header + bytes;
  return true;
}

}  // namespace

MajordomoDialect::MajordomoDialect(std::string server) : server_(std::move(server)) {}

absl::StatusOr<Socket*> MajordomoDialect::Connect(Load& load, Side side, size_t index) {
  absl::StatusOr<Socket*> socket = load.Connect(server_, side);
  if (!socket.ok()) return socket;
  (*socket)->set_index(index);
  (*socket)->output() += Greeting();
  load.HasOutput(**socket);
  ++sockets_;
  greeted_.resize(std::max(greeted_.size(), static_cast<size_t>((*socket)->descriptor()) + 1));
  return socket;
}

absl::Status MajordomoDialect::Open(Load& load) {
  for (size_t sender = 0; sender < load.shape().in_flight; ++sender) {
    if (load.shape().is_shared && sender > 0) {
      senders_.push_back(senders_[0]);
      continue;
    }
    const absl::StatusOr<Socket*> socket = Connect(load, Side::kSender, sender);
    if (!socket.ok()) return socket.status();
    senders_.push_back(*socket);
  }
  for (size_t receiver = 0; receiver < load.shape().receivers; ++receiver) {
    const absl::StatusOr<Socket*> socket = Connect(load, Side::kReceiver, receiver);
    if (!socket.ok()) return socket.status();
    receivers_.push_back(*socket);
  }
  if (absl::Status status = load.PumpUntil([this] { return ready_ == sockets_; }); !status.ok()) return status;
  for (Socket* const socket : receivers_) {
    AppendMessage(socket->output(), {"", kWorker, kReady, "bench"});
    load.HasOutput(*socket);
  }
  return absl::OkStatus();
}

void MajordomoDialect::Send(Load& load, size_t sender, uint64_t number) {
  std::string body;
  Body{.number = number, .sender = sender}.AppendTo(body, load.shape().body_bytes);
  AppendMessage(senders_[sender]->output(), {"", kClient, "bench", body});
  load.HasOutput(*senders_[sender]);
}

// The ticket is the front of the body, and the sender's address as the broker knows it.
void MajordomoDialect::Answer(Load& load, Socket& socket, std::string_view ticket, uint64_t number) {
  Body asked;
  asked.Read(ticket);
  std::string body;
  Body{.number = number, .sender = asked.sender}.AppendTo(body, load.shape().body_bytes);
  AppendMessage(socket.output(), {"", kWorker, kReply, ticket.substr(kLeastBodyBytes), "", body});
  load.HasOutput(socket);
}

absl::Status MajordomoDialect::OnInput(Load& load, Socket& socket) {
  const auto descriptor = static_cast<size_t>(socket.descriptor());
  if (!greeted_[descriptor]) {
    if (socket.input().size() < kGreetingBytes) return absl::OkStatus();
    socket.Consume(kGreetingBytes);
    greeted_[descriptor] = true;
  }
  std::vector<std::string_view> parts;
  size_t at = 0;
  uint8_t flags = 0;
  std::string_view data;
  while (TakeFrame(socket.input_text(), at, flags, data)) {
    if ((flags & kCommand) != 0) {
      if (data.starts_with("\5READY")) ++ready_;
    } else {
      parts.push_back(data);
      if ((flags & kMore) != 0) continue;
      if (absl::Status status = OnMessage(load, socket, parts); !status.ok()) return status;
      parts.clear();
    }
    socket.Consume(at);
    at = 0;
  }
  return absl::OkStatus();
}

absl::Status MajordomoDialect::OnMessage(Load& load, Socket& socket, const std::vector<std::string_view>& parts) {
  Body body;
  if (socket.side() == Side::kSender) {
    if (parts.size() != 4 || !body.Read(parts[3])) return absl::DataLossError("an answer of another shape");
    return load.OnAnswer(body.sender, body.number);
  }
  if (parts.size() < 3) return absl::DataLossError("a message of another shape");
  if (parts[2] == kHeartbeat) {
    AppendMessage(socket.output(), {"", kWorker, kHeartbeat});
    load.HasOutput(socket);
    return absl::OkStatus();
  }
  if (parts[2] != kRequest || parts.size() != 6 || !body.Read(parts[5])) {
    return absl::UnavailableError("Majordomo sent a worker away");
  }
  load.OnRequest(socket, absl::StrCat(std::string(parts[5].substr(0, kLeastBodyBytes)), std::string(parts[3])),
                 body.number);
  return absl::OkStatus();
}

}  // namespace relay::bench

#include "tools/bench/peers/nats.h"

#include <charconv>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tools/bench/peers/body.h"

namespace relay::bench {
namespace {

constexpr std::string_view kInbox = "_I.";

// The last word of a line, as a number.
size_t LastNumber(std::string_view line) {
  size_t number = 0;
  const size_t space = line.rfind(' ');
  std::from_chars(line.data() + space + 1, line.data() + line.size(), number);
  return number;
}

// "MSG SUBJECT SID [REPLY] BYTES": REPLY, or nothing.
std::string_view ReplyOf(std::string_view line) {
  const size_t last = line.rfind(' ');
  const size_t before = line.rfind(' ', last - 1);
  const size_t words_before = line.find(' ', line.find(' ') + 1);
  return before == words_before ? std::string_view() : line.substr(before + 1, last - before - 1);
}

}  // namespace

NatsDialect::NatsDialect(std::string server) : server_(std::move(server)) {}

absl::StatusOr<Socket*> NatsDialect::Connect(Load& load, Side side, const std::string& subscription) {
  absl::StatusOr<Socket*> socket = load.Connect(server_, side);
  if (!socket.ok()) return socket;
  absl::StrAppend(&(*socket)->output(),
                  "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"c\",\"version\":\"1\",\"protocol\":1}\r\n",
                  "SUB ", subscription, "\r\nPING\r\n");
  load.HasOutput(**socket);
  ++sockets_;
  return socket;
}

absl::Status NatsDialect::Open(Load& load) {
  const size_t in_flight = load.shape().in_flight;
  for (size_t sender = 0; sender < in_flight; ++sender) {
    if (load.shape().is_shared && sender > 0) {
      senders_.push_back(senders_[0]);
      continue;
    }
    const std::string inbox = load.shape().is_shared ? "*" : std::to_string(sender);
    const absl::StatusOr<Socket*> socket = Connect(load, Side::kSender, std::string(kInbox) + inbox + " 1");
    if (!socket.ok()) return socket.status();
    senders_.push_back(*socket);
  }
  for (size_t receiver = 0; receiver < load.shape().receivers; ++receiver) {
    const absl::StatusOr<Socket*> socket = Connect(load, Side::kReceiver, "bench workers 1");
    if (!socket.ok()) return socket.status();
    (*socket)->set_index(receiver);
  }
  return load.PumpUntil([this] { return pongs_ == sockets_; });
}

void NatsDialect::Send(Load& load, size_t sender, uint64_t number) {
  Socket& socket = *senders_[sender];
  absl::StrAppend(&socket.output(), "PUB bench _I.", sender, " ", load.shape().body_bytes, "\r\n");
  Body{.number = number, .sender = sender}.AppendTo(socket.output(), load.shape().body_bytes);
  socket.output() += "\r\n";
  load.HasOutput(socket);
}

void NatsDialect::Answer(Load& load, Socket& socket, std::string_view ticket, uint64_t number) {
  std::string& output = socket.output();
  output += "PUB ";
  output += ticket;
  absl::StrAppend(&output, " ", load.shape().body_bytes, "\r\n");
  size_t sender = 0;
  std::from_chars(ticket.data() + kInbox.size(), ticket.data() + ticket.size(), sender);
  Body{.number = number, .sender = sender}.AppendTo(output, load.shape().body_bytes);
  output += "\r\n";
  load.HasOutput(socket);
}

absl::Status NatsDialect::OnInput(Load& load, Socket& socket) {
  while (true) {
    const std::string_view input = socket.input_text();
    const size_t end = input.find("\r\n");
    if (end == input.npos) return absl::OkStatus();
    const std::string_view line = input.substr(0, end);
    if (!line.starts_with("MSG ")) {
      if (line == "PING") {
        socket.output() += "PONG\r\n";
        load.HasOutput(socket);
      } else if (line == "PONG") {
        ++pongs_;
      } else if (line.starts_with("-ERR")) {
        return absl::UnavailableError(absl::StrCat("NATS: ", std::string(line)));
      }
      socket.Consume(end + 2);
      continue;
    }
    const size_t bytes = LastNumber(line);
    if (input.size() < end + 2 + bytes + 2) return absl::OkStatus();
    Body body;
    if (!body.Read(input.substr(end + 2, bytes))) return absl::DataLossError("a message of another size");
    absl::Status status;
    if (socket.side() == Side::kReceiver) {
      load.OnRequest(socket, ReplyOf(line), body.number);
    } else {
      status = load.OnAnswer(body.sender, body.number);
    }
    if (!status.ok()) return status;
    socket.Consume(end + 2 + bytes + 2);
  }
}

}  // namespace relay::bench

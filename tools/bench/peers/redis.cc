#include "tools/bench/peers/redis.h"

#include <charconv>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tools/bench/peers/body.h"

namespace relay::bench {
namespace {

constexpr std::string_view kTakeRequest = "*3\r\n$5\r\nBRPOP\r\n$5\r\nbench\r\n$1\r\n0\r\n";

void AppendWord(std::string& out, std::string_view word) {
  absl::StrAppend(&out, "$", word.size(), "\r\n");
  out += word;
  out += "\r\n";
}

std::string AnswersOf(bool is_shared, uint64_t sender) { return absl::StrCat("r", is_shared ? 0 : sender); }

// The number behind the type, and where what follows begins; nothing where the line is not whole.
std::optional<std::pair<int64_t, size_t>> ReadLine(std::string_view input, size_t from) {
  const size_t end = input.find("\r\n", from);
  if (end == input.npos) return std::nullopt;
  int64_t number = 0;
  std::from_chars(input.data() + from + 1, input.data() + end, number);
  return std::pair(number, end + 2);
}

}  // namespace

RedisDialect::RedisDialect(std::string server) : server_(std::move(server)) {}

absl::StatusOr<Socket*> RedisDialect::Connect(Load& load, Side side, size_t index) {
  absl::StatusOr<Socket*> socket = load.Connect(server_, side);
  if (!socket.ok()) return socket;
  (*socket)->set_index(index);
  (*socket)->output() += "*1\r\n$4\r\nPING\r\n";
  load.HasOutput(**socket);
  ++sockets_;
  return socket;
}

absl::Status RedisDialect::Open(Load& load) {
  const bool is_shared = load.shape().is_shared;
  for (size_t sender = 0; sender < load.shape().in_flight; ++sender) {
    if (is_shared && sender > 0) {
      senders_.push_back(senders_[0]);
      continue;
    }
    const absl::StatusOr<Socket*> push = Connect(load, Side::kSender, sender);
    if (!push.ok()) return push.status();
    const absl::StatusOr<Socket*> pop = is_shared ? Connect(load, Side::kSender, sender) : push;
    if (!pop.ok()) return pop.status();
    senders_.push_back({*push, *pop});
  }
  for (size_t receiver = 0; receiver < load.shape().receivers; ++receiver) {
    const absl::StatusOr<Socket*> push = Connect(load, Side::kReceiver, receiver);
    if (!push.ok()) return push.status();
    // One that takes a single request at a time pushes its answer while it does not wait.
    const absl::StatusOr<Socket*> pop =
        load.shape().slots_each() == 1 ? push : Connect(load, Side::kReceiver, receiver);
    if (!pop.ok()) return pop.status();
    receivers_.push_back({*push, *pop});
  }
  if (absl::Status status = load.PumpUntil([this] { return pongs_ == sockets_; }); !status.ok()) return status;
  for (const Pair& receiver : receivers_) {
    for (size_t i = 0; i < load.shape().slots_each(); ++i) receiver.pop->output() += kTakeRequest;
    load.HasOutput(*receiver.pop);
  }
  return absl::OkStatus();
}

void RedisDialect::Send(Load& load, size_t sender, uint64_t number) {
  const Pair& pair = senders_[sender];
  std::string body;
  Body{.number = number, .sender = sender}.AppendTo(body, load.shape().body_bytes);
  pair.push->output() += "*3\r\n$5\r\nLPUSH\r\n$5\r\nbench\r\n";
  AppendWord(pair.push->output(), body);
  load.HasOutput(*pair.push);
  pair.pop->output() += "*3\r\n$5\r\nBRPOP\r\n";
  AppendWord(pair.pop->output(), AnswersOf(load.shape().is_shared, sender));
  pair.pop->output() += "$1\r\n0\r\n";
  load.HasOutput(*pair.pop);
}

void RedisDialect::Answer(Load& load, Socket& socket, std::string_view ticket, uint64_t number) {
  const Pair& pair = receivers_[socket.index()];
  Body asked;
  asked.Read(ticket);
  std::string body;
  Body{.number = number, .sender = asked.sender}.AppendTo(body, load.shape().body_bytes);
  pair.push->output() += "*3\r\n$5\r\nLPUSH\r\n";
  AppendWord(pair.push->output(), AnswersOf(load.shape().is_shared, asked.sender));
  AppendWord(pair.push->output(), body);
  load.HasOutput(*pair.push);
  pair.pop->output() += kTakeRequest;
  load.HasOutput(*pair.pop);
}

absl::Status RedisDialect::OnInput(Load& load, Socket& socket) {
  while (!socket.input().empty()) {
    const std::string_view input = socket.input_text();
    const auto line = ReadLine(input, 0);
    if (!line.has_value()) return absl::OkStatus();
    if (input[0] == '-') return absl::UnavailableError(absl::StrCat("Redis: ", std::string(input.substr(0, 80))));
    if (input[0] == '+') ++pongs_;
    if (input[0] != '*') {
      socket.Consume(line->second);
      continue;
    }
    // A list's name, and what was popped.
    const auto name = ReadLine(input, line->second);
    if (!name.has_value()) return absl::OkStatus();
    const size_t value_at = name->second + static_cast<size_t>(name->first) + 2;
    if (input.size() < value_at) return absl::OkStatus();
    const auto value = ReadLine(input, value_at);
    if (!value.has_value()) return absl::OkStatus();
    const auto bytes = static_cast<size_t>(value->first);
    if (input.size() < value->second + bytes + 2) return absl::OkStatus();
    Body body;
    const std::string_view text = input.substr(value->second, bytes);
    if (!body.Read(text)) return absl::DataLossError("a value of another size");
    if (socket.side() == Side::kReceiver) {
      load.OnRequest(socket, text.substr(0, kLeastBodyBytes), body.number);
    } else if (absl::Status status = load.OnAnswer(body.sender, body.number); !status.ok()) {
      return status;
    }
    socket.Consume(value->second + bytes + 2);
  }
  return absl::OkStatus();
}

}  // namespace relay::bench

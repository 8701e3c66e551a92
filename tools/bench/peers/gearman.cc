#include "tools/bench/peers/gearman.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/endian.h"
#include "tools/bench/peers/body.h"

namespace relay::bench {
namespace {

constexpr size_t kHeaderBytes = 12;

enum Type : uint32_t {
  kCanDo = 1,
  kPreSleep = 4,
  kNoop = 6,
  kSubmitJob = 7,
  kJobCreated = 8,
  kGrabJob = 9,
  kNoJob = 10,
  kJobAssign = 11,
  kWorkComplete = 13,
  kEchoReq = 16,
  kEchoRes = 17,
};

void AppendPacket(std::string& out, Type type, std::string_view data, std::string_view more = {}) {
  char header[kHeaderBytes] = {'\0', 'R', 'E', 'Q'};
  proto::StoreBig<uint32_t>(header + 4, type);
  proto::StoreBig<uint32_t>(header + 8, static_cast<uint32_t>(data.size() + more.size()));
  out.append(header, sizeof(header));
  out += data;
  out += more;
}

}  // namespace

GearmanDialect::GearmanDialect(std::string server) : server_(std::move(server)) {}

absl::Status GearmanDialect::Open(Load& load) {
  const auto greet = [this, &load](Socket& socket, size_t index) {
    socket.set_index(index);
    AppendPacket(socket.output(), kEchoReq, "ready");
    load.HasOutput(socket);
    ++sockets_;
  };
  for (size_t sender = 0; sender < load.shape().in_flight; ++sender) {
    if (load.shape().is_shared && sender > 0) {
      senders_.push_back(senders_[0]);
      continue;
    }
    const absl::StatusOr<Socket*> socket = load.Connect(server_, Side::kSender);
    if (!socket.ok()) return socket.status();
    senders_.push_back(*socket);
    greet(**socket, sender);
  }
  for (size_t receiver = 0; receiver < load.shape().receivers; ++receiver) {
    const absl::StatusOr<Socket*> socket = load.Connect(server_, Side::kReceiver);
    if (!socket.ok()) return socket.status();
    AppendPacket((*socket)->output(), kCanDo, "bench");
    AppendPacket((*socket)->output(), kPreSleep, {});
    greet(**socket, receiver);
  }
  return load.PumpUntil([this] { return echoes_ == sockets_; });
}

void GearmanDialect::Send(Load& load, size_t sender, uint64_t number) {
  Socket& socket = *senders_[sender];
  std::string body;
  Body{.number = number, .sender = sender}.AppendTo(body, load.shape().body_bytes);
  AppendPacket(socket.output(), kSubmitJob, {"bench\0\0", 7}, body);
  load.HasOutput(socket);
}

// The ticket is the job's handle, its zero, and the front of the body.
void GearmanDialect::Answer(Load& load, Socket& socket, std::string_view ticket, uint64_t number) {
  Body asked;
  asked.Read(ticket.substr(ticket.size() - kLeastBodyBytes));
  std::string body;
  Body{.number = number, .sender = asked.sender}.AppendTo(body, load.shape().body_bytes);
  AppendPacket(socket.output(), kWorkComplete, ticket.substr(0, ticket.size() - kLeastBodyBytes), body);
  AppendPacket(socket.output(), kGrabJob, {});
  load.HasOutput(socket);
}

absl::Status GearmanDialect::OnInput(Load& load, Socket& socket) {
  while (socket.input().size() >= kHeaderBytes) {
    const std::string_view input = socket.input_text();
    const size_t bytes = proto::LoadBig<uint32_t>(input.data() + 8);
    if (input.size() < kHeaderBytes + bytes) return absl::OkStatus();
    const std::string_view data = input.substr(kHeaderBytes, bytes);
    switch (const auto type = proto::LoadBig<uint32_t>(input.data() + 4)) {
      case kNoop:
        AppendPacket(socket.output(), kGrabJob, {});
        load.HasOutput(socket);
        break;
      case kNoJob:
        AppendPacket(socket.output(), kPreSleep, {});
        load.HasOutput(socket);
        break;
      case kJobAssign: {
        // handle, function, body
        const size_t handle_bytes = data.find('\0') + 1;
        const std::string_view body_text = data.substr(data.find('\0', handle_bytes) + 1);
        Body body;
        if (!body.Read(body_text)) return absl::DataLossError("a job of another size");
        std::string ticket(data.substr(0, handle_bytes));
        ticket += body_text.substr(0, kLeastBodyBytes);
        load.OnRequest(socket, ticket, body.number);
        break;
      }
      case kWorkComplete: {
        Body body;
        if (!body.Read(data.substr(data.find('\0') + 1))) return absl::DataLossError("an answer of another size");
        if (absl::Status status = load.OnAnswer(body.sender, body.number); !status.ok()) return status;
        break;
      }
      case kEchoRes:
        ++echoes_;
        break;
      case kJobCreated:
        break;
      default:
        return absl::UnavailableError(absl::StrCat("Gearman sent a packet of type ", type));
    }
    socket.Consume(kHeaderBytes + bytes);
  }
  return absl::OkStatus();
}

}  // namespace relay::bench

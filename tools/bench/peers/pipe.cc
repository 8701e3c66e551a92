#include "tools/bench/peers/pipe.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/frame.h"
#include "proto/start_block.h"
#include "tools/bench/peers/body.h"

namespace relay::bench {
namespace {

constexpr int kPatienceMs = 10'000;

absl::Status Failed(const char* what) { return absl::UnavailableError(absl::StrCat(what, ": ", std::strerror(errno))); }

absl::StatusOr<int> ListenOn(uint16_t port) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      listen(listener, SOMAXCONN) != 0) {
    close(listener);
    return Failed("listen");
  }
  return listener;
}

absl::StatusOr<int> AcceptFrom(int listener) {
  pollfd ready = {.fd = listener, .events = POLLIN, .revents = 0};
  if (poll(&ready, 1, kPatienceMs) != 1) return absl::DeadlineExceededError("the proxy did not connect");
  const int accepted = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (accepted < 0) return Failed("accept");
  const int on = 1;
  setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  return accepted;
}

}  // namespace

absl::StatusOr<std::vector<SocketPair>> ConnectThrough(Load& load, const std::string& proxy, uint16_t backend_port,
                                                       size_t count) {
  const absl::StatusOr<int> listener = ListenOn(backend_port);
  if (!listener.ok()) return listener.status();
  std::vector<SocketPair> pairs;
  absl::Status status;
  // One after the other, so that it is known which belongs to which.
  while (pairs.size() < count && status.ok()) {
    const absl::StatusOr<Socket*> sender = load.Connect(proxy, Side::kSender);
    const absl::StatusOr<int> accepted = sender.ok() ? AcceptFrom(*listener) : sender.status();
    const absl::StatusOr<Socket*> receiver =
        accepted.ok() ? load.Adopt(*accepted, Side::kReceiver) : absl::StatusOr<Socket*>(accepted.status());
    status = receiver.status();
    if (status.ok()) pairs.push_back({*sender, *receiver});
  }
  close(*listener);
  if (!status.ok()) return status;
  return pairs;
}

PipeDialect::PipeDialect(std::string proxy, uint16_t backend_port)
    : proxy_(std::move(proxy)), backend_port_(backend_port) {}

absl::Status PipeDialect::Open(Load& load) {
  record_bytes_ = proto::kHeaderBytes + proto::kStartBlockBytes + load.shape().body_bytes;
  const size_t in_flight = load.shape().in_flight;
  const absl::StatusOr<std::vector<SocketPair>> pairs =
      ConnectThrough(load, proxy_, backend_port_, load.shape().is_shared ? 1 : in_flight);
  if (!pairs.ok()) return pairs.status();
  for (size_t sender = 0; sender < in_flight; ++sender) {
    senders_.push_back((*pairs)[load.shape().is_shared ? 0 : sender].sender);
  }
  return absl::OkStatus();
}

void PipeDialect::Send(Load& load, size_t sender, uint64_t number) {
  Body{.number = number, .sender = sender}.AppendTo(senders_[sender]->output(), record_bytes_);
  load.HasOutput(*senders_[sender]);
}

void PipeDialect::Answer(Load& load, Socket& socket, std::string_view ticket, uint64_t number) {
  Body body;
  body.Read(ticket);
  body.number = number;
  body.AppendTo(socket.output(), record_bytes_);
  load.HasOutput(socket);
}

absl::Status PipeDialect::OnInput(Load& load, Socket& socket) {
  while (socket.input().size() >= record_bytes_) {
    const std::string_view record = socket.input_text().substr(0, record_bytes_);
    Body body;
    body.Read(record);
    if (socket.side() == Side::kReceiver) {
      load.OnRequest(socket, record.substr(0, kLeastBodyBytes), body.number);
    } else if (absl::Status status = load.OnAnswer(body.sender, body.number); !status.ok()) {
      return status;
    }
    socket.Consume(record_bytes_);
  }
  return absl::OkStatus();
}

}  // namespace relay::bench

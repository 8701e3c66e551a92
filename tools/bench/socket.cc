#include "tools/bench/socket.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "net/address.h"

namespace relay::bench {
namespace {

constexpr size_t kFirstBufferBytes = 64 * 1024;
constexpr size_t kLeastRoomBytes = 16 * 1024;

absl::Status Failed(const std::string& what) {
  return absl::UnavailableError(absl::StrCat(what, ": ", std::strerror(errno)));
}

absl::StatusOr<int> ConnectUnix(const net::Address& address) {
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  std::memcpy(name.sun_path, address.path.data(), address.path.size());
  const int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return Failed("socket");
  if (connect(descriptor, reinterpret_cast<const sockaddr*>(&name), sizeof(name)) == 0) return descriptor;
  const absl::Status status = Failed("connect " + net::ToString(address));
  close(descriptor);
  return status;
}

absl::StatusOr<int> ConnectTcp(const net::Address& address) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found) != 0) {
    return absl::UnavailableError("no such host: " + address.host);
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, freeaddrinfo);
  const int descriptor = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return Failed("socket");
  const int on = 1;
  if (connect(descriptor, found->ai_addr, found->ai_addrlen) == 0 &&
      setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0) {
    return descriptor;
  }
  const absl::Status status = Failed("connect " + net::ToString(address));
  close(descriptor);
  return status;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Socket>> Socket::Connect(std::string_view url, Side side) {
  const absl::StatusOr<net::Address> address = net::ParseAddress(url);
  if (!address.ok()) return address.status();
  const absl::StatusOr<int> descriptor =
      address->kind == net::Address::Kind::kUnix ? ConnectUnix(*address) : ConnectTcp(*address);
  if (!descriptor.ok()) return descriptor.status();
  if (fcntl(*descriptor, F_SETFL, O_NONBLOCK) != 0) return Failed("fcntl");
  return std::make_unique<Socket>(*descriptor, side);
}

Socket::Socket(int descriptor, Side side) : descriptor_(descriptor), side_(side), buffer_(kFirstBufferBytes) {}

Socket::~Socket() { close(descriptor_); }

absl::Status Socket::Flush() {
  while (has_unsent()) {
    const ssize_t sent = send(descriptor_, output_.data() + sent_, output_.size() - sent_, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) return absl::OkStatus();
    if (sent < 0) return Failed("send");
    sent_ += static_cast<size_t>(sent);
  }
  output_.clear();
  sent_ = 0;
  return absl::OkStatus();
}

absl::Status Socket::Read() {
  if (begin_ == end_) begin_ = end_ = 0;
  if (buffer_.size() - end_ < kLeastRoomBytes) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
    if (buffer_.size() - end_ < kLeastRoomBytes) buffer_.resize(2 * buffer_.size());
  }
  const ssize_t got = recv(descriptor_, buffer_.data() + end_, buffer_.size() - end_, 0);
  if (got == 0) return absl::OutOfRangeError("the server ended the connection");
  if (got < 0) return errno == EAGAIN || errno == EINTR ? absl::OkStatus() : Failed("recv");
  end_ += static_cast<size_t>(got);
  return absl::OkStatus();
}

}  // namespace relay::bench

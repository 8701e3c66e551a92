#include "net/listener.h"

#include <netdb.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "net/handle.h"
#include "net/socket.h"
#include "net/timer.h"
#include "net/uv_error.h"

namespace relay::net {
namespace {

// Long enough not to spin, short enough not to be noticed beside whatever took the descriptors.
constexpr absl::Duration kRest = absl::Milliseconds(100);

// The file that a listener has made, so that it removes no other.
struct SocketFile {
  dev_t device;
  ino_t inode;
};

std::optional<SocketFile> SocketFileAt(const std::string& path) {
  struct stat found = {};
  if (::lstat(path.c_str(), &found) != 0 || !S_ISSOCK(found.st_mode)) return std::nullopt;
  return SocketFile{found.st_dev, found.st_ino};
}

absl::StatusOr<SocketAddress> ToBind(const Address& address) {
  absl::StatusOr<std::optional<SocketAddress>> direct = WithoutLookup(address);
  if (!direct.ok()) return direct.status();
  if (direct->has_value()) return **direct;

  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
  if (error != 0) {
    return absl::UnavailableError(absl::StrCat("resolve ", ToString(address), ": ", ::gai_strerror(error)));
  }
  SocketAddress result;
  std::memcpy(&result.storage, found->ai_addr, found->ai_addrlen);
  result.bytes = found->ai_addrlen;
  ::freeaddrinfo(found);
  return result;
}

// 0 or -errno.
int Bind(const Socket& socket, const SocketAddress& to) {
  return ::bind(socket.fd(), to.get(), to.bytes) == 0 ? 0 : -errno;
}

// Whether the path holds a socket that refuses connections: its listener is gone.
bool IsStale(const std::string& path, const SocketAddress& address) {
  if (!SocketFileAt(path).has_value()) return false;
  const Socket probe(NewSocket(AF_UNIX));
  return probe.fd() >= 0 && ::connect(probe.fd(), address.get(), address.bytes) != 0 && errno == ECONNREFUSED;
}

}  // namespace

class Listener::Accepting : public CallHandle<uv_poll_t> {
 public:
  Accepting(Loop& loop, const Address& address, Socket socket, OnAccept on_accept, OnError on_error)
      : CallHandle([this] { AcceptOne(); }),
        loop_(loop),
        address_(address),
        socket_(std::move(socket)),
        on_accept_(std::move(on_accept)),
        on_error_(std::move(on_error)) {
    if (address.kind == Address::Kind::kUnix) file_ = SocketFileAt(address.path);
    resume_.emplace(loop, [this] { Start(); });
    CheckUv(uv_poll_init_socket(loop.uv(), &uv, socket_.fd()), "uv_poll_init_socket");
    Start();
  }

  // Deletes this, in the close callback, with the functions of which one may be running.
  void Close() {
    resume_.reset();
    CloseAndDelete(this);
    // As long as the socket is open, no other file has its inode.
    const std::optional<SocketFile> now = SocketFileAt(address_.path);
    if (file_.has_value() && now.has_value() && now->device == file_->device && now->inode == file_->inode) {
      ::unlink(address_.path.c_str());
    }
    socket_.Close();
  }

 private:
  void Start() {
    CheckUv(uv_poll_start(&uv, UV_READABLE,
                          [](uv_poll_t* poll, int, int) { static_cast<CallHandle<uv_poll_t>*>(poll->data)->call(); }),
            "uv_poll_start");
  }

  // One in a turn, so that newcomers keep those who are connected from theirs as shortly as can be.
  void AcceptOne() {
    loop_.Now();  // the turn has begun
    SocketAddress from;
    from.bytes = sizeof(from.storage);
    Socket socket(::accept4(socket_.fd(), from.get(), &from.bytes, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (socket.fd() < 0) return OnAcceptError(errno);
    const bool tcp = address_.kind == Address::Kind::kTcp;
    auto stream =
        Stream::FromSocket(loop_, socket.Release(), address_.kind, ToString(tcp ? FromSystem(from) : address_));
    if (stream.ok()) {
      on_accept_(*std::move(stream));
    } else if (on_error_) {
      on_error_(stream.status());
    }
  }

  void OnAcceptError(int error) {
    switch (error) {
      case EAGAIN:
      // Linux also tells here what has happened to a connection that waited: the next one may be well.
      case EINTR:
      case ECONNABORTED:
      case EPROTO:
      case ENETDOWN:
      case ENETUNREACH:
      case EHOSTUNREACH:
        return;
      default:
        CheckUv(uv_poll_stop(&uv), "uv_poll_stop");
        resume_->StartAt(loop_.Now() + kRest);
        if (on_error_) on_error_(UvError(-error, "accept", ToString(address_)));
    }
  }

  Loop& loop_;
  const Address address_;
  Socket socket_;
  std::optional<SocketFile> file_;
  const OnAccept on_accept_;
  const OnError on_error_;
  std::optional<Timer> resume_;
};

absl::StatusOr<std::unique_ptr<Listener>> Listener::Listen(Loop& loop, const Address& address, OnAccept on_accept,
                                                           OnError on_error, int backlog) {
  const absl::StatusOr<SocketAddress> to = ToBind(address);
  if (!to.ok()) return to.status();
  Socket socket(NewSocket(to->get()->sa_family));
  if (socket.fd() < 0) return UvError(socket.fd(), "socket", ToString(address));

  const bool tcp = address.kind == Address::Kind::kTcp;
  const int on = 1;
  if (tcp && ::setsockopt(socket.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0) {
    return UvError(-errno, "setsockopt", ToString(address));
  }
  int result = Bind(socket, *to);
  if (result == UV_EADDRINUSE && !tcp && IsStale(address.path, *to)) {
    if (::unlink(address.path.c_str()) != 0) return UvError(-errno, "unlink", ToString(address));
    result = Bind(socket, *to);
  }
  if (result != 0) return UvError(result, "bind", ToString(address));
  if (::listen(socket.fd(), backlog) != 0) return UvError(-errno, "listen", ToString(address));

  Address real = address;
  if (tcp) {
    SocketAddress bound;
    bound.bytes = sizeof(bound.storage);
    if (::getsockname(socket.fd(), bound.get(), &bound.bytes) != 0) {
      return UvError(-errno, "getsockname", ToString(address));
    }
    real.port = FromSystem(bound).port;
  }
  auto* accepting = new Accepting(loop, real, std::move(socket), std::move(on_accept), std::move(on_error));
  return std::unique_ptr<Listener>(new Listener(std::move(real), accepting));
}

Listener::Listener(Address address, Accepting* accepting) : address_(std::move(address)), accepting_(accepting) {}

Listener::~Listener() { accepting_->Close(); }

}  // namespace relay::net

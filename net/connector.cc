#include "net/connector.h"

#include <netdb.h>
#include <uv.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "net/handle.h"
#include "net/socket.h"
#include "net/timer.h"
#include "net/uv_error.h"

namespace relay::net {
namespace {

// A Unix socket whose backlog is full refuses with EAGAIN and offers nothing to wait for.
constexpr absl::Duration kFullBacklogPause = absl::Milliseconds(10);

}  // namespace

class Connector::Attempt {
 public:
  Attempt(Loop& loop, Address address, std::function<void(Result)> done)
      : loop_(loop),
        address_(std::move(address)),
        done_(std::move(done)),
        start_(loop, [this] { Start(); }),
        retry_(loop, [this] { TryAddresses(); }) {
    start_.Schedule();
  }

  ~Attempt() {
    StopPolling();
    if (lookup_ == nullptr) return;
    lookup_->attempt = nullptr;
    // A lookup that has begun cannot be stopped; its callback finds nobody to tell.
    uv_cancel(reinterpret_cast<uv_req_t*>(&lookup_->uv));
  }

 private:
  struct Lookup {
    uv_getaddrinfo_t uv;
    Attempt* attempt;
  };

  void Start() {
    auto address = WithoutLookup(address_);
    if (!address.ok()) return Finish(address.status());
    if (address->has_value()) {
      addresses_.push_back(**address);
      return TryAddresses();
    }
    addrinfo hints = {};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    lookup_ = new Lookup();
    lookup_->attempt = this;
    lookup_->uv.data = lookup_;
    const int result = uv_getaddrinfo(
        loop_.uv(), &lookup_->uv,
        [](uv_getaddrinfo_t* request, int status, addrinfo* found) {
          const std::unique_ptr<Lookup> lookup(static_cast<Lookup*>(request->data));
          const std::unique_ptr<addrinfo, void (*)(addrinfo*)> list(found, uv_freeaddrinfo);
          if (lookup->attempt != nullptr) lookup->attempt->OnLookup(status, list.get());
        },
        address_.host.c_str(), std::to_string(address_.port).c_str(), &hints);
    if (result != 0) {
      delete std::exchange(lookup_, nullptr);
      Finish(UvError(result, "resolve", ToString(address_)));
    }
  }

  void OnLookup(int status, const addrinfo* found) {
    lookup_ = nullptr;
    if (status != 0) return Finish(UvError(status, "resolve", ToString(address_)));
    for (; found != nullptr; found = found->ai_next) {
      if (found->ai_addrlen > sizeof(sockaddr_storage)) continue;
      SocketAddress address;
      std::memcpy(&address.storage, found->ai_addr, found->ai_addrlen);
      address.bytes = found->ai_addrlen;
      addresses_.push_back(address);
    }
    TryAddresses();
  }

  void TryAddresses() {
    while (next_ < addresses_.size()) {
      const SocketAddress& address = addresses_[next_];
      Socket socket(NewSocket(address.get()->sa_family));
      const int result =
          socket.fd() < 0 ? socket.fd() : (::connect(socket.fd(), address.get(), address.bytes) == 0 ? 0 : -errno);
      if (result == 0) return Connected(std::move(socket));
      if (result == UV_EAGAIN) return retry_.StartAt(loop_.Now() + kFullBacklogPause);
      if (result == -EINPROGRESS || result == UV_EINTR) return Wait(std::move(socket));
      ++next_;
      error_ = result;
    }
    Finish(UvError(error_, "connect", ToString(address_)));
  }

  void Wait(Socket socket) {
    socket_.emplace(std::move(socket));
    poll_ = new CallHandle<uv_poll_t>([this] { OnConnectReady(); });
    CheckUv(uv_poll_init_socket(loop_.uv(), &poll_->uv, socket_->fd()), "uv_poll_init_socket");
    // A refused connection is told as an error of polling; the socket knows which.
    CheckUv(uv_poll_start(&poll_->uv, UV_WRITABLE,
                          [](uv_poll_t* poll, int, int) { static_cast<CallHandle<uv_poll_t>*>(poll->data)->call(); }),
            "uv_poll_start");
  }

  void OnConnectReady() {
    int error = 0;
    socklen_t bytes = sizeof(error);
    if (::getsockopt(socket_->fd(), SOL_SOCKET, SO_ERROR, &error, &bytes) != 0) error = errno;
    StopPolling();
    Socket socket = std::move(*socket_);
    socket_.reset();
    if (error == 0) return Connected(std::move(socket));
    socket.Close();
    ++next_;
    error_ = -error;
    TryAddresses();
  }

  // Before the socket goes to a stream: libuv allows a descriptor one handle at a time.
  void StopPolling() {
    if (poll_ != nullptr) CloseAndDelete(std::exchange(poll_, nullptr));
  }

  void Connected(Socket socket) {
    Finish(Stream::FromSocket(loop_, socket.Release(), address_.kind, ToString(address_)));
  }

  // The last thing that an attempt does: `done` may delete it.
  void Finish(Result result) {
    const auto done = std::move(done_);
    done(std::move(result));
  }

  Loop& loop_;
  const Address address_;
  std::function<void(Result)> done_;
  Soon start_;
  Timer retry_;
  Lookup* lookup_ = nullptr;  // Deleted by its callback.
  std::vector<SocketAddress> addresses_;
  size_t next_ = 0;
  int error_ = UV_EAI_NONAME;  // Of the last address tried.
  std::optional<Socket> socket_;
  CallHandle<uv_poll_t>* poll_ = nullptr;  // Deleted by its close callback.
};

Connector::Connector(Loop& loop, const Address& address, std::function<void(Result)> done)
    : attempt_(std::make_unique<Attempt>(loop, address, std::move(done))) {}

Connector::~Connector() = default;

}  // namespace relay::net

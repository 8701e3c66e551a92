#include "tools/inspect/proxy.h"

#include <array>
#include <chrono>
#include <utility>
#include <vector>

#include "net/connector.h"
#include "net/stream.h"

namespace relay::inspect {
namespace {

constexpr absl::Duration kTick = absl::Milliseconds(250);

absl::Time Monotonic() {
  return absl::UnixEpoch() + absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}

}  // namespace

// One connection: two streams, and what goes from each to the other.
class ProxySource::Pair {
 public:
  Pair(ProxySource& proxy, std::unique_ptr<net::Stream> client)
      : proxy_(proxy),
        client_(*this, Direction::kToServer),
        server_(*this, Direction::kToClient),
        connector_(std::make_unique<net::Connector>(
            *proxy.loop_, proxy.to_, [this](net::Connector::Result result) { OnConnected(std::move(result)); })) {
    client_.stream = std::move(client);
    client_.stream->SetHandler(&client_);
  }

 private:
  // One of the two peers: what it says goes in `direction`.
  struct Side : net::Stream::Handler {
    Side(Pair& its_pair, Direction its_direction) : pair(its_pair), direction(its_direction) {}

    size_t OnBytes(std::span<uint8_t> bytes) override { return pair.OnBytes(*this, bytes); }
    void OnEnd(absl::Status why) override { pair.OnEnd(*this, why); }
    void OnSent() override { pair.OnSent(*this); }

    Pair& pair;
    const Direction direction;
    std::unique_ptr<net::Stream> stream;
    bool has_ended = false;
    bool is_held = false;  // it is not read: the other side does not read
  };

  Side& Other(const Side& side) { return &side == &client_ ? server_ : client_; }

  void OnConnected(net::Connector::Result result) {
    if (!result.ok()) {
      proxy_.on_error_(result.status());
      return Remove();
    }
    server_.stream = *std::move(result);
    server_.stream->SetHandler(&server_);
    id_ = ++proxy_.last_;
    Opening opening;
    opening.connection = id_;
    opening.at = proxy_.Now();
    opening.client = client_.stream->peer();
    opening.server = net::ToString(proxy_.to_);
    proxy_.tap_->OnOpen(opening);
    client_.stream->StartReading();
    server_.stream->StartReading();
  }

  size_t OnBytes(Side& from, std::span<uint8_t> bytes) {
    Side& to = Other(from);
    const std::array<std::span<const uint8_t>, 1> slices = {bytes};
    to.stream->Write(slices);
    if (to.stream->unsent_bytes() > kMostUnsentBytes) {
      from.is_held = true;
      from.stream->StopReading();
    }
    // Behind the write, so that looking at it delays nobody's answer.
    proxy_.tap_->OnBytes({id_, from.direction, proxy_.Now(), bytes});
    return bytes.size();
  }

  void OnSent(Side& to) {
    Side& from = Other(to);
    if (from.is_held && to.stream->unsent_bytes() <= kMostUnsentBytes / 2) {
      from.is_held = false;
      from.stream->StartReading();
    }
    RemoveIfOver();
  }

  void OnEnd(Side& from, const absl::Status& why) {
    Close(from);
    // What a connection that broke said before still goes on; what would have gone there is nobody's any more.
    if (!why.ok()) {
      is_broken_ = true;
      Close(Other(from));
    }
    RemoveIfOver();
  }

  void Close(Side& from) {
    if (std::exchange(from.has_ended, true)) return;
    Other(from).stream->ShutdownWrite();
    proxy_.tap_->OnClose(id_, from.direction, proxy_.Now());
  }

  void RemoveIfOver() {
    if (!client_.has_ended || !server_.has_ended) return;
    if (!is_broken_ && client_.stream->unsent_bytes() + server_.stream->unsent_bytes() > 0) return;
    Remove();
  }

  void Remove() {
    connector_.reset();
    for (Side* const side : {&client_, &server_}) {
      if (side->stream != nullptr) side->stream->Close();
    }
    proxy_.Remove(*this);
  }

  ProxySource& proxy_;
  ConnectionId id_ = 0;  // once it is connected
  Side client_;
  Side server_;
  std::unique_ptr<net::Connector> connector_;
  bool is_broken_ = false;
};

absl::StatusOr<std::unique_ptr<ProxySource>> ProxySource::Listen(const net::Address& listen, const net::Address& to,
                                                                 std::function<void(const absl::Status&)> on_error) {
  absl::StatusOr<std::unique_ptr<net::Loop>> loop = net::Loop::Create();
  if (!loop.ok()) return loop.status();
  std::unique_ptr<ProxySource> proxy(new ProxySource(*std::move(loop), to, std::move(on_error)));
  ProxySource* const self = proxy.get();
  absl::StatusOr<std::unique_ptr<net::Listener>> listener = net::Listener::Listen(
      *proxy->loop_, listen, [self](std::unique_ptr<net::Stream> client) { self->Accept(std::move(client)); },
      [self](const absl::Status& status) { self->on_error_(status); });
  if (!listener.ok()) return listener.status();
  proxy->listener_ = *std::move(listener);
  return proxy;
}

ProxySource::ProxySource(std::unique_ptr<net::Loop> loop, const net::Address& to,
                         std::function<void(const absl::Status&)> on_error)
    : loop_(std::move(loop)),
      to_(to),
      on_error_(std::move(on_error)),
      wall_(absl::Now()),
      began_(Monotonic()),
      stop_(std::make_unique<net::Wakeup>(*loop_, [this] { loop_->Stop(); })) {}

ProxySource::~ProxySource() = default;

absl::Time ProxySource::Now() const { return wall_ + (Monotonic() - began_); }

absl::Status ProxySource::Run(Tap& tap) {
  tap_ = &tap;
  tick_ = std::make_unique<net::Timer>(*loop_, [this] {
    tap_->OnTick(Now());
    tick_->StartAt(loop_->Now() + kTick);
  });
  tick_->StartAt(loop_->Now() + kTick);
  loop_->SetTurnEnd([this] { gone_.clear(); });
  loop_->Run();
  pairs_.clear();
  gone_.clear();
  tick_.reset();
  listener_.reset();
  return absl::OkStatus();
}

void ProxySource::Accept(std::unique_ptr<net::Stream> client) {
  auto pair = std::make_unique<Pair>(*this, std::move(client));
  Pair* const key = pair.get();
  pairs_.emplace(key, std::move(pair));
}

void ProxySource::Remove(Pair& pair) {
  const auto found = pairs_.find(&pair);
  gone_.push_back(std::move(found->second));
  pairs_.erase(found);
}

}  // namespace relay::inspect

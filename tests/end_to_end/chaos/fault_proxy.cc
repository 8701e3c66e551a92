#include "fault_proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "history.h"

namespace relay::chaos {
namespace {

constexpr size_t kMostHeld = size_t{256} * 1024;  // in one direction, until it reads no more
constexpr int kSlicesPerTurn = 200;
constexpr int64_t kThrottleSliceUs = 5'000;

// Of each 27 that are drawn.
constexpr std::pair<Fault, int> kDeck[] = {{Fault::kNone, 9},  {Fault::kDelay, 4},      {Fault::kThrottle, 3},
                                           {Fault::kSlice, 3}, {Fault::kStall, 2},      {Fault::kCut, 2},
                                           {Fault::kReset, 2}, {Fault::kLoseClient, 1}, {Fault::kLoseServer, 1}};

[[noreturn]] void Die(const char* what) {
  std::perror(what);
  std::abort();
}

int NewSocket(int flags) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
  if (socket < 0) Die("socket");
  return socket;
}

sockaddr_in AddressOf(const std::string& url) {
  const size_t colon = url.rfind(':');
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(std::atoi(url.c_str() + colon + 1)));
  if (inet_pton(AF_INET, url.substr(6, colon - 6).c_str(), &address.sin_addr) != 1) Die(url.c_str());
  return address;
}

void CloseSocket(int socket, bool with_reset) {
  if (socket < 0) return;
  if (with_reset) {
    const linger at_once = {1, 0};
    setsockopt(socket, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  }
  close(socket);
}

bool IsHalfOpen(Fault fault) { return fault == Fault::kLoseClient || fault == Fault::kLoseServer; }

}  // namespace

std::string_view NameOf(Fault fault) {
  switch (fault) {
    case Fault::kNone:
      return "none";
    case Fault::kDelay:
      return "delay";
    case Fault::kThrottle:
      return "throttle";
    case Fault::kSlice:
      return "slice";
    case Fault::kStall:
      return "stall";
    case Fault::kCut:
      return "cut";
    case Fault::kReset:
      return "reset";
    case Fault::kLoseClient:
      return "lose_client";
    case Fault::kLoseServer:
      return "lose_server";
  }
  return "?";
}

FaultProxy::FaultProxy(const std::string& server, uint64_t seed, uint64_t stall_ms)
    : listener_(NewSocket(SOCK_NONBLOCK)),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      server_(server),
      stall_ms_(stall_ms),
      random_(seed) {
  sockaddr_in address = AddressOf("tcp://127.0.0.1:0");
  socklen_t size = sizeof(address);
  if (bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listener_, 128) != 0 ||
      getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    Die("listen");
  }
  url_ = "tcp://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  thread_ = std::thread([this] { Run(); });
}

FaultProxy::~FaultProxy() {
  is_stopping_ = true;
  Wake();
  thread_.join();
  ResetAll();
  close(listener_);
  close(wake_);
}

void FaultProxy::Wake() {
  const uint64_t one = 1;
  if (write(wake_, &one, sizeof(one)) < 0 && errno != EAGAIN) Die("wake");
}

void FaultProxy::Roam() {
  std::lock_guard lock(mutex_);
  is_roaming_ = true;
  const int64_t now_us = NowUs();
  for (Connection& connection : connections_) connection.change_at_us = now_us;
  Wake();
}

void FaultProxy::Set(Fault fault) {
  std::lock_guard lock(mutex_);
  is_roaming_ = false;
  set_ = fault;
  for (Connection& connection : connections_) Begin(connection, fault, NowUs());
  if (fault >= Fault::kCut) set_ = Fault::kNone;
  Wake();
}

void FaultProxy::ResetAll() {
  std::lock_guard lock(mutex_);
  for (Connection& connection : connections_) Close(connection, true);
  Wake();
}

std::array<uint64_t, kFaultCount> FaultProxy::counts() {
  std::lock_guard lock(mutex_);
  return counts_;
}

size_t FaultProxy::connections() {
  std::lock_guard lock(mutex_);
  return connections_.size();
}

void FaultProxy::Run() {
  while (!is_stopping_) {
    int64_t wait_us = 0;
    {
      std::lock_guard lock(mutex_);
      const int64_t now_us = NowUs();
      std::erase_if(connections_, [](const Connection& each) { return each.up.from < 0 && each.up.to < 0; });
      for (Connection& connection : connections_) {
        if (is_roaming_ && connection.change_at_us <= now_us) Draw(connection, now_us);
      }
      wait_us = Watch(now_us);
    }
    // Rounded up: nothing is due before.
    if (poll(polled_.data(), polled_.size(), wait_us < 0 ? -1 : static_cast<int>((wait_us + 999) / 1000)) < 0) continue;
    std::lock_guard lock(mutex_);
    const int64_t now_us = NowUs();
    uint64_t woken;
    if (polled_[0].revents != 0 && read(wake_, &woken, sizeof(woken)) < 0 && errno != EAGAIN) Die("wake");
    if (polled_[1].revents != 0) Accept();
    for (size_t i = 2; i < polled_.size(); ++i) {
      auto& [connection, flow, is_read] = watched_[i];
      if (polled_[i].revents == 0 || (is_read ? flow->from : flow->to) != polled_[i].fd) continue;
      const bool goes_on = is_read ? Read(*connection, *flow, now_us) : Write(*connection, *flow, now_us);
      if (!goes_on) Close(*connection, !IsOver(*connection));
    }
  }
}

// Says what to wait for; the microseconds until something is due, below 0 where nothing is.
int64_t FaultProxy::Watch(int64_t now_us) {
  watched_.assign(2, {});
  polled_ = {{wake_, POLLIN, 0}, {listener_, POLLIN, 0}};
  int64_t due_us = INT64_MAX;
  for (Connection& connection : connections_) {
    if (is_roaming_) due_us = std::min(due_us, connection.change_at_us);
    if (connection.fault == Fault::kStall) continue;
    for (Flow* const flow : {&connection.up, &connection.down}) {
      if (flow->from >= 0 && !flow->has_ended && flow->bytes < kMostHeld) {
        watched_.push_back({&connection, flow, true});
        polled_.push_back({flow->from, POLLIN, 0});
      }
      if (flow->to < 0 || flow->is_shut || (flow->pieces.empty() && !flow->has_ended)) continue;
      if (MayWrite(connection, *flow, now_us)) {
        watched_.push_back({&connection, flow, false});
        polled_.push_back({flow->to, POLLOUT, 0});
      } else {
        due_us = std::min(due_us, std::max(flow->pieces.front().due_us, flow->not_before_us));
      }
    }
  }
  return due_us == INT64_MAX ? -1 : std::max<int64_t>(due_us - now_us, 0);
}

bool FaultProxy::MayWrite(const Connection& connection, const Flow& flow, int64_t now_us) const {
  if (flow.pieces.empty()) return flow.has_ended;
  if (connection.fault == Fault::kThrottle && flow.not_before_us > now_us) return false;
  return flow.pieces.front().due_us <= now_us;
}

void FaultProxy::Accept() {
  const int client = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (client < 0) return;
  Connection& connection = connections_.emplace_back();
  connection.up.from = connection.down.to = client;
  // On loopback a listener's queue answers at once.
  const sockaddr_in address = AddressOf(server_);
  int server = NewSocket(0);
  if (connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    CloseSocket(server, false);
    return Close(connection, true);
  }
  connection.up.to = connection.down.from = server;
  const int on = 1;
  for (const int socket : {client, server}) setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  Begin(connection, is_roaming_ ? Fault::kNone : set_, NowUs());
}

void FaultProxy::Draw(Connection& connection, int64_t now_us) {
  if (deck_.empty()) {
    for (const auto& [fault, times] : kDeck) deck_.insert(deck_.end(), static_cast<size_t>(times), fault);
    std::shuffle(deck_.begin(), deck_.end(), random_);
  }
  const Fault fault = deck_.back();
  deck_.pop_back();
  Begin(connection, fault, now_us);
}

// Draws how bad it is, and how long.
void FaultProxy::Begin(Connection& connection, Fault fault, int64_t now_us) {
  // What has lost a side, or was cut, comes to its end.
  if (connection.fault >= Fault::kCut) return Close(connection, true);
  const auto between = [this](uint64_t least, uint64_t most) {
    return std::uniform_int_distribution<uint64_t>(least, most)(random_);
  };
  ++counts_[static_cast<size_t>(fault)];
  connection.fault = fault;
  connection.up.not_before_us = connection.down.not_before_us = 0;
  uint64_t lasts_ms = between(50, 1'500);
  switch (fault) {
    case Fault::kNone:
    case Fault::kSlice:
      break;
    case Fault::kDelay:
      connection.level = between(1, 60);
      break;
    case Fault::kThrottle:
      connection.level = between(50'000, 2'000'000);
      break;
    case Fault::kStall:
      lasts_ms = between(stall_ms_, stall_ms_ * 2);
      break;
    case Fault::kCut:
      for (Flow* const flow : {&connection.up, &connection.down}) Shut(*flow);
      break;
    case Fault::kReset:
      Close(connection, true);
      break;
    case Fault::kLoseClient:
      Lose(connection.up, connection.down);
      lasts_ms = between(stall_ms_, stall_ms_ * 2);
      break;
    case Fault::kLoseServer:
      Lose(connection.down, connection.up);
      lasts_ms = between(stall_ms_, stall_ms_ * 2);
      break;
  }
  connection.change_at_us = now_us + static_cast<int64_t>(lasts_ms) * 1000;
}

void FaultProxy::Drop(Flow& flow) {
  flow.pieces.clear();
  flow.bytes = 0;
}

// FIN to where it goes; what it still held, and what still comes, is lost.
void FaultProxy::Shut(Flow& flow) {
  Drop(flow);
  flow.is_shut = true;
  shutdown(flow.to, SHUT_WR);
}

// RST to where `dead` comes from; nothing that it has said arrives, and what is said to it is read and lost.
void FaultProxy::Lose(Flow& dead, Flow& other) {
  CloseSocket(std::exchange(dead.from, -1), true);
  other.to = -1;
  Drop(dead);
  Drop(other);
}

bool FaultProxy::Read(Connection& connection, Flow& flow, int64_t now_us) {
  char buffer[65536];
  const ssize_t count = read(flow.from, buffer, sizeof(buffer));
  if (count < 0) return errno == EAGAIN || errno == EINTR;
  if (count == 0) {
    flow.has_ended = true;
    return !IsHalfOpen(connection.fault) && !IsOver(connection);
  }
  if (flow.to < 0 || flow.is_shut) return true;
  const auto delay_us = connection.fault == Fault::kDelay ? static_cast<int64_t>(connection.level) * 1000 : 0;
  // Bytes stay in order when a delay ends.
  const int64_t behind_us = flow.pieces.empty() ? 0 : flow.pieces.back().due_us;
  flow.pieces.push_back({std::max(now_us + delay_us, behind_us), std::string(buffer, static_cast<size_t>(count))});
  flow.bytes += static_cast<size_t>(count);
  return true;
}

bool FaultProxy::Write(Connection& connection, Flow& flow, int64_t now_us) {
  for (int slices = 0; !flow.pieces.empty() && MayWrite(connection, flow, now_us); ++slices) {
    if (connection.fault == Fault::kSlice && slices == kSlicesPerTurn) return true;
    std::string& front = flow.pieces.front().bytes;
    size_t most = front.size();
    if (connection.fault == Fault::kSlice) most = 1 + random_() % 3;
    if (connection.fault == Fault::kThrottle) {
      most = connection.level * static_cast<uint64_t>(kThrottleSliceUs) / 1'000'000;
      flow.not_before_us = now_us + kThrottleSliceUs;
    }
    const ssize_t count = send(flow.to, front.data(), std::min(most, front.size()), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0) return errno == EAGAIN || errno == EINTR;
    flow.bytes -= static_cast<size_t>(count);
    front.erase(0, static_cast<size_t>(count));
    if (front.empty()) flow.pieces.pop_front();
  }
  if (!flow.pieces.empty() || !flow.has_ended) return true;
  Shut(flow);
  return !IsOver(connection);
}

bool FaultProxy::IsOver(const Connection& connection) {
  return connection.up.has_ended && connection.up.is_shut && connection.down.has_ended && connection.down.is_shut;
}

void FaultProxy::Close(Connection& connection, bool with_reset) {
  // A side that was lost is -1 in one of the flows or in both.
  CloseSocket(std::max(connection.up.from, connection.down.to), with_reset);
  CloseSocket(std::max(connection.up.to, connection.down.from), with_reset);
  connection.up.from = connection.up.to = connection.down.from = connection.down.to = -1;
}

}  // namespace relay::chaos

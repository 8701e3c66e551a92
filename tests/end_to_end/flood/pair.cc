#include "pair.h"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "cores.h"
#include "process.h"
#include "wire.h"

namespace flood {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint16_t kSenders = 4000;  // so many may be outstanding: seconds of a server that stands still
constexpr uint16_t kReceivers = 64;
constexpr size_t kBodyBytes = 100;
constexpr uint8_t kKind = 1;  // of its ids
constexpr auto kPatience = std::chrono::seconds(30);

}  // namespace

// One of its two connections: what is unsent and what is not yet a whole frame.
class Pair::Peer {
 public:
  explicit Peer(uint16_t port) : fd_(Connect(port)) {
    if (fd_ < 0) Die("connect");
  }
  ~Peer() { close(fd_); }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  void Send(const std::string& frames) {
    out_ += frames;
    Flush();
  }

  void Flush() {
    if (out_.empty()) return;
    const ssize_t sent = send(fd_, out_.data(), out_.size(), MSG_NOSIGNAL);
    if (sent > 0) out_.erase(0, static_cast<size_t>(sent));
  }

  // Calls take(header, payload) for each whole frame. False where the connection is at its end.
  template <typename Take>
  bool Read(Take take) {
    char bytes[65536];
    const ssize_t got = recv(fd_, bytes, sizeof(bytes), 0);
    if (got <= 0) return got < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOTCONN);
    in_.append(bytes, static_cast<size_t>(got));
    size_t taken = 0;
    while (in_.size() - taken >= kHeaderBytes) {
      const Header header = ReadHeader(in_.data() + taken);
      if (in_.size() - taken < kHeaderBytes + header.payload_bytes) break;
      const std::string_view payload(in_.data() + taken + kHeaderBytes, header.payload_bytes);
      taken += kHeaderBytes + header.payload_bytes;
      if (header.type == kPing) {
        Send(Frame(kPong, 0, 0, kNil, payload));
      } else {
        take(header, payload);
      }
    }
    in_.erase(0, taken);
    return true;
  }

  pollfd Interest() const { return {fd_, static_cast<short>(out_.empty() ? POLLIN : POLLIN | POLLOUT), 0}; }

 private:
  const int fd_;
  std::string out_;
  std::string in_;
};

Pair::Pair(uint16_t port, double requests_per_second, std::optional<int> core)
    : port_(port), requests_per_second_(requests_per_second), core_(core), thread_([this] { Run(); }) {
  ready_.wait(false);
}

Pair::~Pair() { Stop(); }

Latency Pair::Take() {
  const uint64_t sent = sent_;
  const Clock::time_point give_up = Clock::now() + kPatience;
  while (answered_ < sent && Clock::now() < give_up) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  std::vector<double> us;
  {
    const std::lock_guard lock(mutex_);
    us.swap(latencies_us_);
  }
  if (us.empty()) return {};
  std::sort(us.begin(), us.end());
  return {us.size(), us[us.size() / 2], us[us.size() * 9 / 10], us[us.size() * 99 / 100], us.back()};
}

std::string Pair::Stop() {
  stopping_ = true;
  if (thread_.joinable()) thread_.join();
  return fault_;
}

void Pair::Run() {
  prctl(PR_SET_TIMERSLACK, 1000UL);
  if (core_.has_value()) {
    Pin(0, *core_);
    MakeUrgent();
  }
  Peer sender(port_);
  Peer receiver(port_);
  const Id channel = MakeId(kKind, 0);
  std::string sender_joins = Hello();
  for (uint16_t slot = 1; slot <= kSenders; ++slot) sender_joins += Join(slot, MakeId(kKind, slot), channel);
  std::string receiver_joins = Hello();
  for (uint16_t slot = 1; slot <= kReceivers; ++slot) {
    receiver_joins += Join(slot, MakeId(kKind, size_t{kSenders} + slot), channel) + Receive(slot);
  }

  struct Outstanding {
    Clock::time_point at;
    std::string body;  // empty: nothing is
    Id id;
  };
  std::vector<Outstanding> outstanding(kSenders + size_t{1});
  std::vector<uint16_t> free_slots;
  for (uint16_t slot = kSenders; slot >= 1; --slot) free_slots.push_back(slot);
  uint64_t number = 0;
  const auto period =
      std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(1 / requests_per_second_));
  Clock::time_point next = Clock::now();
  Clock::time_point give_up = Clock::time_point::max();

  const auto fail = [this](const std::string& why) {
    if (fault_.empty()) fault_ = why;
  };
  const auto on_sender_frame = [&](const Header& header, std::string_view payload) {
    if (header.type == kWelcome) return;
    if (header.type != kStart || header.slot > kSenders)
      return fail("the sender got a frame of type " + std::to_string(header.type));
    Outstanding& request = outstanding[header.slot];
    if (request.body.empty() || request.id != header.id) return fail("an answer that was not asked for");
    if ((header.flags & kFin) == 0 || payload.substr(kStartBlockBytes) != request.body) return fail("a wrong answer");
    const std::chrono::duration<double, std::micro> us = Clock::now() - request.at;
    request.body.clear();
    free_slots.push_back(header.slot);
    ++answered_;
    const std::lock_guard lock(mutex_);
    latencies_us_.push_back(us.count());
  };
  const auto on_receiver_frame = [&](const Header& header, std::string_view payload) {
    if (header.type == kWelcome) return;
    if (header.type != kStart) return fail("the receiver got a frame of type " + std::to_string(header.type));
    receiver.Send(Response(header.slot, header.id, kFin | kReceiveFlag, payload.substr(kStartBlockBytes)));
  };

  sender.Send(sender_joins);
  receiver.Send(receiver_joins);
  ready_ = true;
  ready_.notify_all();
  while (fault_.empty()) {
    const Clock::time_point now = Clock::now();
    if (stopping_) {
      if (free_slots.size() == kSenders) return;
      if (give_up == Clock::time_point::max()) give_up = now + kPatience;
      if (now > give_up) return fail(std::to_string(kSenders - free_slots.size()) + " requests were never answered");
      next = now + period;
    }
    for (; next <= now && !free_slots.empty(); next += period) {
      const uint16_t slot = free_slots.back();
      free_slots.pop_back();
      Outstanding& request = outstanding[slot];
      request.id = MakeId(kKind + 1, ++number);
      sent_ = number;
      request.body.assign(kBodyBytes, static_cast<char>('a' + number % 26));
      request.body.replace(0, sizeof(number), reinterpret_cast<const char*>(&number), sizeof(number));
      request.at = Clock::now();
      sender.Send(Request(slot, request.id, kFin, request.body));
    }
    if (free_slots.empty()) next = now + period;
    pollfd interests[] = {sender.Interest(), receiver.Interest()};
    const auto wait = std::max(Clock::duration::zero(), next - Clock::now());
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(wait);
    const timespec timeout = {seconds.count(), std::chrono::nanoseconds(wait - seconds).count()};
    ppoll(interests, 2, &timeout, nullptr);
    if (interests[1].revents != 0) {
      receiver.Flush();
      if (!receiver.Read(on_receiver_frame)) fail("the receiver's connection ended");
    }
    if (interests[0].revents != 0) {
      sender.Flush();
      if (!sender.Read(on_sender_frame)) fail("the sender's connection ended");
    }
  }
}

}  // namespace flood

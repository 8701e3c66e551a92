// A relay with two well-behaved clients and a hostile connection or a few, which do what the input says (see
// session_script.h). All invariants of the core hold after every turn, the well-behaved exchange comes through byte by
// byte, and nothing is left when all have gone.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "driver.h"
#include "input.h"
#include "proto/messages.h"
#include "proto/mirror_block.h"
#include "session_script.h"

namespace relay::fuzz {
namespace {

using proto::FrameType;
using server::Driver;
using server::Id;
using server::Limits;
using server::Peer;
using server::Seen;
namespace flag = proto::flag;

constexpr uint64_t kBystandersRequest = 0xb15;
constexpr char kChannel[] = "bystanders";
constexpr size_t kMostConnections = 4;
constexpr size_t kMostBystands = 40;  // with what else they say, less than frames_per_second below
constexpr absl::Duration kMostTime = absl::Minutes(10);

Limits LimitsOf(uint8_t opening) {
  Limits limits;
  limits.allow_observers = (opening & kObserved) != 0;
  if ((opening & kSmallLimits) == 0) return limits;
  limits.max_payload_bytes = 64 * server::kKiB;
  limits.initial_window_bytes = 64 * server::kKiB;
  limits.max_window_bytes = 80 * server::kKiB;
  limits.max_clients_per_connection = 4;
  limits.max_start_bytes = 64;
  limits.attempts = 2;
  limits.hello_bytes = 64;
  limits.send_queue_bytes = 4096;
  limits.send_queue_bytes_total = 6000;
  limits.send_queue_mark_bytes = 64;
  limits.control_frames_owed = 4;
  limits.linger_bytes = 64;
  limits.reset_burst = 8;
  limits.frames_per_second = 100;
  limits.max_observers = 2;
  limits.observer_queue_bytes = 1000;
  limits.max_channels = 3;
  limits.queue_count = 2;
  limits.queue_bytes = 400;
  limits.queue_bytes_total = 600;
  return limits;
}

// The two that behave.
class Bystanders {
 public:
  explicit Bystanders(Driver& driver) : receiver_(driver.Joined(kChannel)), sender_(driver.Joined(kChannel)) {
    Begin();
  }

  // A piece goes each way and comes as it went.
  void Step() {
    if (steps_ == kMostBystands) return;
    const std::string piece = "piece " + std::to_string(steps_++);
    sender_.Send(server::ChunkFrame(flag::kRequest, 1, Id(kBystandersRequest), piece));
    Expect(receiver_, FrameType::kChunk, piece);
    receiver_.Send(server::ChunkFrame(flag::kResponse, 1, Id(kBystandersRequest), piece));
    Expect(sender_, FrameType::kChunk, piece);
  }

  void Finish() {
    receiver_.Send(server::EndFrame(flag::kResponse, 1, Id(kBystandersRequest)));
    Expect(sender_, FrameType::kEnd, "");
  }

  void Begin() {
    receiver_.Send(server::ReceiveFrame(1));
    sender_.Send(server::StartFrame(flag::kRequest, 1, Id(kBystandersRequest)));
    Expect(receiver_, FrameType::kStart, "");
    receiver_.Send(server::StartFrame(flag::kResponse, 1, Id(kBystandersRequest)));
    Expect(sender_, FrameType::kStart, "");
  }

  void KeepAlive() {
    for (Peer* const peer : {&receiver_, &sender_}) peer->Send(server::PingFrame());
  }

 private:
  static void Expect(Peer& peer, FrameType type, const std::string& body) {
    size_t found = 0;
    for (const Seen& seen : peer.Take()) {
      if (seen.type == FrameType::kPing || seen.type == FrameType::kPong) continue;
      if (seen.type != type || seen.id != Id(kBystandersRequest) || seen.body() != body || ++found > 1) std::abort();
    }
    if (found != 1 || peer.was_shut()) std::abort();
  }

  Peer& receiver_;
  Peer& sender_;
  size_t steps_ = 0;
};

// Who is shown all that the others say, and reads it.
class Observer {
 public:
  explicit Observer(Driver& driver) : driver_(driver), peer_(driver.Connect()) {
    v1::Hello hello;
    hello.set_version(proto::kVersion);
    hello.set_observer(true);
    v1::Observe observe;
    observe.set_snap_bytes(100);
    peer_.Send(std::string(proto::kPreface) + server::FrameOf(FrameType::kHello, 0, proto::kNilUuid, hello) +
               server::FrameOf(FrameType::kObserve, 0, proto::kNilUuid, observe));
  }

  // What came is well formed, and no more is told as lost than is; whatever the others do, the observer is not cut.
  void Read() {
    for (Seen& seen : peer_.Take()) {
      if (seen.type != FrameType::kMirror) continue;
      const std::span<uint8_t> payload(reinterpret_cast<uint8_t*>(seen.payload.data()), seen.payload.size());
      if (!proto::CheckMirror(payload)) std::abort();
      told_lost_ += proto::MirrorBlock(payload).lost();
    }
    if (peer_.was_shut() || told_lost_ > driver_.metrics().mirrors_lost) std::abort();
  }
  void KeepAlive() { peer_.Send(server::PingFrame()); }

 private:
  Driver& driver_;
  Peer& peer_;
  uint64_t told_lost_ = 0;
};

// One of the others, and what is known of it.
struct Hostile {
  Peer* peer;
  bool input_ended = false;
  std::string held_back = "";  // goes with the next bytes
};

class Session {
 public:
  Session(const uint8_t* data, size_t size)
      : input_(data, size), opening_(input_.Byte()), driver_(LimitsOf(opening_)), bystanders_(driver_) {
    if ((opening_ & kObserved) != 0) observer_.emplace(driver_);
  }

  void Run() {
    Connect();
    while (!input_.is_empty()) {
      Step();
      if (!hostile().peer->was_closed()) hostile().peer->Take();
      if (observer_.has_value()) observer_->Read();
    }
    bystanders_.Step();
    bystanders_.Finish();
    for (Hostile& hostile : hostiles_) {
      if (!hostile.peer->was_closed()) hostile.peer->Break();
    }
    bystanders_.Begin();
    bystanders_.Finish();
    driver_.ExpectNothingLeft();
  }

 private:
  Hostile& hostile() { return hostiles_.back(); }

  void Connect() {
    if (hostiles_.size() == kMostConnections) return;
    hostiles_.push_back({&driver_.Connect()});
    if ((opening_ & kSaysHello) != 0) Send(std::string(proto::kPreface) + server::HelloFrame());
    if ((opening_ & kJoins) != 0) {
      Send(server::JoinFrame(1, ClientOf(1), kChannel) + server::JoinFrame(2, ClientOf(2), kChannel) +
           server::JoinFrame(3, ClientOf(3), "elsewhere"));
    }
  }

  void Send(const std::string& bytes) {
    if (hostile().input_ended || hostile().peer->was_closed()) return;
    hostile().peer->Send(std::exchange(hostile().held_back, "") + bytes);
  }

  // Ids of the hostile ones' own clients, those of the first hostile connection among them; 0 and 255 are those of the
  // bystanders.
  static proto::Uuid ClientOf(uint8_t number) {
    if (number == 0) return Id((1 << 16) + 1);
    if (number == 255) return Id((2 << 16) + 1);
    return Id(0xc000u + number % 8);
  }
  static proto::Uuid RequestOf(uint8_t number) {
    if (number == 0) return proto::kNilUuid;
    return Id(number == 1 ? kBystandersRequest : 0xd000u + number % 8);
  }

  void Step();

  Input input_;
  const uint8_t opening_;
  Driver driver_;
  Bystanders bystanders_;
  std::optional<Observer> observer_;
  std::vector<Hostile> hostiles_;
  absl::Duration passed_;
};

void Session::Step() {
  // Named one by one: the order in which arguments are evaluated is not given.
  switch (input_.Byte() % kStepCount) {
    case kRaw:
      Send(input_.Bytes(input_.Byte()));
      return;
    case kHalfRaw:
      hostile().held_back += input_.Bytes(input_.Byte());
      return;
    case kFrame: {
      const uint8_t type = input_.Byte();
      const uint8_t flags = input_.Byte();
      const uint8_t slot = input_.Byte();
      const uint8_t id = input_.Byte();
      const uint8_t length = input_.Byte();
      Send(server::FrameOf(static_cast<FrameType>(type), flags, slot, RequestOf(id), input_.Bytes(length)));
      return;
    }
    case kReceive: {
      const uint8_t slot = input_.Byte();
      const uint8_t wait = input_.Byte();
      Send(server::ReceiveFrame(slot, wait == 255 ? std::nullopt : std::optional<uint32_t>(wait * 10u)));
      return;
    }
    case kWithdraw:
      Send(server::WithdrawFrame(input_.Byte()));
      return;
    case kRequest: {
      const uint8_t slot = input_.Byte();
      const uint8_t id = input_.Byte();
      const uint8_t flags = input_.Byte();
      const uint8_t body = input_.Byte();
      const uint8_t timeout = input_.Byte();
      Send(server::StartFrame(flag::kRequest, slot, RequestOf(id),
                              {.flags = flags,
                               .body = std::string(body, 'q'),
                               .timeout_ms = timeout * 100u,
                               .max_extension_ms = timeout * 200u}));
      return;
    }
    case kResponse: {
      const uint8_t slot = input_.Byte();
      const uint8_t id = input_.Byte();
      const uint8_t flags = input_.Byte();
      const uint8_t body = input_.Byte();
      Send(server::StartFrame(flag::kResponse, slot, RequestOf(id), {.flags = flags, .body = std::string(body, 'a')}));
      return;
    }
    case kChunk: {
      const uint8_t flags = input_.Byte();
      const uint8_t slot = input_.Byte();
      const uint8_t id = input_.Byte();
      const uint8_t length = input_.Byte();
      Send(server::ChunkFrame(flags, slot, RequestOf(id), std::string(length * size_t{256}, 'c')));
      return;
    }
    case kEnd: {
      const uint8_t flags = input_.Byte();
      const uint8_t slot = input_.Byte();
      const uint8_t id = input_.Byte();
      Send(server::EndFrame(flags, slot, RequestOf(id)));
      return;
    }
    case kWindow: {
      const uint8_t flags = input_.Byte();
      const uint8_t slot = input_.Byte();
      const uint8_t id = input_.Byte();
      const uint8_t kib = input_.Byte();
      Send(server::WindowFrame(flags, slot, RequestOf(id), uint64_t{kib} * 1024));
      return;
    }
    case kReset: {
      const uint8_t slot = input_.Byte();
      const uint8_t id = input_.Byte();
      const uint8_t code = input_.Byte();
      Send(server::ResetFrame(slot, RequestOf(id), static_cast<absl::StatusCode>(code % 18), code >= 128));
      return;
    }
    case kJoin: {
      const uint8_t slot = input_.Byte();
      const uint8_t client = input_.Byte();
      const uint8_t channel = input_.Byte();
      const std::string name = channel % 4 == 0 ? kChannel : "other" + std::to_string(channel % 4);
      Send(server::JoinFrame(slot, ClientOf(client), name, channel >= 128 ? "key" : ""));
      return;
    }
    case kLeave: {
      const uint8_t slot = input_.Byte();
      const uint8_t client = input_.Byte();
      Send(server::LeaveFrame(slot, ClientOf(client)));
      return;
    }
    case kPing:
      Send(server::PingFrame());
      return;
    case kGoaway:
      Send(server::GoawayFrame());
      return;
    case kTime: {
      const absl::Duration step = absl::Milliseconds(20) * input_.Byte();
      if (step == absl::ZeroDuration() || passed_ + step > kMostTime) return;
      passed_ += step;
      driver_.Advance(step);
      bystanders_.KeepAlive();
      if (observer_.has_value()) observer_->KeepAlive();
      return;
    }
    case kBystand:
      bystanders_.Step();
      return;
    case kStall:
      hostile().peer->Stall();
      return;
    case kResume:
      if (!hostile().peer->was_closed()) hostile().peer->Resume();
      return;
    case kInputEnd:
      if (hostile().input_ended || hostile().peer->was_closed()) return;
      hostile().input_ended = true;
      hostile().peer->CloseInput();
      return;
    case kBreak:
      if (!hostile().peer->was_closed()) hostile().peer->Break();
      return;
    case kConnect:
      Connect();
      return;
    case kExtend: {
      const uint8_t slot = input_.Byte();
      const uint8_t id = input_.Byte();
      const uint8_t time = input_.Byte();
      Send(server::ExtendFrame(slot, RequestOf(id), time * 100u));
      return;
    }
  }
}

}  // namespace
}  // namespace relay::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const bool is_set_up = [] {
    relay::proto::SilenceProtobuf();
    GTEST_FLAG_SET(break_on_failure, true);  // whatever the driver finds wrong stops the program
    return true;
  }();
  if (!is_set_up || size == 0) return 0;
  relay::fuzz::Session(data, size).Run();
  return 0;
}

#include "session.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "driver.h"
#include "server/effects.h"
#include "server/ends.h"
#include "tools/inspect/raw.h"

namespace relay::inspect {
namespace {

using proto::FrameType;
using server::ChunkFrame;
using server::EndFrame;
using server::FrameOf;
using server::HelloFrame;
using server::JoinFrame;
using server::Limits;
using server::Peer;
using server::ReceiveFrame;
using server::StartFrame;
using server::WindowFrame;
namespace flag = proto::flag;

constexpr size_t kWindowBytes = 65536;

Limits SmallLimits() {
  Limits limits;
  limits.max_payload_bytes = 65536;
  limits.initial_window_bytes = kWindowBytes;
  limits.max_window_bytes = 4 * kWindowBytes;
  limits.allow_observers = true;
  return limits;
}

std::string StartMessage(std::string_view method, std::string_view content_type = "",
                         const std::vector<std::pair<std::string, std::string>>& metadata = {}) {
  v1::Start start;
  start.set_method(std::string(method));
  start.set_content_type(std::string(content_type));
  for (const auto& [key, value] : metadata) {
    v1::Field& field = *start.add_metadata();
    field.set_key(key);
    field.set_value(value);
  }
  return start.SerializeAsString();
}

class SilentTap : public Tap {
 public:
  void OnOpen(const Opening&) override {}
  void OnGap(ConnectionId, Direction, absl::Time, uint64_t) override {}
  void OnFrame(const CutFrame&) override {}
  void OnLost(uint64_t, absl::Time) override {}
  void OnClose(ConnectionId, Direction, absl::Time) override {}
  void OnTick(absl::Time) override {}
  absl::Status Finish() override { return absl::OkStatus(); }
};

// Between the driver and the tap: what peers say, and what the core answers, with the connection's number and the time.
class Recorder {
 public:
  explicit Recorder(Tap& tap) : tap_(tap), driver_(SmallLimits()) {}

  // Connects, and says HELLO unless told otherwise.
  Peer& Connect(bool greets = true, bool observes = false) {
    Peer& peer = driver_.Connect();
    const ConnectionId id = numbers_.size() + 1;
    numbers_.emplace(&peer, id);
    Opening opening;
    opening.connection = id;
    opening.at = Now();
    opening.client = "tcp://10.0.0." + std::to_string(id) + ":50000";
    opening.server = "tcp://10.0.0.100:7420";
    tap_.OnOpen(opening);
    if (!greets) return peer;
    v1::Hello hello;
    hello.set_version(proto::kVersion);
    hello.set_agent("golden/1");
    hello.set_observer(observes);
    Say(peer, std::string(proto::kPreface) + FrameOf(FrameType::kHello, 0, proto::kNilUuid, hello));
    return peer;
  }

  // A millisecond later.
  void Say(Peer& peer, const std::string& bytes) {
    Wait(absl::Milliseconds(1));
    Tell(peer, Direction::kToServer, bytes);
    peer.Send(bytes);
    Collect();
  }

  void Wait(absl::Duration time) {
    driver_.Advance(time);
    Collect();
  }

  void End(Peer& peer) {
    Wait(absl::Milliseconds(1));
    tap_.OnClose(numbers_[&peer], Direction::kToServer, Now());
    peer.CloseInput();
    Collect();
    tap_.OnClose(numbers_[&peer], Direction::kToClient, Now());
  }

  // The ends that the core has told.
  const std::set<std::string>& ends() const { return ends_; }

  void Drain() {
    driver_.Drain();
    Collect();
  }

 private:
  absl::Time Now() const { return absl::UnixEpoch() + absl::Hours(480000) + (driver_.now() - began_); }

  void Tell(Peer& peer, Direction direction, const std::string& bytes) {
    const auto* const data = reinterpret_cast<const uint8_t*>(bytes.data());
    tap_.OnBytes({numbers_[&peer], direction, Now(), std::span(data, bytes.size())});
  }

  // By their numbers, so that the order is the same in every run.
  void Collect() {
    std::map<ConnectionId, Peer*> peers;
    for (const auto& [peer, id] : numbers_) peers.emplace(id, peer);
    for (const auto& [id, peer] : peers) {
      std::string bytes;
      for (const server::Seen& seen : peer->Take()) {
        const bool has_status =
            seen.type == FrameType::kReset || seen.type == FrameType::kLeave || seen.type == FrameType::kGoaway;
        if (has_status) ends_.insert(seen.end());
        bytes += FrameOf(seen.type, seen.flags, seen.slot, seen.id, seen.payload);
      }
      if (!bytes.empty()) Tell(*peer, Direction::kToClient, bytes);
    }
  }

  Tap& tap_;
  server::Driver driver_;
  const absl::Time began_ = driver_.now();
  std::map<Peer*, ConnectionId> numbers_;
  std::set<std::string> ends_;
};

std::string Observe(uint32_t snap_bytes, const proto::Uuid& request) {
  v1::Observe observe;
  observe.set_request_id(std::string(proto::BytesOf(request)));
  observe.set_snap_bytes(snap_bytes);
  return FrameOf(FrameType::kObserve, 0, proto::kNilUuid, observe);
}

// What goes well, with every type of frame.
void TellGoodTimes(Recorder& recorder, Peer& sender, Peer& one, Peer& two) {
  recorder.Say(sender,
               JoinFrame(1, SomeId(1), "jobs") + JoinFrame(7, SomeId(2), "thumbnails/\xc3\xa9t\xc3\xa9", "secret"));
  recorder.Say(one, JoinFrame(1, SomeId(11), "jobs") + ReceiveFrame(1, 20));
  recorder.Wait(absl::Milliseconds(20));
  recorder.Say(one, ReceiveFrame(1) + server::WithdrawFrame(1));
  recorder.Say(one, ReceiveFrame(1));

  Peer& observer = recorder.Connect(true, true);
  recorder.Say(observer, Observe(16, SomeId(101)));
  const proto::Uuid first = SomeId(101);
  recorder.Say(sender,
               StartFrame(flag::kRequest, 1, first,
                          {.flags = flag::kIdempotent,
                           .start = StartMessage("resize", "image/jpeg", {{"user", "ada"}, {"raw", "\xff\x01"}}),
                           .body = "the beginning of it",
                           .timeout_ms = 30000,
                           .max_extension_ms = 60000}));
  recorder.Say(sender, ChunkFrame(flag::kRequest, 1, first, "more of it"));
  recorder.Say(one, server::ExtendFrame(1, first, 45000));
  recorder.Say(one,
               StartFrame(flag::kResponse, 1, first, {.start = StartMessage("", "image/png"), .body = "an answer"}));
  recorder.Say(one, WindowFrame(flag::kRequest, 1, first, 2 * kWindowBytes));
  recorder.Say(sender, EndFrame(flag::kRequest, 1, first));
  recorder.Say(sender, WindowFrame(flag::kResponse, 1, first, kWindowBytes + 100));
  v1::End end;
  end.mutable_status();
  v1::Field& field = *end.add_metadata();
  field.set_key("pixels");
  field.set_value("40000");
  recorder.Say(one, EndFrame(flag::kResponse | flag::kReceive, 1, first, end.SerializeAsString()));
  recorder.End(observer);

  // Handed back, and to the next.
  const proto::Uuid second = SomeId(102);
  recorder.Say(two, JoinFrame(300, SomeId(12), "jobs") + ReceiveFrame(300));
  recorder.Say(sender, StartFrame(flag::kRequest, 1, second,
                                  {.flags = flag::kIdempotent | flag::kFin | flag::kRequireReceiver, .body = "all"}));
  recorder.Say(one, server::ResetFrame(1, second, absl::StatusCode::kUnavailable, true, "not today"));
  recorder.Say(two, StartFrame(flag::kResponse, 300, second, {.flags = flag::kFin | flag::kReceive, .body = "done"}));

  // Late: it crosses the end.
  const proto::Uuid third = SomeId(103);
  recorder.Say(sender, StartFrame(flag::kRequest, 1, third, {.start = StartMessage("count")}));
  v1::End failed;
  failed.mutable_status()->set_code(static_cast<uint32_t>(absl::StatusCode::kInternal));
  failed.mutable_status()->set_message("the worker \x1b[31mfell over");
  recorder.Say(
      two, StartFrame(flag::kResponse, 300, third) + EndFrame(flag::kResponse, 300, third, failed.SerializeAsString()));
  recorder.Say(sender, ChunkFrame(flag::kRequest, 1, third, "too late"));
  recorder.Say(sender, server::PingFrame(42) + FrameOf(static_cast<FrameType>(77), 0, 0, proto::kNilUuid, "?"));
  recorder.Say(two, server::LeaveFrame(300, SomeId(12)));
}

// What a client does that it must not, one after another on connections of their own.
void TellBadTimes(Recorder& recorder) {
  Peer& peer = recorder.Connect();
  recorder.Say(peer, JoinFrame(1, SomeId(21), "bad") + JoinFrame(2, SomeId(22), "bad"));
  recorder.Say(peer, ReceiveFrame(2) + ReceiveFrame(2));
  recorder.Say(peer, ChunkFrame(flag::kRequest, 1, SomeId(201), "without START"));
  const proto::Uuid id = SomeId(202);
  recorder.Say(peer,
               StartFrame(flag::kRequest, 1, id) + EndFrame(flag::kRequest, 1, id) + EndFrame(flag::kRequest, 1, id));
  const proto::Uuid over = SomeId(203);
  recorder.Say(peer, ReceiveFrame(2) + StartFrame(flag::kRequest, 1, over, {.body = std::string(40000, 'a')}) +
                         ChunkFrame(flag::kRequest, 1, over, std::string(30000, 'b')));
  recorder.Say(peer, StartFrame(flag::kRequest, 9, SomeId(204)) + ReceiveFrame(9));
  recorder.Say(peer, ChunkFrame(flag::kRequest, 1, SomeId(205), "").replace(5, 1, "\x43"));
  recorder.Say(peer, server::PingFrame());

  Peer& large = recorder.Connect();
  recorder.Say(large, server::PingFrame() + std::string("\x00\x02\x00\x00\x07\x01\x00\x01", 8) + std::string(40, 'x'));
  Peer& stranger = recorder.Connect(false);
  recorder.Say(stranger, "GET / HTTP/1.1\r\n\r\n");
  Peer& cut = recorder.Connect();
  recorder.Say(cut, server::PingFrame().substr(0, 30));
  recorder.End(cut);
}

// A sender on slot 1 and a receiver that waits on slot 2, of a connection of their own; the request is live on both.
Peer& BeginOne(Recorder& recorder, const proto::Uuid& id) {
  Peer& peer = recorder.Connect();
  recorder.Say(peer, JoinFrame(1, SomeId(51), "ends") + JoinFrame(2, SomeId(52), "ends") + ReceiveFrame(2));
  recorder.Say(peer, StartFrame(flag::kRequest, 1, id));
  return peer;
}

// Every end that a peer can bring about by what it says.
void TellProvokedEnds(Recorder& recorder) {
  uint32_t number = 700;
  // What is said on the connection of a live request, which ends by it.
  const auto of_exchange = [&](const auto& say) {
    const proto::Uuid id = SomeId(++number);
    Peer& peer = BeginOne(recorder, id);
    recorder.Say(peer, say(id));
    recorder.End(peer);
  };
  of_exchange([](const auto& id) { return server::ResetFrame(1, id, absl::StatusCode::kCancelled); });
  of_exchange([](const auto& id) { return server::ResetFrame(2, id, absl::StatusCode::kInternal); });
  of_exchange([](const auto&) { return server::LeaveFrame(1, SomeId(51)); });
  of_exchange([](const auto&) { return server::LeaveFrame(2, SomeId(52)); });
  of_exchange([](const auto& id) { return StartFrame(flag::kRequest, 1, id); });
  of_exchange([](const auto& id) { return ChunkFrame(flag::kResponse, 2, id, "before START"); });
  of_exchange([](const auto& id) { return WindowFrame(flag::kRequest, 2, id, uint64_t{1} << 40); });
  of_exchange([](const auto& id) { return EndFrame(flag::kRequest, 1, id, std::string(20000, 'x')); });
  of_exchange([](const auto& id) { return StartFrame(flag::kRequest, 3, id); });
  of_exchange([](const auto&) { return StartFrame(flag::kRequest, 1, SomeId(799)); });
  of_exchange([](const auto& id) { return JoinFrame(3, SomeId(53), "ends") + StartFrame(flag::kRequest, 3, id); });
  of_exchange([](const auto&) { return JoinFrame(3, SomeId(51), "ends"); });
  of_exchange(
      [](const auto&) { return JoinFrame(3, SomeId(54), "ends", "key") + JoinFrame(4, SomeId(54), "ends", "key"); });
  of_exchange([](const auto&) {
    return JoinFrame(3, SomeId(55), "ends") + server::GoawayFrame() + StartFrame(flag::kRequest, 3, SomeId(798));
  });

  Peer& alone = recorder.Connect();
  recorder.Say(alone, JoinFrame(1, SomeId(56), "nobody"));
  recorder.Say(alone, StartFrame(flag::kRequest, 1, SomeId(797), {.flags = flag::kRequireReceiver}));
  recorder.Say(alone, StartFrame(flag::kRequest, 1, SomeId(796), {.start = std::string(20000, 'x')}));
  recorder.Say(alone, StartFrame(flag::kRequest, 1, SomeId(795), {.timeout_ms = 10}));
  recorder.Wait(absl::Milliseconds(20));
  recorder.End(alone);

  const auto of_connection = [&](const std::string& bytes, bool greets = true) {
    Peer& peer = recorder.Connect(greets);
    recorder.Say(peer, bytes);
    recorder.End(peer);
  };
  const std::string preface(proto::kPreface);
  of_connection(preface + HelloFrame(9), false);
  of_connection(preface + server::PingFrame(), false);
  of_connection(HelloFrame());
  of_connection(FrameOf(FrameType::kWelcome, 0, 0, proto::kNilUuid));
  of_connection(FrameOf(FrameType::kPing, 0, 0, proto::kNilUuid, "short"));
  of_connection(FrameOf(FrameType::kObserve, 0, 0, proto::kNilUuid));
  of_connection(JoinFrame(1, SomeId(57), "ends") + JoinFrame(1, SomeId(58), "ends"));
  of_connection(JoinFrame(1, SomeId(57), "ends") + FrameOf(FrameType::kStart, flag::kRequest, 1, SomeId(794), "?"));
  v1::Join join;
  join.set_client_id(std::string(proto::BytesOf(SomeId(59))));
  join.set_channel_id(std::string(proto::BytesOf(SomeId(60))));
  join.set_channel_name("another");
  of_connection(FrameOf(FrameType::kJoin, 1, proto::kNilUuid, join));
}

// What the core cannot be brought to tell in a few lines, by bounds or silence: a frame of its own status for each end
// that it has not told before, a RESET of a live exchange, a LEAVE, or a
// GOAWAY.
void TellOtherEnds(Tap& tap, const std::set<std::string>& told, ConnectionId first) {
  absl::Time at = absl::UnixEpoch() + absl::Hours(480000) + absl::Seconds(10);
  ConnectionId connection = first;
  for (size_t i = 1; i < server::kEndCount; ++i) {
    const auto end = static_cast<server::End>(i);
    v1::Status status = server::StatusOf(end, {}, i % 2 == 0);
    if (told.contains(status.end())) continue;
    if (proto::CodeFromWire(status.code()) == absl::StatusCode::kResourceExhausted) status.set_retry_after_ms(250);
    std::string up(proto::kPreface);
    up += FrameOf(FrameType::kHello, 0, proto::kNilUuid, [] {
      v1::Hello hello;
      hello.set_version(proto::kVersion);
      return hello;
    }());
    std::string down;
    if (end >= server::End::kPeerClosed) {
      down = FrameOf(FrameType::kGoaway, 0, proto::kNilUuid, status);
    } else if (end >= server::End::kLeft) {
      up += JoinFrame(1, SomeId(1), "ends");
      down = FrameOf(FrameType::kLeave, 1, SomeId(1), status);
    } else {
      up += JoinFrame(1, SomeId(1), "ends") + StartFrame(flag::kRequest, 1, SomeId(static_cast<uint32_t>(500 + i)));
      v1::Reset reset;
      *reset.mutable_status() = status;
      down = FrameOf(FrameType::kReset, 1, SomeId(static_cast<uint32_t>(500 + i)), reset);
    }
    Opening opening;
    opening.connection = ++connection;
    opening.at = at;
    tap.OnOpen(opening);
    const auto bytes = [](const std::string& text) {
      return std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size());
    };
    tap.OnBytes({connection, Direction::kToServer, at, bytes(up)});
    v1::Welcome welcome;
    welcome.set_max_payload_bytes(65536);
    welcome.set_initial_window_bytes(65536);
    welcome.set_max_window_bytes(65536);
    welcome.set_max_clients_per_connection(1);
    welcome.set_max_start_bytes(4096);
    welcome.set_heartbeat_interval_ms(5000);
    welcome.set_heartbeat_misses(3);
    welcome.set_max_attempts(1);
    if (end < server::End::kPeerClosed) down = FrameOf(FrameType::kWelcome, 0, proto::kNilUuid, welcome) + down;
    at += absl::Microseconds(100);
    tap.OnBytes({connection, Direction::kToClient, at, bytes(down)});
  }
}

}  // namespace

proto::Uuid SomeId(uint32_t number) {
  proto::Uuid id = {};
  uint64_t state = uint64_t{number} * 0x9e3779b97f4a7c15;
  for (uint8_t& byte : id) {
    state = state * 6364136223846793005 + 1442695040888963407;
    byte = static_cast<uint8_t>(state >> 56);
  }
  id.data[6] = static_cast<uint8_t>((id.data[6] & 0x0f) | 0x40);
  id.data[8] = static_cast<uint8_t>((id.data[8] & 0x3f) | 0x80);
  return id;
}

void TellSession(Tap& tap) {
  Recorder recorder(tap);
  Peer& sender = recorder.Connect();
  Peer& one = recorder.Connect();
  Peer& two = recorder.Connect();
  TellGoodTimes(recorder, sender, one, two);
  TellBadTimes(recorder);
  TellProvokedEnds(recorder);
  recorder.Say(sender, StartFrame(flag::kRequest, 1, SomeId(104)));
  recorder.Drain();
  recorder.Say(sender, server::GoawayFrame());
  TellOtherEnds(tap, recorder.ends(), 100);
}

void TellSlowExchange(Tap& tap) {
  Recorder recorder(tap);
  Peer& sender = recorder.Connect();
  Peer& lost = recorder.Connect();
  Peer& receiver = recorder.Connect();
  const proto::Uuid id = SomeId(900);
  recorder.Say(sender, JoinFrame(1, SomeId(31), "jobs"));
  recorder.Say(lost, JoinFrame(1, SomeId(32), "jobs"));
  recorder.Say(receiver, JoinFrame(1, SomeId(33), "jobs"));
  recorder.Say(sender,
               StartFrame(flag::kRequest, 1, id,
                          {.flags = flag::kIdempotent | flag::kFin, .start = StartMessage("render"), .body = "scene"}));
  recorder.Wait(absl::Milliseconds(400));
  recorder.Say(lost, ReceiveFrame(1));
  recorder.Wait(absl::Milliseconds(200));
  recorder.End(lost);
  recorder.Wait(absl::Milliseconds(50));
  recorder.Say(receiver, ReceiveFrame(1));
  recorder.Wait(absl::Milliseconds(100));
  recorder.Say(receiver, StartFrame(flag::kResponse, 1, id, {.body = std::string(kWindowBytes - 1000, 'x')}));
  recorder.Say(receiver, ChunkFrame(flag::kResponse, 1, id, std::string(1000 - 48, 'x')));
  recorder.Wait(absl::Milliseconds(300));
  recorder.Say(sender, WindowFrame(flag::kResponse, 1, id, 2 * kWindowBytes));
  recorder.Say(receiver, ChunkFrame(flag::kResponse | flag::kFin, 1, id, std::string(20000, 'y')));
}

void TellLostSender(Tap& tap) {
  Recorder recorder(tap);
  Peer& sender = recorder.Connect();
  Peer& receiver = recorder.Connect();
  recorder.Say(sender, JoinFrame(1, SomeId(31), "jobs"));
  recorder.Say(receiver, JoinFrame(1, SomeId(32), "jobs") + ReceiveFrame(1));
  recorder.Wait(absl::Milliseconds(100));
  recorder.Say(sender, StartFrame(flag::kRequest, 1, SomeId(900),
                                  {.flags = flag::kFin, .start = StartMessage("render"), .body = "scene"}));
  recorder.Wait(absl::Milliseconds(300));
  recorder.End(sender);
}

void TellExpiredRequest(Tap& tap) {
  Recorder recorder(tap);
  Peer& sender = recorder.Connect();
  recorder.Say(sender, JoinFrame(1, SomeId(31), "jobs"));
  recorder.Say(sender,
               StartFrame(flag::kRequest, 1, SomeId(900),
                          {.flags = flag::kFin, .start = StartMessage("render"), .body = "scene", .timeout_ms = 500}));
  recorder.Wait(absl::Milliseconds(600));
}

TwoDirections UnorderedSession() {
  class Keeper : public SilentTap {
   public:
    void OnBytes(const Piece& piece) override {
      std::string& bytes = piece.direction == Direction::kToServer ? kept.to_server : kept.to_client;
      bytes.append(piece.bytes.begin(), piece.bytes.end());
    }
    TwoDirections kept;
  };
  Keeper keeper;
  Recorder recorder(keeper);
  Peer& peer = recorder.Connect();
  recorder.Say(peer, JoinFrame(1, SomeId(41), "jobs") + JoinFrame(2, SomeId(42), "jobs") + ReceiveFrame(2));
  // Two in a row on the same slots, the second of which fails.
  for (const uint32_t number : {601U, 602U}) {
    recorder.Say(peer, StartFrame(flag::kRequest, 1, SomeId(number), {.start = StartMessage("resize"), .body = "a"}) +
                           ChunkFrame(flag::kRequest | flag::kFin, 1, SomeId(number), "bc"));
    v1::End end;
    if (number == 602) end.mutable_status()->set_code(static_cast<uint32_t>(absl::StatusCode::kInternal));
    recorder.Say(peer, StartFrame(flag::kResponse, 2, SomeId(number), {.body = "answer"}) +
                           EndFrame(flag::kResponse | flag::kReceive, 2, SomeId(number), end.SerializeAsString()));
  }
  // Nobody takes it in time: the only receiver has left.
  recorder.Say(peer, server::LeaveFrame(2, SomeId(42)));
  recorder.Say(peer, StartFrame(flag::kRequest, 1, SomeId(603), {.flags = flag::kFin, .timeout_ms = 100}));
  recorder.Wait(absl::Milliseconds(200));
  // What it must not.
  recorder.Say(peer, ChunkFrame(flag::kRequest, 1, SomeId(604), "without START"));
  recorder.Say(peer, StartFrame(flag::kRequest, 9, SomeId(605)));
  recorder.Say(peer, StartFrame(flag::kRequest, 1, SomeId(606)) + StartFrame(flag::kRequest, 1, SomeId(606)));
  recorder.Say(peer, StartFrame(flag::kRequest, 1, SomeId(607), {.flags = flag::kFin}) +
                         ChunkFrame(flag::kRequest, 1, SomeId(607), "behind its end"));
  // Goes with it, and then the capture is cut.
  recorder.Say(peer, JoinFrame(3, SomeId(43), "jobs") + StartFrame(flag::kRequest, 3, SomeId(609)));
  recorder.Say(peer, server::LeaveFrame(3, SomeId(43)));
  recorder.Say(peer, StartFrame(flag::kRequest, 1, SomeId(610), {.start = StartMessage("resize"), .body = "cut"}));
  return keeper.kept;
}

void TellUnordered(Tap& tap) {
  TwoDirections session = UnorderedSession();
  std::vector<std::unique_ptr<ByteInput>> inputs;
  // In any order.
  inputs.push_back(ByteInput::OfBytes("down", std::move(session.to_client)));
  inputs.push_back(ByteInput::OfBytes("up", std::move(session.to_server)));
  EXPECT_TRUE((*RawSource::Open(std::move(inputs)))->Run(tap).ok());
}

}  // namespace relay::inspect

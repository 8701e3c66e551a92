// What single steps of the core cost: decode, assign, forward, credit, cancel. Each iteration is a turn with a batch of
// frames, as a busy connection brings them; an item is one frame or one exchange, as each says.

#include <benchmark/benchmark.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "driver.h"
#include "proto/frame.h"
#include "server/limits.h"
#include "server/metrics.h"
#include "server/relay.h"

namespace relay::server {
namespace {

constexpr uint16_t kBatch = 64;
constexpr uint64_t kSenders = 1000;
constexpr uint64_t kReceivers = 2000;
constexpr uint64_t kRequests = 3000;

Limits NoRates() {
  Limits limits;
  limits.resets_per_second = 0;
  limits.control_frames_per_second = 0;
  limits.max_window_bytes = 1 << 30;
  return limits;
}

// A connection that sends and one that receives, with a client on each slot from 1 to kBatch.
class Rig {
 public:
  Rig()
      : relay_(NoRates(), Id(1), now_),
        sender_(relay_.OnOpen("sender", now_)),
        receiver_(relay_.OnOpen("receiver", now_)) {
    std::string senders = std::string(proto::kPreface) + HelloFrame();
    std::string receivers = senders;
    for (uint16_t slot = 1; slot <= kBatch; ++slot) {
      senders += JoinFrame(slot, Id(kSenders + slot), "bench");
      receivers += JoinFrame(slot, Id(kReceivers + slot), "bench");
    }
    FromSender(senders);
    FromReceiver(receivers);
    Turn();
  }

  void FromSender(std::string_view frames) { Give(sender_, frames, sender_bytes_); }
  void FromReceiver(std::string_view frames) { Give(receiver_, frames, receiver_bytes_); }

  void Turn() {
    for (const Effect& effect : relay_.TakeEffects()) {
      for (const std::span<const uint8_t> bytes : effect.write) written_bytes_ += bytes.size();
    }
    relay_.EndTurn();
  }

  // What has happened, so that nothing is measured that did not.
  const Metrics& metrics() const { return relay_.metrics(); }
  uint64_t written_bytes() const { return written_bytes_; }

 private:
  // The core writes into what it is given.
  void Give(ConnectionId id, std::string_view frames, std::vector<uint8_t>& bytes) {
    bytes.assign(frames.begin(), frames.end());
    relay_.OnBytes(id, bytes, now_);
  }

  const absl::Time now_ = absl::UnixEpoch();
  Relay relay_;
  const ConnectionId sender_;
  const ConnectionId receiver_;
  std::vector<uint8_t> sender_bytes_;
  std::vector<uint8_t> receiver_bytes_;
  uint64_t written_bytes_ = 0;
};

template <typename Make>
std::string Batch(Make make) {
  std::string frames;
  for (uint16_t slot = 1; slot <= kBatch; ++slot) frames += make(slot);
  return frames;
}

std::string Requests(uint8_t flags, std::string body) {
  return Batch([&](uint16_t slot) {
    return StartFrame(proto::flag::kRequest, slot, Id(kRequests + slot), {.flags = flags, .body = body});
  });
}

std::string Receives() {
  return Batch([](uint16_t slot) { return ReceiveFrame(slot); });
}

// Receivers take requests in the order of their line, which is that of the slots.
std::string Responses() {
  return Batch([](uint16_t slot) {
    return StartFrame(proto::flag::kResponse, slot, Id(kRequests + slot),
                      {.flags = proto::flag::kFin | proto::flag::kReceive, .body = std::string(64, 'x')});
  });
}

// `happened` is how often the core says that it did what an item is.
void CountItems(benchmark::State& state, uint64_t happened) {
  const int64_t items = state.iterations() * kBatch;
  if (happened < static_cast<uint64_t>(items)) state.SkipWithError("it did not happen");
  state.SetItemsProcessed(items);
}

// An item is a frame: its header found and checked.
void Decode(benchmark::State& state) {
  const std::string frames = Requests(proto::flag::kFin, std::string(64, 'x'));
  std::vector<uint8_t> bytes(frames.begin(), frames.end());
  for (auto _ : state) {
    std::span<uint8_t> rest = bytes;
    proto::Frame frame;
    while (proto::DecodeFrame(rest, 128 * 1024, frame) == proto::Decoded::kFrame) {
      benchmark::DoNotOptimize(proto::CheckHeader(frame));
      rest = rest.subspan(frame.bytes().size());
    }
  }
  state.SetItemsProcessed(state.iterations() * kBatch);
}
BENCHMARK(Decode);

// An item is an exchange of one frame each way: a waiting receiver gets the request, and waits again with its answer.
void Assign(benchmark::State& state) {
  Rig rig;
  const std::string requests = Requests(proto::flag::kFin, std::string(64, 'x'));
  const std::string responses = Responses();
  rig.FromReceiver(Receives());
  rig.Turn();
  for (auto _ : state) {
    rig.FromSender(requests);
    rig.Turn();
    rig.FromReceiver(responses);
    rig.Turn();
  }
  CountItems(state, rig.metrics().requests_ended);
}
BENCHMARK(Assign);

// An item is a CHUNK of 1 KiB to the receiver that has the request.
void Forward(benchmark::State& state) {
  Rig rig;
  rig.FromReceiver(Receives());
  rig.FromSender(Requests(0, ""));
  rig.Turn();
  const std::string chunks = Batch([](uint16_t slot) {
    return ChunkFrame(proto::flag::kRequest, slot, Id(kRequests + slot), std::string(1024, 'x'));
  });
  uint64_t window = 256 * 1024;
  for (auto _ : state) {
    rig.FromSender(chunks);
    rig.Turn();
    window += proto::ChunkCost(1024);
    if (window % (64 * proto::ChunkCost(1024)) >= proto::ChunkCost(1024)) continue;
    state.PauseTiming();
    rig.FromReceiver(Batch(
        [window](uint16_t slot) { return WindowFrame(proto::flag::kRequest, slot, Id(kRequests + slot), window); }));
    rig.Turn();
    state.ResumeTiming();
  }
  CountItems(state, rig.metrics().frames_forwarded);
}
BENCHMARK(Forward);

// An item is a WINDOW that reaches the sender.
void Credit(benchmark::State& state) {
  Rig rig;
  rig.FromReceiver(Receives());
  rig.FromSender(Requests(0, ""));
  rig.Turn();
  uint64_t window = 256 * 1024;
  const uint64_t written_before = rig.written_bytes();
  for (auto _ : state) {
    state.PauseTiming();
    ++window;
    const std::string windows = Batch(
        [window](uint16_t slot) { return WindowFrame(proto::flag::kRequest, slot, Id(kRequests + slot), window); });
    state.ResumeTiming();
    rig.FromReceiver(windows);
    rig.Turn();
  }
  CountItems(state, (rig.written_bytes() - written_before) / (proto::kHeaderBytes + sizeof(uint64_t)));
}
BENCHMARK(Credit);

// An item is a request that waits and is taken back by its sender.
void Cancel(benchmark::State& state) {
  Rig rig;
  const std::string requests = Requests(proto::flag::kFin, std::string(64, 'x'));
  const std::string resets =
      Batch([](uint16_t slot) { return ResetFrame(slot, Id(kRequests + slot), absl::StatusCode::kCancelled); });
  for (auto _ : state) {
    rig.FromSender(requests);
    rig.Turn();
    rig.FromSender(resets);
    rig.Turn();
  }
  CountItems(state, rig.metrics().requests_ended);
}
BENCHMARK(Cancel);

}  // namespace
}  // namespace relay::server

BENCHMARK_MAIN();

// What a frame costs the core without an observer, and what mirroring it costs with one. Two connections run whole
// exchanges against each other without a socket, so that under `valgrind --tool=callgrind` every run counts the same
// instructions:
//
//   mirror_cost [EXCHANGES] [OBSERVERS [SNAP_BYTES]]
//
// prints the frames that the core read and wrote, those mirrored and lost, and the frames mirrored in a second. An
// observer reads 64 KiB in each turn. Nothing here judges a time.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "driver.h"

namespace relay::server {
namespace {

namespace flag = proto::flag;

constexpr uint16_t kSlots = 16;
constexpr int kChunks = 4;
constexpr size_t kObserverReadsBytes = 64 * kKiB;

class Load {
 public:
  Load(int observers, uint32_t snap_bytes) : relay_(LimitsOf(), Id(0x5e), now_) {
    receiver_ = Open();
    sender_ = Open();
    std::string joins;
    for (uint16_t slot = 1; slot <= kSlots; ++slot) joins += JoinFrame(slot, Id(slot), "c");
    Give(receiver_, joins);
    joins.clear();
    for (uint16_t slot = 1; slot <= kSlots; ++slot) joins += JoinFrame(slot, Id(100u + slot), "c");
    Give(sender_, joins);
    EndTurn();
    v1::Hello hello;
    hello.set_version(proto::kVersion);
    hello.set_observer(true);
    v1::Observe observe;
    observe.set_snap_bytes(snap_bytes);
    for (int i = 0; i < observers; ++i) {
      observers_.push_back({relay_.OnOpen("observer", now_), 0, 0, 0});
      Give(observers_.back().id, std::string(proto::kPreface) +
                                     FrameOf(proto::FrameType::kHello, 0, proto::kNilUuid, hello) +
                                     FrameOf(proto::FrameType::kObserve, 0, proto::kNilUuid, observe));
      EndTurn();
    }
  }

  // One exchange on each slot.
  void Turn() {
    std::string waits;
    std::string requests;
    std::string answers;
    for (uint16_t slot = 1; slot <= kSlots; ++slot) {
      const proto::Uuid id = Id(++last_id_);
      waits += ReceiveFrame(slot);
      requests += StartFrame(flag::kRequest, slot, id, {.body = "request"});
      answers += StartFrame(flag::kResponse, slot, id);
      for (int i = 0; i < kChunks; ++i) {
        requests += ChunkFrame(flag::kRequest, slot, id, std::string(100, 'q'));
        answers += ChunkFrame(flag::kResponse, slot, id, std::string(100, 'a'));
      }
      requests += EndFrame(flag::kRequest, slot, id);
      answers += EndFrame(flag::kResponse, slot, id);
    }
    Give(receiver_, waits);
    EndTurn();
    Give(sender_, requests);
    EndTurn();
    Give(receiver_, answers);
    EndTurn();
  }

  // Each observer reads all that it is owed; what came and what it was told that it lost is what was to be shown.
  void Finish() {
    for (const Observer& observer : observers_) {
      relay_.OnUnsent(observer.id, 0, now_);
      EndTurn();
    }
    for (const Observer& observer : observers_) {
      std::printf("observer %llu: came %llu, told lost %llu\n", static_cast<unsigned long long>(observer.id),
                  static_cast<unsigned long long>(observer.came), static_cast<unsigned long long>(observer.told_lost));
    }
  }

  const Metrics& metrics() const { return relay_.metrics(); }

 private:
  static Limits LimitsOf() {
    Limits limits;
    limits.control_frames_per_second = 0;
    limits.allow_observers = true;
    return limits;
  }

  ConnectionId Open() {
    const ConnectionId id = relay_.OnOpen("test", now_);
    Give(id, std::string(proto::kPreface) + HelloFrame());
    EndTurn();
    return id;
  }

  void Give(ConnectionId id, const std::string& bytes) {
    auto& given = given_.emplace_back(bytes.begin(), bytes.end());
    relay_.OnBytes(id, given, now_);
  }

  void EndTurn() {
    relay_.OnTime(now_);
    for (const Effect& effect : relay_.TakeEffects()) {
      for (Observer& observer : observers_) {
        if (observer.id == effect.connection) Read(observer, effect.write);
      }
    }
    relay_.EndTurn();
    for (Observer& observer : observers_) {
      observer.unsent_bytes -= std::min(observer.unsent_bytes, kObserverReadsBytes);
      relay_.OnUnsent(observer.id, observer.unsent_bytes, now_);
    }
    given_.clear();
  }

  struct Observer {
    ConnectionId id;
    size_t unsent_bytes;
    uint64_t came;
    uint64_t told_lost;
  };

  // MIRROR frames stand side by side in the turn's memory, whole in each slice.
  static void Read(Observer& observer, std::span<const std::span<const uint8_t>> slices) {
    for (std::span<const uint8_t> rest : slices) {
      observer.unsent_bytes += rest.size();
      while (!rest.empty()) {
        const auto payload_bytes = proto::LoadBig<uint32_t>(rest.data());
        if (rest[4] == static_cast<uint8_t>(proto::FrameType::kMirror)) {
          ++observer.came;
          observer.told_lost += proto::LoadBig<uint32_t>(rest.data() + proto::kHeaderBytes + 16);
        }
        rest = rest.subspan(proto::kHeaderBytes + payload_bytes);
      }
    }
  }

  absl::Time now_ = absl::UnixEpoch() + absl::Hours(1000);
  Relay relay_;
  ConnectionId receiver_ = 0;
  ConnectionId sender_ = 0;
  uint64_t last_id_ = 1000;
  std::vector<std::vector<uint8_t>> given_;
  std::vector<Observer> observers_;
};

}  // namespace
}  // namespace relay::server

int main(int argc, char** argv) {
  using Clock = std::chrono::steady_clock;
  const int exchanges = argc > 1 ? std::atoi(argv[1]) : 16000;
  const int observers = argc > 2 ? std::atoi(argv[2]) : 0;
  const int snap_bytes = argc > 3 ? std::atoi(argv[3]) : 64;
  relay::server::Load load(observers, static_cast<uint32_t>(snap_bytes));
  const auto begin = Clock::now();
  for (int i = 0; i < exchanges / relay::server::kSlots; ++i) load.Turn();
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  const relay::server::Metrics& metrics = load.metrics();
  std::printf("frames read %llu, forwarded %llu, %.3f s\n", static_cast<unsigned long long>(metrics.frames_read),
              static_cast<unsigned long long>(metrics.frames_forwarded), seconds);
  if (observers == 0) return 0;
  load.Finish();
  std::printf("mirrored %llu, lost %llu, %.0f a second mirrored, beside the load itself\n",
              static_cast<unsigned long long>(metrics.frames_mirrored),
              static_cast<unsigned long long>(metrics.mirrors_lost),
              static_cast<double>(metrics.frames_mirrored) / seconds);
  return 0;
}

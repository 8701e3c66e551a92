// Any bytes as what a connection carried, through the whole of relay inspect: nothing that is shown leaves a byte out
// or tells of one twice, whatever pieces the bytes come in, and every sink takes it.
//
// The input: a byte of switches, then pieces, each with a byte that says whose it is and what else happens, and a byte
// for its length.

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "input.h"
#include "proto/messages.h"
#include "require.h"
#include "tools/inspect/decoder.h"
#include "tools/inspect/filter.h"
#include "tools/inspect/hex.h"
#include "tools/inspect/json_sink.h"
#include "tools/inspect/requests_sink.h"
#include "tools/inspect/summary_sink.h"
#include "tools/inspect/text_sink.h"
#include "tools/inspect/timeline_sink.h"

namespace relay::inspect {
namespace {

using fuzz::Require;

enum Switch : uint8_t { kResync = 1, kMiddle = 2, kUnordered = 4, kVerbose = 8, kPrefaced = 16, kCoarse = 32 };

// Counts what is told of each direction, and hands everything on to sinks that write it.
class Counter : public Sink {
 public:
  explicit Counter(std::vector<Sink*> sinks) : sinks_(std::move(sinks)) {}

  void OnBegin(absl::Time at) override {
    for (Sink* const sink : sinks_) sink->OnBegin(at);
  }
  void OnOpen(const Opening& opening) override {
    for (Sink* const sink : sinks_) sink->OnOpen(opening);
  }
  void OnPreface(const Place& place) override {
    Count(place.direction, 0, proto::kPreface.size());
    for (Sink* const sink : sinks_) sink->OnPreface(place);
  }
  void OnFrame(const SeenFrame& frame) override {
    Count(frame.direction, frame.offset, proto::kHeaderBytes + uint64_t{frame.payload_bytes});
    Require(frame.payload.size() <= frame.payload_bytes, "no more of a payload is shown than there is");
    if (frame.is_late) Require(!frame.is_live, "what is late is of nothing live");
    for (Sink* const sink : sinks_) sink->OnFrame(frame);
  }
  void OnDamage(const Place& place, const Damage& damage) override {
    Require(damage.offset == at_[Index(place.direction)], "damage is where nothing was told before");
    for (Sink* const sink : sinks_) sink->OnDamage(place, damage);
  }
  void OnSkipped(const Place& place, const Skipped& skipped) override {
    Require(skipped.bytes > 0, "what is skipped is something");
    Count(place.direction, skipped.offset, skipped.bytes);
    for (Sink* const sink : sinks_) sink->OnSkipped(place, skipped);
  }
  void OnGap(const Place& place, uint64_t offset, uint64_t bytes) override {
    Count(place.direction, offset, bytes);
    for (Sink* const sink : sinks_) sink->OnGap(place, offset, bytes);
  }
  void OnLost(uint64_t frames, absl::Time at) override {
    for (Sink* const sink : sinks_) sink->OnLost(frames, at);
  }
  void OnClose(const Place& place) override {
    for (Sink* const sink : sinks_) sink->OnClose(place);
  }
  void OnExchange(const Exchange& exchange) override {
    for (Sink* const sink : sinks_) sink->OnExchange(exchange);
    if (exchange.began != absl::InfinitePast()) DrawTimeline(exchange, 100, Style());
  }
  absl::Status Finish() override {
    for (Sink* const sink : sinks_) sink->Finish().IgnoreError();
    return absl::OkStatus();
  }

  static size_t Index(Direction direction) { return direction == Direction::kToServer ? 0 : 1; }
  uint64_t told(Direction direction) const { return at_[Index(direction)]; }

 private:
  void Count(Direction direction, uint64_t offset, uint64_t bytes) {
    uint64_t& at = at_[Index(direction)];
    Require(offset == at, "what is told has no hole and no overlap");
    at += bytes;
  }

  const std::vector<Sink*> sinks_;
  std::array<uint64_t, 2> at_ = {};
};

void Run(const uint8_t* data, size_t size) {
  static const int null = memfd_create("shown", MFD_CLOEXEC);
  Require(ftruncate(null, 0) == 0 && lseek(null, 0, SEEK_SET) == 0, "memory can be written");
  fuzz::Input input(data, size);
  const uint8_t switches = input.Byte();
  Output out(null, false, [] {});
  TextOptions looks;
  looks.is_verbose = (switches & kVerbose) != 0;
  looks.width = looks.is_verbose ? 80 : 160;
  TextSink text(looks, out);
  JsonSink json({}, out);
  RequestsSink requests(looks, out);
  SummarySink summary(looks, false, out);
  static const Filter filter =
      *Filter::Parse("(type==START || late || bytes>10 || metadata.k==v) && !violation~x", Filter::Shown::kBoth);
  FilterSink filtered(filter, json);
  Counter counter({&text, &filtered, &requests, &summary});
  Decoder decoder(counter, (switches & kResync) != 0);

  absl::Time at = absl::UnixEpoch();
  Opening opening;
  opening.connection = 1;
  opening.at = at;
  opening.from_start = (switches & kMiddle) == 0;
  opening.in_order = (switches & kUnordered) == 0;
  decoder.OnOpen(opening);
  std::array<uint64_t, 2> given = {};
  const auto give = [&](Direction direction, const std::string& bytes) {
    // In memory of its own size, so that a sanitizer sees a read behind it.
    const std::vector<uint8_t> exact(bytes.begin(), bytes.end());
    given[Counter::Index(direction)] += exact.size();
    decoder.OnBytes({1, direction, at, exact});
  };
  if ((switches & kPrefaced) != 0) give(Direction::kToServer, std::string(proto::kPreface));
  while (!input.is_empty()) {
    const uint8_t what = input.Byte();
    const Direction direction = (what & 1) == 0 ? Direction::kToServer : Direction::kToClient;
    at += absl::Microseconds(what);
    if (what >= 250) {
      const uint64_t bytes = input.Byte();
      given[Counter::Index(direction)] += bytes;
      decoder.OnGap(1, direction, at, bytes);
      continue;
    }
    if (what >= 248) decoder.OnLost(1, at);
    give(direction, input.Bytes((switches & kCoarse) != 0 ? 256 : input.Byte()));
  }
  Require(decoder.Finish().ok(), "the end can be told");
  for (const Direction direction : {Direction::kToServer, Direction::kToClient}) {
    Require(counter.told(direction) == given[Counter::Index(direction)], "every byte is told of");
  }
}

}  // namespace
}  // namespace relay::inspect

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  relay::proto::SilenceProtobuf();
  relay::inspect::Run(data, size);
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  relay::inspect::ParseHexDump(text).IgnoreError();
  relay::inspect::Filter::Parse(text.substr(0, 200), relay::inspect::Filter::Shown::kBoth).IgnoreError();
  return 0;
}

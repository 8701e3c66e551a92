// --summary: what passed, by channel and method.

#ifndef RELAY_TOOLS_INSPECT_SUMMARY_SINK_H_
#define RELAY_TOOLS_INSPECT_SUMMARY_SINK_H_

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "tools/inspect/output.h"
#include "tools/inspect/seen.h"
#include "tools/inspect/text_sink.h"
#include "tools/relay/histogram.h"

namespace relay::inspect {

// Its memory is bounded: past kMostRows, what is new is counted as "(others)". Thread-compatible.
class SummarySink : public Sink {
 public:
  static constexpr size_t kMostRows = 256;
  static constexpr size_t kMostEnds = 64;
  static constexpr size_t kSlowest = 5;

  struct Times {
    void Add(absl::Duration time) {
      ++count;
      longest = std::max(longest, time);
      histogram.Add(absl::ToChronoNanoseconds(time));
    }
    uint64_t count = 0;
    absl::Duration longest;
    tools::Histogram histogram;
  };

  // `out` outlives it. With `in_place` it is drawn again with every tick, over what was drawn before.
  SummarySink(const TextOptions& options, bool in_place, Output& out)
      : options_(options), in_place_(in_place), out_(out) {}

  void OnBegin(absl::Time at) override { first_ = last_ = at; }
  void OnOpen(const Opening& opening) override;
  void OnFrame(const SeenFrame& frame) override;
  void OnDamage(const Place& place, const Damage& damage) override;
  void OnSkipped(const Place& place, const Skipped& skipped) override;
  void OnLost(uint64_t frames, absl::Time at) override;
  void OnExchange(const Exchange& exchange) override;
  void OnTick(absl::Time now) override;
  absl::Status Finish() override;

 private:
  struct Row {
    uint64_t count = 0;
    Times queue_wait;
    Times total;
    uint64_t request_bytes = 0;
    uint64_t response_bytes = 0;
    bool has_missed = false;  // frames of some: there were more bytes
    std::map<std::string, uint64_t> ends;
  };
  struct Slow {
    absl::Duration total;
    std::string line;
  };

  std::string Text() const;
  void Draw(bool is_last);

  const TextOptions options_;
  const bool in_place_;
  Output& out_;
  std::map<std::pair<std::string, std::string>, Row> rows_;  // by channel and method
  std::vector<Slow> slowest_;
  uint64_t frames_ = 0;
  uint64_t broken_rules_ = 0;
  uint64_t skipped_bytes_ = 0;
  uint64_t lost_frames_ = 0;
  uint64_t connections_ = 0;
  absl::Time first_ = absl::InfinitePast();
  absl::Time last_ = absl::InfinitePast();
  size_t drawn_lines_ = 0;
};

}  // namespace relay::inspect

#endif  // RELAY_TOOLS_INSPECT_SUMMARY_SINK_H_

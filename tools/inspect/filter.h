// --filter: which frames, and which exchanges, are shown.
//
//   type == RESET && channel == "jobs" && bytes > 4K
//   !(late || type == PING) && (method ~ "resize" || metadata.user == "ada")
//
// Names are those of JSON.md: of frames, or of exchanges where those are shown. A name alone asks whether it is there
// and not false, 0 or empty. `~` is "contains".

#ifndef RELAY_TOOLS_INSPECT_FILTER_H_
#define RELAY_TOOLS_INSPECT_FILTER_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "tools/inspect/fields.h"
#include "tools/inspect/seen.h"

namespace relay::inspect {

// Thread-compatible.
class Filter {
 public:
  enum class Shown : uint8_t { kFrames, kExchanges, kBoth };

  // INVALID_ARGUMENT says what is wrong, with the text and a mark below the column where it is. A field that nothing of
  // what is shown can have is wrong too.
  static absl::StatusOr<Filter> Parse(std::string_view text, Shown shown);

  bool Matches(const SeenFrame& frame) const;
  bool Matches(const Exchange& exchange) const;
  // What is said of a connection or of one of its directions, by what it shares with frames.
  bool Matches(const Opening& opening) const;
  bool Matches(const Place& place) const;
  Shown shown() const { return shown_; }

  using Lookup = std::function<std::optional<Value>(std::string_view name)>;
  using Test = std::function<bool(const Lookup&)>;

 private:
  Filter(Test test, Shown shown) : test_(std::move(test)), shown_(shown) {}

  Test test_;
  Shown shown_;
};

// Shows to `inner` what matches, and whatever is wrong: damage, gaps, losses. A sink of exchanges hears of all else.
// Thread-compatible.
class FilterSink : public Sink {
 public:
  // `inner` outlives it.
  FilterSink(Filter filter, Sink& inner) : filter_(std::move(filter)), inner_(inner) {}

  void OnBegin(absl::Time at) override { inner_.OnBegin(at); }
  void OnOpen(const Opening& opening) override {
    if (Passes(opening)) inner_.OnOpen(opening);
  }
  void OnPreface(const Place& place) override {
    if (Passes(place)) inner_.OnPreface(place);
  }
  void OnFrame(const SeenFrame& frame) override {
    if (Passes(frame)) inner_.OnFrame(frame);
  }
  void OnDamage(const Place& place, const Damage& damage) override { inner_.OnDamage(place, damage); }
  void OnSkipped(const Place& place, const Skipped& skipped) override { inner_.OnSkipped(place, skipped); }
  void OnGap(const Place& place, uint64_t offset, uint64_t bytes) override { inner_.OnGap(place, offset, bytes); }
  void OnLost(uint64_t frames, absl::Time at) override { inner_.OnLost(frames, at); }
  void OnClose(const Place& place) override {
    if (Passes(place)) inner_.OnClose(place);
  }
  void OnExchange(const Exchange& exchange) override {
    if (filter_.Matches(exchange)) inner_.OnExchange(exchange);
  }
  void OnLeftOut(uint64_t exchanges) override { inner_.OnLeftOut(exchanges); }
  void OnTick(absl::Time now) override { inner_.OnTick(now); }
  absl::Status Finish() override { return inner_.Finish(); }

 private:
  template <typename Event>
  bool Passes(const Event& event) const {
    return filter_.shown() == Filter::Shown::kExchanges || filter_.Matches(event);
  }

  const Filter filter_;
  Sink& inner_;
};

}  // namespace relay::inspect

#endif  // RELAY_TOOLS_INSPECT_FILTER_H_

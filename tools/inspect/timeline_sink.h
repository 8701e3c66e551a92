// --timeline: one exchange drawn to scale, so that one sees where the time went.

#ifndef RELAY_TOOLS_INSPECT_TIMELINE_SINK_H_
#define RELAY_TOOLS_INSPECT_TIMELINE_SINK_H_

#include <string>
#include <string_view>

#include "tools/inspect/output.h"
#include "tools/inspect/seen.h"
#include "tools/inspect/text_sink.h"

namespace relay::inspect {

// What is drawn, lines with newlines.
std::string DrawTimeline(const Exchange& exchange, size_t width, const Style& style);

// Whether `wanted`, which MayName takes, is the request's id, the 8 digits that are shown of it, or what it begins
// with.
bool IsNamed(const proto::Uuid& request, std::string_view wanted);
// 4 characters of an id, or more.
bool MayName(std::string_view wanted);

// Thread-compatible.
class TimelineSink : public Sink {
 public:
  // `out` outlives it. `request` is as IsNamed takes it, or "all".
  TimelineSink(std::string request, const TextOptions& options, Output& out)
      : request_(std::move(request)), options_(options), out_(out) {}

  void OnFrame(const SeenFrame& frame) override;
  void OnExchange(const Exchange& exchange) override;
  // NOT_FOUND where no such request has passed.
  absl::Status Finish() override;

 private:
  const std::string request_;
  const TextOptions options_;
  Output& out_;
  size_t drawn_ = 0;
  bool has_no_times_ = false;
  bool was_seen_ = false;  // frames of the request
};

}  // namespace relay::inspect

#endif  // RELAY_TOOLS_INSPECT_TIMELINE_SINK_H_

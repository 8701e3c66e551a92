// One line a frame, in columns that fit the width that there is; what is wrong below it.

#ifndef RELAY_TOOLS_INSPECT_TEXT_SINK_H_
#define RELAY_TOOLS_INSPECT_TEXT_SINK_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "tools/inspect/output.h"
#include "tools/inspect/seen.h"
#include "tools/inspect/style.h"

namespace relay::inspect {

struct TextOptions {
  enum class Times : uint8_t { kRelative, kDelta, kClock };

  static constexpr size_t kLeastWidth = 60;

  size_t width = 100;       // that the columns are laid out for
  bool wraps_lines = true;  // at the width, below frames; else a line is as long as what there is to say
  bool is_verbose = false;
  size_t dump_bytes = 256;  // of each payload
  Times times = Times::kRelative;
  Style style;
};

// Thread-compatible.
class TextSink : public Sink {
 public:
  // `out` outlives it.
  TextSink(const TextOptions& options, Output& out);

  void OnBegin(absl::Time at) override { first_ = last_ = at; }
  void OnOpen(const Opening& opening) override;
  void OnFrame(const SeenFrame& frame) override;
  void OnDamage(const Place& place, const Damage& damage) override;
  void OnSkipped(const Place& place, const Skipped& skipped) override;
  void OnGap(const Place& place, uint64_t offset, uint64_t bytes) override;
  void OnLost(uint64_t frames, absl::Time at) override;
  void OnClose(const Place& place) override;
  absl::Status Finish() override { return out_.Flush(); }

 private:
  struct Layout {
    size_t time;
    size_t connection;
    size_t slot;
    size_t flags;    // 0: not shown
    size_t channel;  // 0: not shown
    size_t digits;   // of a second
  };

  void PrintHead();
  std::string TimeText(absl::Time at, uint64_t offset);
  // A line that is no frame: the time, the connection and the direction, then `text`.
  void PrintNote(const Place& place, uint64_t offset, std::string_view text, bool is_bad, bool has_arrow = true);
  // Below another line, and in as many lines as it takes.
  void PrintBelow(std::string_view text, bool is_bad);
  // `first` stands before the first line of the text, `below` before the others; both have `indent` columns.
  void PrintWrapped(std::string_view first, std::string_view below, size_t indent, std::string_view text,
                    std::string_view sgr);
  void PrintVerbose(const SeenFrame& frame);
  void PrintDump(uint64_t offset, std::span<const uint8_t> bytes, uint64_t marked_from);
  void PrintLine(const std::string& line) { out_.Write(line + "\n"); }

  const TextOptions options_;
  const Layout layout_;
  Output& out_;
  bool has_head_ = false;
  absl::Time first_ = absl::InfinitePast();
  absl::Time last_ = absl::InfinitePast();
};

}  // namespace relay::inspect

#endif  // RELAY_TOOLS_INSPECT_TEXT_SINK_H_

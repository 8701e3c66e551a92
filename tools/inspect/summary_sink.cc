#include "tools/inspect/summary_sink.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tools/inspect/exchange_fields.h"
#include "tools/inspect/words.h"
#include "tools/relay/text.h"

namespace relay::inspect {
namespace {

constexpr size_t kTimeColumns = 6;

constexpr size_t kCountColumns = 7;
constexpr size_t kRateColumns = 6;
constexpr size_t kBytesColumns = 6;
constexpr std::array kPercentiles = {std::pair(0.5, "p50"), std::pair(0.9, "p90"), std::pair(0.99, "p99")};

// Of those that there is room for.
template <typename Call>
std::string ForEachPercentile(size_t width, Call call) {
  std::string text = " ";
  for (const auto& [part, name] : kPercentiles) {
    if (width >= 80 || part != 0.9) text += " " + FitLeft(call(part, name), kTimeColumns);
  }
  return text;
}

std::string Percentiles(const SummarySink::Times& times, size_t width) {
  return ForEachPercentile(width, [&times](double part, std::string_view) -> std::string {
    if (times.count == 0) return "-";
    // The top of a bucket may be above all that is in it.
    return CompactTime(std::min(absl::FromChrono(times.histogram.Percentile(part)), times.longest));
  });
}

std::string Rate(uint64_t count, absl::Duration time) {
  const double seconds = absl::ToDoubleSeconds(time);
  if (seconds <= 0) return "-";
  char text[32];
  const double rate = static_cast<double>(count) / seconds;
  std::snprintf(text, sizeof(text), rate < 100 ? "%.1f" : "%.0f", rate);
  return text;
}

}  // namespace

void SummarySink::OnOpen(const Opening&) { ++connections_; }

void SummarySink::OnFrame(const SeenFrame& frame) {
  ++frames_;
  if (frame.rule != Rule::kNone) ++broken_rules_;
  last_ = std::max(last_, frame.at);
}

void SummarySink::OnDamage(const Place&, const Damage&) { ++broken_rules_; }

void SummarySink::OnSkipped(const Place&, const Skipped& skipped) { skipped_bytes_ += skipped.bytes; }

void SummarySink::OnLost(uint64_t frames, absl::Time) { lost_frames_ += frames; }

void SummarySink::OnExchange(const Exchange& exchange) {
  const std::string channel = exchange.channel_name.empty() ? ShortId(exchange.channel) : exchange.channel_name;
  std::pair<std::string, std::string> key(tools::Printable(channel, 255), tools::Printable(exchange.method, 255));
  if (rows_.size() >= kMostRows && !rows_.contains(key)) key = {"(others)", ""};
  Row& row = rows_[key];
  ++row.count;
  const bool has_total = Total(exchange).has_value() && exchange.end != "open";
  const absl::Duration total = Total(exchange).value_or(absl::ZeroDuration());
  if (has_total) row.total.Add(total);
  if (exchange.queue_wait.has_value()) row.queue_wait.Add(*exchange.queue_wait);
  row.request_bytes += exchange.request_stream.body_bytes;
  row.response_bytes += exchange.response_stream.body_bytes;
  row.has_missed |= exchange.has_missed;
  std::string end = EndWords(exchange);
  if (row.ends.size() >= kMostEnds && !row.ends.contains(end)) end = "(others)";
  ++row.ends[end];
  if (!has_total) return;
  if (slowest_.size() == kSlowest && total <= slowest_.back().total) return;
  std::string line = absl::StrCat(options_.style.Paint(Style::ColourOf(exchange.request), ShortId(exchange.request)),
                                  " ", FitLeft(CompactTime(total), kTimeColumns), "  ", key.first);
  if (!key.second.empty()) absl::StrAppend(&line, " ", key.second);
  if (exchange.queue_wait.has_value()) absl::StrAppend(&line, ", queued ", CompactTime(*exchange.queue_wait));
  // The streams may stand still at the same time.
  const absl::Duration stalled = std::max(exchange.request_stream.stalled, exchange.response_stream.stalled);
  if (stalled > absl::ZeroDuration() && !exchange.has_missed)
    absl::StrAppend(&line, ", out of credit ", CompactTime(stalled));
  absl::StrAppend(&line, ", ", EndWords(exchange));
  slowest_.push_back({total, std::move(line)});
  std::stable_sort(slowest_.begin(), slowest_.end(), [](const Slow& a, const Slow& b) { return a.total > b.total; });
  if (slowest_.size() > kSlowest) slowest_.pop_back();
}

std::string SummarySink::Text() const {
  const Style& style = options_.style;
  const absl::Duration time = last_ - first_;
  const size_t name = options_.width >= 140 ? 20 : options_.width >= 100 ? 11 : 8;
  std::string text = absl::StrCat(tools::Counted(frames_, "frame"), " on ", tools::Counted(connections_, "connection"));
  if (first_ != absl::InfinitePast()) absl::StrAppend(&text, " in ", CompactTime(time));
  if (broken_rules_ > 0) absl::StrAppend(&text, ", ", style.Bad(absl::StrCat(broken_rules_, " broke a rule")));
  if (skipped_bytes_ > 0)
    absl::StrAppend(&text, ", ", style.Bad(absl::StrCat(tools::Counted(skipped_bytes_, "byte"), " skipped")));
  if (lost_frames_ > 0)
    absl::StrAppend(&text, ", ", style.Bad(absl::StrCat(tools::Counted(lost_frames_, "frame"), " lost")));
  text += "\n\n";
  const bool is_wide = options_.width >= 100;
  const bool has_rate = options_.width >= 80;
  std::string groups(name + 1 + name + 1 + kCountColumns + (has_rate ? kRateColumns + 1 : 0), ' ');
  std::string head = Fit("channel", name) + " " + Fit("method", name) + " " + FitLeft("count", kCountColumns);
  if (has_rate) head += " " + FitLeft("/s", kRateColumns);
  for (const std::string_view what : {"queued", "total"}) {
    const std::string names =
        ForEachPercentile(options_.width, [](double, std::string_view percentile) { return std::string(percentile); });
    groups += "  " + Fit(FitLeft(what, kTimeColumns), names.size() - 2);
    head += names;
  }
  groups.erase(groups.find_last_not_of(' ') + 1);
  text += style.Dim(groups) + "\n";
  if (is_wide) head += " " + FitLeft("sent", kBytesColumns) + " " + FitLeft("back", kBytesColumns);
  text += style.Dim(head) + "\n";
  for (const auto& [key, row] : rows_) {
    std::string line =
        Fit(key.first, name) + " " + Fit(key.second, name) + " " + FitLeft(absl::StrCat(row.count), kCountColumns);
    if (has_rate) line += " " + FitLeft(Rate(row.count, time), kRateColumns);
    line += Percentiles(row.queue_wait, options_.width) + Percentiles(row.total, options_.width);
    if (is_wide) {
      for (const uint64_t bytes : {row.request_bytes, row.response_bytes}) {
        line += " " + FitLeft(absl::StrCat(row.has_missed ? ">" : "", CompactBytes(bytes)), kBytesColumns);
      }
    }
    text += line + "\n";
    size_t column = 0;
    for (const auto& [end, count] : row.ends) {
      const std::string words = absl::StrCat(count, " ", end);
      if (column > 0 && column + 2 + words.size() > options_.width) column = 0;
      if (column == 0 && &end != &row.ends.begin()->first) text += ",\n";
      text += column == 0 ? "  " : ", ";
      column += 2 + words.size();
      text += end == "OK" ? words : style.Bad(words);
    }
    text += "\n";
  }
  if (slowest_.empty()) return text;
  text += "\n" + style.Dim("slowest") + "\n";
  for (const Slow& slow : slowest_) text += "  " + slow.line + "\n";
  return text;
}

void SummarySink::OnTick(absl::Time now) {
  last_ = std::max(last_, now);
  if (in_place_) Draw(/*is_last=*/false);
}

void SummarySink::Draw(bool is_last) {
  std::string text = Text();
  auto lines = static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
  // No more than the terminal holds, or what was drawn before could not be drawn over.
  const size_t rows = in_place_ && !is_last ? TerminalRows(STDOUT_FILENO) : 0;
  if (rows > 3 && lines > rows - 1) {
    const size_t kept = rows - 2;
    size_t end = 0;
    for (size_t line = 0; line < kept; ++line) end = text.find('\n', end) + 1;
    text.resize(end);
    text += options_.style.Dim(absl::StrCat("\xe2\x80\xa6 and ", lines - kept, " lines more")) + "\n";
    lines = kept + 1;
  }
  std::string frame;
  if (drawn_lines_ > 0) absl::StrAppend(&frame, "\r\x1b[", drawn_lines_, "A");
  if (in_place_) frame += "\x1b[J";
  out_.Write(frame + text);
  drawn_lines_ = lines;
}

absl::Status SummarySink::Finish() {
  Draw(/*is_last=*/true);
  return out_.Flush();
}

}  // namespace relay::inspect

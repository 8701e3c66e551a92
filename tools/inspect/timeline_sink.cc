#include "tools/inspect/timeline_sink.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tools/inspect/exchange_fields.h"
#include "tools/inspect/words.h"
#include "tools/relay/text.h"

namespace relay::inspect {
namespace {

constexpr size_t kLabelColumns = 18;
constexpr size_t kNoteColumns = 26;

// What became of an attempt that ended before its exchange did, or with it.
std::string_view WordsOf(Attempt::End end) {
  switch (end) {
    case Attempt::End::kNone:
      return "";
    case Attempt::End::kLost:
      return ", lost";
    case Attempt::End::kGivenBack:
      return ", given back";
    case Attempt::End::kTakenAway:
      return ", taken away";
  }
  return "";
}

constexpr std::string_view kFull = "\xe2\x96\x88";
constexpr std::string_view kLight = "\xe2\x96\x91";
constexpr std::string_view kLine = "\xe2\x94\x80";

// Times to columns, and rows of them.
class Drawing {
 public:
  Drawing(const Exchange& exchange, size_t width, const Style& style)
      : exchange_(exchange),
        style_(style),
        columns_(std::max(width, TextOptions::kLeastWidth) - kLabelColumns - kNoteColumns - 1),
        total_(std::max(Total(exchange).value_or(absl::ZeroDuration()), absl::Microseconds(1))),
        colour_(Style::ColourOf(exchange.request)) {}

  std::string Draw();

 private:
  size_t ColumnOf(absl::Time at) const {
    const double part = absl::FDivDuration(at - exchange_.began, total_);
    const double column = std::floor(part * static_cast<double>(columns_));
    return static_cast<size_t>(std::clamp(column, 0.0, static_cast<double>(columns_ - 1)));
  }
  void Row(std::string_view label, const std::vector<std::string>& cells, std::string_view sgr, std::string_view note);
  // From one time to another, at least a cell.
  void Bar(std::string_view label, absl::Time from, absl::Time to, std::string_view sgr, std::string_view note);
  void Scale();
  void Stream(std::string_view label, const Exchange::Stream& stream);
  void Stalls(const Exchange::Stream& stream);
  void Attempts();
  // As the server says it, where it does; what was seen is later by the way to the receiver.
  absl::Time FirstHandedOut() const;
  std::vector<std::string> Blank() const { return std::vector<std::string>(columns_, " "); }

  const Exchange& exchange_;
  const Style& style_;
  const size_t columns_;
  const absl::Duration total_;
  const std::string colour_;
  std::string drawn_;
};

void Drawing::Row(std::string_view label, const std::vector<std::string>& cells, std::string_view sgr,
                  std::string_view note) {
  std::string bar;
  for (const std::string& cell : cells) bar += cell;
  std::string line = Fit(label, kLabelColumns - 1) + " " + style_.Paint(sgr, bar) + " " + std::string(note);
  line.erase(line.find_last_not_of(' ') + 1);
  drawn_ += line + "\n";
}

void Drawing::Bar(std::string_view label, absl::Time from, absl::Time to, std::string_view sgr, std::string_view note) {
  // What is less than half a column is not drawn as a whole one.
  if ((to - from) * 2 * static_cast<double>(columns_) < total_) return;
  std::vector<std::string> cells = Blank();
  for (size_t i = ColumnOf(from); i <= ColumnOf(std::max(from, to - absl::Nanoseconds(1))); ++i) cells[i] = kFull;
  Row(label, cells, sgr, note);
}

void Drawing::Scale() {
  // Round times, no nearer to each other than their labels allow; the end has its own.
  constexpr size_t kMarkColumns = 12;
  absl::Duration step = absl::Microseconds(1);
  const auto columns = static_cast<double>(columns_);
  for (size_t i = 0; columns * absl::FDivDuration(step, total_) < kMarkColumns; ++i) step *= i % 3 == 1 ? 2.5 : 2.0;
  const std::string end = CompactTime(total_);
  std::string text;
  for (absl::Duration at; at < total_; at += step) {
    const std::string mark = CompactTime(at);
    const size_t column = ColumnOf(exchange_.began + at);
    if (column + mark.size() + 1 + end.size() > columns_) break;
    text.resize(column, ' ');
    text += mark;
  }
  text.resize(columns_ - std::min(columns_, end.size()), ' ');
  drawn_ += style_.Dim(std::string(kLabelColumns, ' ') + text + end) + "\n";
}

// How much passed in each column, as the height of a bar.
void Drawing::Stream(std::string_view label, const Exchange::Stream& stream) {
  constexpr std::array<std::string_view, 8> kHeights = {"\xe2\x96\x81", "\xe2\x96\x82", "\xe2\x96\x83", "\xe2\x96\x84",
                                                        "\xe2\x96\x85", "\xe2\x96\x86", "\xe2\x96\x87", "\xe2\x96\x88"};
  if (stream.frames == 0) return;
  std::vector<uint64_t> bytes(columns_, 0);
  uint64_t before = 0;
  for (const auto& [at, sum] : stream.body) {
    bytes[ColumnOf(at)] += sum - before;
    before = sum;
  }
  const uint64_t most = std::max<uint64_t>(1, *std::max_element(bytes.begin(), bytes.end()));
  std::vector<std::string> cells = Blank();
  for (size_t i = ColumnOf(stream.first); i <= ColumnOf(stream.last); ++i) cells[i] = kLine;
  for (size_t i = 0; i < columns_; ++i) {
    if (bytes[i] == 0) continue;
    const auto height = static_cast<size_t>(7.0 * static_cast<double>(bytes[i]) / static_cast<double>(most));
    cells[i] = kHeights[height];
  }
  const std::string bytes_text = CompactBytes(stream.body_bytes);
  const std::string frames_text = tools::Counted(stream.frames, "frame");
  Row(label, cells, colour_,
      exchange_.has_missed ? absl::StrCat("at least ", bytes_text) : absl::StrCat(bytes_text, " in ", frames_text));
}

void Drawing::Stalls(const Exchange::Stream& stream) {
  if (stream.stalls.empty() || stream.stalled < total_ / 1000) return;
  std::vector<std::string> cells = Blank();
  for (const Exchange::Stall& stall : stream.stalls) {
    for (size_t i = ColumnOf(stall.from); i <= ColumnOf(stall.to); ++i) cells[i] = kLight;
  }
  const std::string time_text = CompactTime(stream.stalled);
  const auto percent = static_cast<int>(100 * absl::FDivDuration(stream.stalled, total_) + 0.5);
  Row("  out of credit", cells, "31",
      exchange_.has_missed ? absl::StrCat("at least ", time_text) : absl::StrCat(time_text, ", ", percent, "% of all"));
}

absl::Time Drawing::FirstHandedOut() const {
  const Attempt& first = exchange_.attempts[0];
  const bool is_told = exchange_.sender_seen && exchange_.queue_wait.has_value() && exchange_.attempts.size() == 1;
  if (!is_told || first.number != 1) return first.at;
  return std::min(first.at, exchange_.began + *exchange_.queue_wait);
}

void Drawing::Attempts() {
  if (exchange_.attempts.empty()) {
    // No receiver was seen. Where the server has not said how long the request was queued, it may have been refused.
    if (!exchange_.queue_wait.has_value()) {
      const bool was_handed_out = exchange_.attempt > 0 || exchange_.response_stream.frames > 0;
      if (was_handed_out) {
        const std::string note = exchange_.attempt > 0 ? absl::StrCat("attempt ", exchange_.attempt) : "";
        return Bar("handed out", exchange_.began, exchange_.ended, IsGoodEnd(exchange_) ? "32" : "31", note);
      }
      if (exchange_.may_have_run == false) return;
      return Bar("unanswered", exchange_.began, exchange_.ended, "33", "queued, or handed out");
    }
    if (*exchange_.queue_wait == exchange_.ended - exchange_.began) {
      return Bar("queued", exchange_.began, exchange_.ended, "33", "never handed out");
    }
    const absl::Time assigned = exchange_.began + *exchange_.queue_wait;
    if (*exchange_.queue_wait > absl::ZeroDuration()) {
      Bar("queued", exchange_.began, assigned, "33", CompactTime(*exchange_.queue_wait));
    }
    return Bar(absl::StrCat("at ", ShortId(exchange_.receiver)), assigned, exchange_.ended, "32",
               CompactTime(exchange_.ended - assigned));
  }
  absl::Time queued_from = exchange_.sender_seen ? exchange_.began : exchange_.attempts[0].at;
  for (size_t i = 0; i < exchange_.attempts.size(); ++i) {
    const Attempt& attempt = exchange_.attempts[i];
    const absl::Time at = i == 0 ? FirstHandedOut() : attempt.at;
    if (at > queued_from) {
      Bar(i == 0 ? "queued" : "queued again", queued_from, at, "33", CompactTime(at - queued_from));
    }
    const bool is_last = i + 1 == exchange_.attempts.size();
    const absl::Time next = is_last ? exchange_.ended : exchange_.attempts[i + 1].at;
    const absl::Time to = std::max(attempt.at, std::min(next, attempt.ended));
    std::string note = CompactTime(to - at);
    if (attempt.number > 1) absl::StrAppend(&note, ", attempt ", attempt.number);
    // Who sees the sender alone hears of the next attempt, and not of what ended this one.
    const Attempt::End end = attempt.end == Attempt::End::kNone && !is_last ? Attempt::End::kLost : attempt.end;
    note += WordsOf(end);
    const bool is_good = end == Attempt::End::kNone && (!is_last || IsGoodEnd(exchange_));
    Bar(absl::StrCat("at ", ShortId(attempt.receiver)), at, to, is_good ? "32" : "31", note);
    queued_from = to;
  }
  const Attempt& last = exchange_.attempts.back();
  const bool is_again = last.end == Attempt::End::kLost || last.end == Attempt::End::kGivenBack;
  if (is_again && last.ended < exchange_.ended) {
    Bar("queued again", queued_from, exchange_.ended, "33", CompactTime(exchange_.ended - queued_from));
  }
}

std::string Drawing::Draw() {
  const std::string channel =
      exchange_.channel_name.empty() ? ShortId(exchange_.channel) : tools::Printable(exchange_.channel_name, 64);
  std::string head = absl::StrCat(style_.Paint(colour_, ShortId(exchange_.request)), "  ", channel);
  if (!exchange_.method.empty()) absl::StrAppend(&head, "  ", tools::Printable(exchange_.method, 64));
  const std::string end = exchange_.end == "open" ? "open at the end of the capture" : EndWords(exchange_);
  absl::StrAppend(&head, "  ", CompactTime(total_), "  ", IsGoodEnd(exchange_) ? end : style_.Bad(end));
  if (!exchange_.message.empty()) absl::StrAppend(&head, ": ", tools::Printable(exchange_.message, 200));
  drawn_ = head + "\n";
  Scale();
  Attempts();
  Stream(absl::StrCat("request ", std::string(kToServerArrow)), exchange_.request_stream);
  Stalls(exchange_.request_stream);
  Stream(absl::StrCat("response ", std::string(kToClientArrow)), exchange_.response_stream);
  Stalls(exchange_.response_stream);
  return drawn_;
}

}  // namespace

std::string DrawTimeline(const Exchange& exchange, size_t width, const Style& style) {
  return Drawing(exchange, width, style).Draw();
}

bool MayName(std::string_view wanted) {
  constexpr size_t kIdCharacters = 36;
  return wanted.size() >= 4 && wanted.size() <= kIdCharacters &&
         wanted.find_first_not_of("0123456789abcdef-") == std::string_view::npos;
}

bool IsNamed(const proto::Uuid& request, std::string_view wanted) {
  return ShortId(request) == wanted || proto::ToString(request).starts_with(wanted);
}

void TimelineSink::OnFrame(const SeenFrame& frame) {
  if (request_ != "all" && IsNamed(frame.request(), request_)) was_seen_ = true;
}

void TimelineSink::OnExchange(const Exchange& exchange) {
  if (request_ != "all" && !IsNamed(exchange.request, request_)) return;
  if (exchange.began == absl::InfinitePast()) {
    has_no_times_ = true;
    return;
  }
  if (drawn_++ > 0) out_.Write("\n");
  out_.Write(DrawTimeline(exchange, options_.width, options_.style));
}

absl::Status TimelineSink::Finish() {
  if (absl::Status status = out_.Flush(); !status.ok()) return status;
  if (drawn_ > 0) return absl::OkStatus();
  const std::string what = request_ == "all" ? "request" : absl::StrCat("request ", request_);
  return absl::FailedPreconditionError(
      has_no_times_ ? absl::StrCat("--timeline: a raw capture has no times, so no ", what, " can be drawn")
      : was_seen_   ? absl::StrCat("--timeline: where ", what, " begins is not in the trace, so it cannot be drawn")
                    : absl::StrCat("--timeline: no ", what, " was seen"));
}

}  // namespace relay::inspect

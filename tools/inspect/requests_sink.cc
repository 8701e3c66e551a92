#include "tools/inspect/requests_sink.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tools/inspect/exchange_fields.h"
#include "tools/inspect/words.h"
#include "tools/relay/text.h"

namespace relay::inspect {
namespace {

// 0 leaves a column out.
struct Layout {
  size_t time;
  size_t name;  // of the channel, and of the method
  size_t client;
  bool has_bytes;
};

constexpr size_t kTimeColumns = 6;  // of a duration
constexpr size_t kSizeColumns = 5;

Layout LayoutOf(size_t width) {
  if (width >= 140) return {11, 18, 8, true};
  if (width >= 100) return {8, 8, 6, true};
  return {0, 7, 0, width >= 80};
}

std::string Duration(std::optional<absl::Duration> duration) {
  return FitLeft(duration.has_value() ? CompactTime(*duration) : "-", kTimeColumns);
}

}  // namespace

void RequestsSink::OnExchange(const Exchange& exchange) {
  const Style& style = options_.style;
  const Layout layout = LayoutOf(options_.width);
  if (!std::exchange(has_head_, true)) {
    std::string head;
    if (layout.time > 0) head += FitLeft("began", layout.time) + " ";
    head += Fit("request", 8) + " " + Fit("channel", layout.name) + " " + Fit("method", layout.name) + " ";
    if (layout.client > 0) {
      head += Fit("sender", layout.client) + " " + Fit(layout.client < 8 ? "recv" : "receiver", layout.client) + " ";
    }
    head += "# " + FitLeft("queued", kTimeColumns) + " " + FitLeft("first", kTimeColumns) + " " +
            FitLeft("total", kTimeColumns) + " ";
    if (layout.has_bytes) head += FitLeft("sent", kSizeColumns) + " " + FitLeft("back", kSizeColumns) + " ";
    head += "end";
    out_.Write(style.Dim(head) + "\n");
  }
  std::string line;
  if (layout.time > 0) {
    char text[48] = "-";
    if (exchange.began != absl::InfinitePast()) {
      std::snprintf(text, sizeof(text), "%.*f", layout.time > 10 ? 6 : 4,
                    absl::ToDoubleSeconds(exchange.began - first_));
    }
    line += style.Dim(FitLeft(text, layout.time)) + " ";
  }
  line += style.Paint(Style::ColourOf(exchange.request), Fit(ShortId(exchange.request), 8)) + " ";
  const std::string channel = exchange.channel_name.empty() ? ShortId(exchange.channel) : exchange.channel_name;
  line += Fit(tools::Printable(channel, 255), layout.name) + " ";
  line += Fit(tools::Printable(exchange.method, 255), layout.name) + " ";
  const auto client = [&layout](const proto::Uuid& id) {
    return Fit(ShortId(id).substr(0, layout.client), layout.client) + " ";
  };
  if (layout.client > 0) line += client(exchange.sender) + client(exchange.receiver);
  const bool is_again = exchange.attempt > 1;
  const std::string attempt = exchange.attempt == 0 ? "-" : exchange.attempt > 9 ? "+" : absl::StrCat(exchange.attempt);
  line += (is_again ? style.Warn(attempt) : attempt) + " ";
  line += Duration(exchange.queue_wait) + " " + Duration(FirstByte(exchange)) + " " + Duration(Total(exchange)) + " ";
  if (layout.has_bytes) {
    for (const Exchange::Stream* const stream : {&exchange.request_stream, &exchange.response_stream}) {
      line += FitLeft(exchange.has_missed ? "-" : CompactBytes(stream->body_bytes), kSizeColumns) + " ";
    }
  }
  std::string end = EndWords(exchange);
  if (exchange.broken_rules > 0) end = "! " + end;
  line += IsGoodEnd(exchange) && exchange.broken_rules == 0 ? end : style.Bad(end);
  out_.Write(line + "\n");
}

}  // namespace relay::inspect

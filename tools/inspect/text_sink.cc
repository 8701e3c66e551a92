#include "tools/inspect/text_sink.h"

#include <algorithm>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "tools/inspect/fields.h"
#include "tools/inspect/words.h"
#include "tools/relay/text.h"

namespace relay::inspect {
namespace {

using proto::FrameType;

constexpr size_t kTypeColumns = 7;
constexpr size_t kFlagColumns = 7;  // "req FIM"
constexpr size_t kRequestColumns = 8;
constexpr size_t kSizeColumns = 5;
constexpr size_t kTruncatedDumpBytes = 32;

// A column and the space before it; nothing where it has no room.
std::string Column(std::string_view text, size_t columns) { return columns == 0 ? "" : " " + Fit(text, columns); }

bool IsHeartbeat(const SeenFrame& frame) { return frame.is(FrameType::kPing) || frame.is(FrameType::kPong); }

bool IsBadEnd(const SeenFrame& frame) {
  if (!frame.has_known_type() || frame.content->state != Payload::State::kParsed) return false;
  if (frame.type() == FrameType::kReset) return true;
  if (frame.type() == FrameType::kGoaway || frame.type() == FrameType::kLeave) return frame.content->status.code() != 0;
  return frame.type() == FrameType::kEnd && frame.content->end.status().code() != 0;
}

}  // namespace

TextSink::TextSink(const TextOptions& options, Output& out)
    : options_(options),
      layout_(options.width >= 140   ? Layout{11, 4, 5, kFlagColumns, 20, 6}
              : options.width >= 100 ? Layout{10, 3, 3, kFlagColumns, 10, 6}
              : options.width >= 80  ? Layout{8, 2, 2, kFlagColumns, 7, 4}
                                     : Layout{8, 2, 2, 0, 0, 4}),
      out_(out) {}

std::string TextSink::TimeText(absl::Time at, uint64_t offset) {
  if (at == absl::InfinitePast()) return absl::StrCat("@", offset);
  const absl::Time before = std::exchange(last_, at);
  if (options_.times == TextOptions::Times::kClock) {
    return absl::FormatTime(layout_.digits == 6 ? "%H:%M:%E6S" : "%H:%M:%E3S", at, absl::LocalTimeZone());
  }
  const bool is_delta = options_.times == TextOptions::Times::kDelta;
  char text[48];
  std::snprintf(text, sizeof(text), is_delta ? "%+.*f" : "%.*f", static_cast<int>(layout_.digits),
                absl::ToDoubleSeconds(at - (is_delta ? before : first_)));
  return text;
}

void TextSink::PrintHead() {
  if (std::exchange(has_head_, true)) return;
  std::string line = " ";
  line += FitLeft("time", options_.times == TextOptions::Times::kClock ? layout_.digits + 9 : layout_.time);
  line += " " + FitLeft(layout_.connection > 3 ? "conn" : layout_.connection > 2 ? "con" : "co", layout_.connection);
  line += "   " + FitLeft(layout_.slot > 3 ? "slot" : layout_.slot > 2 ? "slt" : "sl", layout_.slot);
  line += Column("type", kTypeColumns) + Column("flags", layout_.flags) + Column("request", kRequestColumns) +
          Column("channel", layout_.channel) + " " + FitLeft("size", kSizeColumns) + "  what it says";
  PrintLine(options_.style.Dim(line));
}

void TextSink::OnOpen(const Opening& opening) {
  const Place place{opening.connection, Direction::kToServer, opening.at};
  std::string text = absl::StrCat("connection ", opening.connection);
  if (!opening.client.empty()) absl::StrAppend(&text, ": ", tools::Printable(opening.client, 256));
  if (!opening.server.empty()) absl::StrAppend(&text, " to ", tools::Printable(opening.server, 256));
  if (!opening.from_start) text += ", from its middle on";
  PrintNote(place, 0, text, false, false);
  if (opening.in_order) return;
  PrintBelow(
      "without times: which of a request's frames came before which of its answer's is not known. Each direction "
      "is judged by its own order; whether frames are late, slots free and credit kept is not judged",
      false);
}

void TextSink::OnFrame(const SeenFrame& frame) {
  PrintHead();
  const Style& style = options_.style;
  const bool is_broken = frame.rule != Rule::kNone;
  const std::string colour = frame.request() == proto::kNilUuid ? "" : Style::ColourOf(frame.request());
  std::string line(is_broken ? style.Bad("!") : frame.is_late ? style.Dim("~") : " ");
  line += style.Dim(FitLeft(TimeText(frame.at, frame.offset), layout_.time));
  line += " " + FitLeft(absl::StrCat(frame.connection), layout_.connection);
  const bool to_server = frame.direction == Direction::kToServer;
  line += " " + style.Paint(colour, to_server ? kToServerArrow : kToClientArrow);
  line += " " + FitLeft(frame.header.slot() == 0 ? "" : absl::StrCat(frame.header.slot()), layout_.slot);
  const std::string type = Fit(TypeName(frame), kTypeColumns);
  line += " ";
  if (IsHeartbeat(frame) || frame.is_late) {
    line += style.Dim(type);
  } else {
    line += frame.is(FrameType::kStart) ? style.Bold(type) : IsBadEnd(frame) ? style.Warn(type) : type;
  }
  line += Column(FlagLetters(frame), layout_.flags);
  line += " " + style.Paint(colour, Fit(ShortId(frame.request()), kRequestColumns));
  std::string channel(frame.channel_name);
  if (channel.empty()) channel = ShortId(frame.channel);
  line += Column(tools::Printable(channel, 255), layout_.channel);
  line += " " + style.Dim(FitLeft(CompactBytes(frame.payload_bytes), kSizeColumns));

  std::string words = PayloadWords(frame);
  if (frame.is_late) words = words.empty() ? "late" : "late: " + words;
  if (!words.empty()) {
    line += "  ";
    line += IsHeartbeat(frame) || frame.is_late ? style.Dim(words) : IsBadEnd(frame) ? style.Warn(words) : words;
  }
  line.erase(line.find_last_not_of(' ') + 1);
  PrintLine(line);
  if (is_broken) {
    const RuleInfo& info = InfoOf(frame.rule);
    PrintBelow(absl::StrCat(std::string(info.name), ": ", std::string(frame.rule_words), " (PROTOCOL.md, \"",
                            std::string(info.section), "\")"),
               true);
  }
  if (options_.is_verbose) PrintVerbose(frame);
}

void TextSink::PrintVerbose(const SeenFrame& frame) {
  constexpr size_t kIndent = 31;
  for (const Field& field : FieldsOf(frame)) {
    if (TextOf(field.value).empty()) continue;
    PrintWrapped("    " + options_.style.Dim(Fit(field.name, kIndent - 5)) + " ", std::string(kIndent, ' '), kIndent,
                 TextOf(field.value), "");
  }
  PrintDump(frame.offset, frame.header.bytes(), UINT64_MAX);
  const size_t dumped = std::min(frame.payload.size(), options_.dump_bytes);
  PrintDump(frame.offset + proto::kHeaderBytes, frame.payload.first(dumped), UINT64_MAX);
  if (frame.payload_bytes > dumped) {
    PrintLine(
        options_.style.Dim(absl::StrCat("    and ", tools::Counted(frame.payload_bytes - dumped, "byte"), " more")));
  }
}

void TextSink::PrintDump(uint64_t offset, std::span<const uint8_t> bytes, uint64_t marked_from) {
  const size_t in_line = options_.width < 80 ? 8 : 16;
  for (size_t at = 0; at < bytes.size(); at += in_line) {
    const std::span<const uint8_t> row = bytes.subspan(at, std::min(in_line, bytes.size() - at));
    std::string hex;
    std::string text;
    for (size_t i = 0; i < in_line; ++i) {
      if (i == 8) hex += ' ';
      if (i >= row.size()) {
        hex += "   ";
        continue;
      }
      const bool is_marked = offset + at + i >= marked_from;
      const std::string digits = absl::StrCat(absl::Hex(row[i], absl::kZeroPad2));
      hex += " " + (is_marked ? options_.style.Bad(digits) : digits);
      text += row[i] >= 0x20 && row[i] < 0x7f ? static_cast<char>(row[i]) : '.';
    }
    PrintLine(absl::StrCat("    ", options_.style.Dim(FitLeft(absl::StrCat(offset + at), 8)), " ", hex, "  ", text));
  }
}

void TextSink::PrintNote(const Place& place, uint64_t offset, std::string_view text, bool is_bad, bool has_arrow) {
  PrintHead();
  const Style& style = options_.style;
  std::string line = is_bad ? style.Bad("!") : " ";
  line += style.Dim(FitLeft(TimeText(place.at, offset), layout_.time));
  line += " " + FitLeft(absl::StrCat(place.connection), layout_.connection) + " ";
  line += has_arrow ? place.direction == Direction::kToServer ? kToServerArrow : kToClientArrow : " ";
  line += " ";
  PrintLine(line + (is_bad ? style.Bad(text) : style.Dim(text)));
}

void TextSink::PrintWrapped(std::string_view first, std::string_view below, size_t indent, std::string_view text,
                            std::string_view sgr) {
  const size_t room = options_.wraps_lines ? options_.width - indent : SIZE_MAX;
  std::string_view before = first;
  for (const std::string_view part : Wrap(text, room)) {
    PrintLine(absl::StrCat(std::string(before), options_.style.Paint(sgr, part)));
    before = below;
  }
}

void TextSink::PrintBelow(std::string_view text, bool is_bad) {
  const Style& style = options_.style;
  const size_t indent = layout_.time + layout_.connection + layout_.slot + 6;
  const std::string before = (is_bad ? style.Bad("!") : " ") + std::string(indent - 1, ' ');
  PrintWrapped(before, before, indent, text, is_bad ? "1;31" : "2");
}

void TextSink::OnDamage(const Place& place, const Damage& damage) {
  const RuleInfo& info = InfoOf(damage.rule);
  PrintNote(place, damage.offset, absl::StrCat("damage at byte ", damage.offset, ": ", std::string(info.name)), true);
  std::string words(info.words);
  if (damage.rule == Rule::kPayloadTooLarge) {
    absl::StrAppend(&words, ", which ",
                    damage.limit_bytes > 0 ? absl::StrCat("is ", damage.limit_bytes) : "no WELCOME has told",
                    "; this header says ", damage.said_bytes);
  }
  PrintBelow(absl::StrCat(words, " (PROTOCOL.md, \"", std::string(info.section), "\")"), true);
  PrintDump(damage.around_offset, damage.around, damage.offset);
}

void TextSink::OnSkipped(const Place& place, const Skipped& skipped) {
  std::string text = absl::StrCat("skipped ", tools::Counted(skipped.bytes, "byte"), ", from ", skipped.offset, " to ",
                                  skipped.offset + skipped.bytes);
  switch (skipped.why) {
    case Skipped::Why::kDamage:
      break;
    case Skipped::Why::kTruncated:
      text = skipped.frame_bytes > 0
                 ? absl::StrCat("ends inside of a frame: ", skipped.bytes, " of its ",
                                tools::Counted(skipped.frame_bytes, "byte"), ", from ", skipped.offset)
                 : absl::StrCat("ends inside of ", skipped.is_preface ? "the preface: " : "a header: ",
                                tools::Counted(skipped.bytes, "byte"), ", from ", skipped.offset);
      break;
    case Skipped::Why::kGap:
      absl::StrAppend(&text, ": beside a gap");
      break;
    case Skipped::Why::kBeginsInside:
      absl::StrAppend(&text, ": the capture begins inside of a frame");
      break;
  }
  PrintNote(place, skipped.offset, text, true);
  if (skipped.why == Skipped::Why::kTruncated) {
    PrintDump(skipped.offset, skipped.begun.first(std::min<size_t>(skipped.begun.size(), kTruncatedDumpBytes)),
              UINT64_MAX);
  }
}

void TextSink::OnGap(const Place& place, uint64_t offset, uint64_t bytes) {
  const std::string how_many = bytes == 0 ? "bytes are" : bytes == 1 ? "1 byte is" : absl::StrCat(bytes, " bytes are");
  PrintNote(place, offset, absl::StrCat(how_many, " missing, from ", offset), true);
}

void TextSink::OnLost(uint64_t frames, absl::Time at) {
  PrintHead();
  PrintLine(
      absl::StrCat(options_.style.Bad("!"), options_.style.Dim(FitLeft(TimeText(at, 0), layout_.time)), " ",
                   options_.style.Bad(absl::StrCat(tools::Counted(frames, "frame"), frames == 1 ? " was" : " were",
                                                   " lost: this observer was too slow"))));
}

void TextSink::OnClose(const Place& place) {
  PrintNote(place, 0, place.direction == Direction::kToServer ? "the client says no more" : "the server says no more",
            false);
}

}  // namespace relay::inspect

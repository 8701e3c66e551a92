#include "tools/inspect/words.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "proto/utf8.h"
#include "relay/status.h"
#include "tools/relay/text.h"

namespace relay::inspect {
namespace {

using proto::FrameType;
namespace flag = proto::flag;

constexpr size_t kMaxTextBytes = 1024;  // of one field in a line
constexpr uint32_t kLastCode = static_cast<uint32_t>(StatusCode::kUnauthenticated);

template <typename... Args>
std::string Format(const char* format, Args... args) {
  std::array<char, 64> text;
  std::snprintf(text.data(), text.size(), format, args...);
  return text.data();
}

std::string Clean(std::string_view text) { return tools::Printable(text, kMaxTextBytes); }

// The parts that say something, with commas between.
class Parts {
 public:
  void Add(std::string_view part) {
    if (part.empty()) return;
    if (!text_.empty()) text_ += ", ";
    text_ += part;
  }
  std::string Take() { return std::move(text_); }

 private:
  std::string text_;
};

std::string Milliseconds(uint32_t ms) { return CompactTime(absl::Milliseconds(ms)); }

template <typename Fields>
std::string FieldWords(const Fields& fields) {
  std::string text;
  for (const v1::Field& field : fields) {
    if (!text.empty()) text += ' ';
    text += Clean(field.key()) + "=" + Clean(field.value());
  }
  return text;
}

std::string HelloWords(const v1::Hello& hello) {
  Parts parts;
  parts.Add(Clean(hello.agent()));
  parts.Add(absl::StrCat("version ", hello.version()));
  if (hello.observer()) parts.Add("observer");
  if (!hello.token().empty()) parts.Add("with a token");
  return parts.Take();
}

std::string WelcomeWords(const v1::Welcome& welcome) {
  Parts parts;
  parts.Add(Clean(welcome.agent()));
  parts.Add(absl::StrCat("window ", CompactBytes(welcome.initial_window_bytes()), " to ",
                         CompactBytes(welcome.max_window_bytes())));
  parts.Add(absl::StrCat("payload ", CompactBytes(welcome.max_payload_bytes())));
  parts.Add(absl::StrCat("start ", CompactBytes(welcome.max_start_bytes())));
  parts.Add(
      absl::StrCat("heartbeat ", Milliseconds(welcome.heartbeat_interval_ms()), " x ", welcome.heartbeat_misses()));
  parts.Add(tools::Counted(welcome.max_clients_per_connection(), "client"));
  parts.Add(tools::Counted(welcome.max_attempts(), "attempt"));
  return parts.Take();
}

// What it names, though it may join nobody.
std::string JoinWords(const SeenFrame& frame) {
  const v1::Join& join = frame.content->join;
  Parts parts;
  if (const auto client = proto::UuidFromBytes(join.client_id())) parts.Add("client " + ShortId(*client));
  const std::string& name = join.channel_name();
  if (!name.empty() && name != frame.channel_name) parts.Add("channel " + Clean(name));
  if (!join.key().empty()) parts.Add("with a key");
  return parts.Take();
}

std::string ReceiveWords(const v1::Receive& receive, bool to_server) {
  if (!to_server) return receive.withdraw() ? "withdrawn" : "nothing came";
  if (receive.withdraw()) return "withdraws";
  if (!receive.has_wait_ms()) return "waits";
  return receive.wait_ms() == 0 ? "asks, waits not" : absl::StrCat("waits ", Milliseconds(receive.wait_ms()));
}

std::string StartWords(const SeenFrame& frame) {
  const Payload& content = *frame.content;
  const bool is_request = frame.header.has(flag::kRequest);
  const bool to_client = frame.direction == Direction::kToClient;
  Parts parts;
  parts.Add(Clean(content.start.method()));
  if (to_client) {
    // Of a later attempt it is not the queue alone in which the time has passed.
    const std::string since = CompactTime(absl::Microseconds(content.queue_wait_us));
    parts.Add(content.attempt > 1 ? absl::StrCat("attempt ", content.attempt, ", ", since, " old")
                                  : absl::StrCat("queued ", since));
  }
  if (content.timeout_ms != 0)
    parts.Add(absl::StrCat(to_client ? "" : "timeout ", Milliseconds(content.timeout_ms), to_client ? " left" : ""));
  if (content.max_extension_ms != 0) parts.Add(absl::StrCat("extends to ", Milliseconds(content.max_extension_ms)));
  parts.Add(FieldWords(content.start.metadata()));
  parts.Add(Clean(content.start.content_type()));
  if (content.body_bytes > 0) parts.Add(absl::StrCat("body ", CompactBytes(content.body_bytes)));
  if (to_client && content.other_client != proto::kNilUuid) {
    parts.Add(absl::StrCat(is_request ? "from " : "by ", ShortId(content.other_client)));
  }
  return parts.Take();
}

std::string ObserveWords(const v1::Observe& observe) {
  const auto id = [](std::string_view what, const std::string& bytes) {
    const auto parsed = proto::UuidFromBytes(bytes);
    return parsed.has_value() ? std::string(what) + ShortId(*parsed) : std::string();
  };
  Parts parts;
  parts.Add(id("channel ", observe.channel_id()));
  parts.Add(id("client ", observe.client_id()));
  parts.Add(id("request ", observe.request_id()));
  std::string words = parts.Take();
  if (words.empty()) words = "everything";
  return absl::StrCat(words, ", ", tools::Counted(observe.snap_bytes(), "byte"), " of each");
}

std::string CreditWords(const SeenFrame& frame) {
  if (!frame.credit.has_value()) return "";
  if (frame.credit->left() <= proto::kChunkOverheadBytes) return "credit used up";
  return absl::StrCat("credit ", CompactBytes(frame.credit->left()));
}

std::string ContentWords(const SeenFrame& frame) {
  const Payload& content = *frame.content;
  const bool to_server = frame.direction == Direction::kToServer;
  switch (frame.type()) {
    case FrameType::kHello:
      return HelloWords(content.hello);
    case FrameType::kWelcome:
      return WelcomeWords(content.welcome);
    case FrameType::kJoin:
      return JoinWords(frame);
    case FrameType::kLeave:
      if (to_server && content.status.code() == 0 && content.status.message().empty()) return "leaves";
      return StatusWords(content.status);
    case FrameType::kGoaway:
      return StatusWords(content.status);
    case FrameType::kReceive:
      return ReceiveWords(content.receive, to_server);
    case FrameType::kStart:
      return StartWords(frame);
    case FrameType::kChunk:
      return CreditWords(frame);
    case FrameType::kEnd: {
      Parts parts;
      parts.Add(StatusWords(content.end.status()));
      parts.Add(FieldWords(content.end.metadata()));
      return parts.Take();
    }
    case FrameType::kWindow: {
      Parts parts;
      parts.Add(absl::StrCat("up to ", CompactBytes(content.window)));
      parts.Add(CreditWords(frame));
      return parts.Take();
    }
    case FrameType::kReset:
      return absl::StrCat(StatusWords(content.reset.status()), content.reset.requeue() ? ", for another receiver" : "");
    case FrameType::kExtend:
      if (to_server) return absl::StrCat("asks for ", Milliseconds(content.extend_ms));
      return content.extend_ms == 0 ? "no timeout" : absl::StrCat(Milliseconds(content.extend_ms), " left");
    case FrameType::kObserve:
      return ObserveWords(content.observe);
    case FrameType::kMirror: {
      Parts parts;
      parts.Add(
          absl::StrCat("connection ", content.mirror_connection, " ", std::string(proto::NameOf(content.mirror_kind))));
      if (content.mirror_type != 0) parts.Add(std::string(proto::NameOf(static_cast<FrameType>(content.mirror_type))));
      if (content.mirror_lost != 0) parts.Add(absl::StrCat(content.mirror_lost, " lost"));
      return parts.Take();
    }
    case FrameType::kPing:
    case FrameType::kPong: {
      return absl::BytesToHexString({reinterpret_cast<const char*>(frame.payload.data()), frame.payload.size()});
    }
  }
  return "";
}

// Of what East Asian and pictures take two columns; the rest one.
bool IsWide(char32_t c) {
  return (c >= 0x1100 && c <= 0x115f) || (c >= 0x2e80 && c <= 0xa4cf) || (c >= 0xac00 && c <= 0xd7a3) ||
         (c >= 0xf900 && c <= 0xfaff) || (c >= 0xfe30 && c <= 0xfe6f) || (c >= 0xff00 && c <= 0xff60) ||
         (c >= 0x1f300 && c <= 0x1faff) || (c >= 0x20000 && c <= 0x3fffd);
}

// What joins the character before it, or is not seen.
bool IsWithoutWidth(char32_t c) {
  return (c >= 0x0300 && c <= 0x036f) || (c >= 0x0483 && c <= 0x0489) || (c >= 0x0591 && c <= 0x05bd) ||
         (c >= 0x0610 && c <= 0x061a) || (c >= 0x064b && c <= 0x065f) || (c >= 0x1ab0 && c <= 0x1aff) ||
         (c >= 0x1dc0 && c <= 0x1dff) || (c >= 0x200b && c <= 0x200f) || (c >= 0x20d0 && c <= 0x20ff) ||
         (c >= 0xfe00 && c <= 0xfe0f) || (c >= 0xfe20 && c <= 0xfe2f) || c == 0xfeff || (c >= 0x1f3fb && c <= 0x1f3ff);
}

char32_t CodePoint(std::string_view character) {
  const auto first = static_cast<unsigned char>(character[0]);
  if (character.size() == 1) return first;
  char32_t code = first & (0x7fU >> character.size());
  for (const char c : character.substr(1)) code = (code << 6) | (static_cast<unsigned char>(c) & 0x3fU);
  return code;
}

// Of an escape sequence that `text` begins with; 0 where it does not.
size_t EscapeBytes(std::string_view text) {
  if (!text.starts_with("\x1b[")) return 0;
  const auto* const end = std::find_if(text.begin() + 2, text.end(), [](char c) { return c >= 0x40; });
  return std::min<size_t>(text.size(), static_cast<size_t>(end - text.begin()) + 1);
}

// Calls with each character and its columns, until told to stop.
template <typename Call>
void ForEachCharacter(std::string_view text, Call call) {
  while (!text.empty()) {
    if (const size_t escape = EscapeBytes(text); escape > 0) {
      if (!call(text.substr(0, escape), size_t{0})) return;
      text.remove_prefix(escape);
      continue;
    }
    const size_t length = proto::CharacterBytes(text);
    const std::string_view character = text.substr(0, length == 0 ? 1 : length);
    text.remove_prefix(character.size());
    const char32_t code = length > 1 ? CodePoint(character) : 0;
    if (!call(character, IsWithoutWidth(code) ? 0 : IsWide(code) ? size_t{2} : size_t{1})) return;
  }
}

// How much of `text` has so many columns.
size_t BytesIn(std::string_view text, size_t columns) {
  size_t bytes = 0;
  size_t used = 0;
  ForEachCharacter(text, [&](std::string_view character, size_t width) {
    if (used + width > columns) return false;
    bytes += character.size();
    used += width;
    return true;
  });
  return bytes;
}

char LooksLike(std::string_view character) {
  constexpr std::array<std::pair<std::string_view, char>, 13> kLooks = {{{"\xe2\x80\xa6", '>'},  // an ellipsis
                                                                         {"\xe2\x86\x92", '>'},
                                                                         {"\xe2\x86\x90", '<'},
                                                                         {"\xe2\x96\x91", '.'},  // a light block
                                                                         {"\xe2\x94\x80", '-'},
                                                                         {"\xe2\x96\x81", '='},  // blocks by height
                                                                         {"\xe2\x96\x82", '='},
                                                                         {"\xe2\x96\x83", '='},
                                                                         {"\xe2\x96\x84", '='},
                                                                         {"\xe2\x96\x85", '#'},
                                                                         {"\xe2\x96\x86", '#'},
                                                                         {"\xe2\x96\x87", '#'},
                                                                         {"\xe2\x96\x88", '#'}}};
  for (const auto& [known, ascii] : kLooks) {
    if (character == known) return ascii;
  }
  return '?';
}

}  // namespace

std::string ShortId(const proto::Uuid& id) {
  if (id == proto::kNilUuid) return "";
  const std::string text = proto::ToString(id);
  return text[14] == '7' ? text.substr(text.size() - 8) : text.substr(0, 8);
}

std::string CompactBytes(uint64_t bytes) {
  constexpr std::array<char, 6> kUnits = {'K', 'M', 'G', 'T', 'P', 'E'};
  if (bytes < 1000) return absl::StrCat(bytes);
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  while (value >= 999.5) {
    value /= 1024;
    ++unit;
  }
  const std::string text = Format(value < 9.95 ? "%.1f" : "%.0f", value);
  // "64K" and not "64.0K": what is round looks round.
  return (text.ends_with(".0") ? text.substr(0, text.size() - 2) : text) + kUnits[unit];
}

std::string CompactTime(absl::Duration duration) {
  const double seconds = absl::ToDoubleSeconds(duration);
  if (seconds < 0) return "-" + CompactTime(-duration);
  if (seconds == 0) return "0";
  if (seconds < 0.9995e-3) return Format("%.0fus", seconds * 1e6);
  if (seconds < 0.9995)
    return Format(seconds < 9.995e-3 ? "%.2fms" : seconds < 99.95e-3 ? "%.1fms" : "%.0fms", seconds * 1e3);
  if (seconds < 99.95) {
    const std::string text = Format(seconds < 9.995 ? "%.2f" : "%.1f", seconds);
    const size_t last = text.find_last_not_of('0');
    return text.substr(0, text[last] == '.' ? last : last + 1) + "s";
  }
  const auto whole = static_cast<long long>(seconds + 0.5);
  if (whole < 3600) return Format("%lldm%02llds", whole / 60, whole % 60);
  return Format("%lldh%02lldm", whole / 3600, whole / 60 % 60);
}

std::string CodeName(uint32_t code) {
  if (code > kLastCode) return absl::StrCat("code ", code);
  const std::string_view name = NameOf(static_cast<StatusCode>(code));
  return std::string(name);
}

std::string StatusWords(const v1::Status& status) {
  std::string text = Clean(status.end());
  if (!text.empty()) text += ' ';
  text += CodeName(status.code());
  if (status.may_have_run()) text += ", may have run";
  if (status.retry_after_ms() != 0) absl::StrAppend(&text, ", retry after ", Milliseconds(status.retry_after_ms()));
  if (!status.message().empty()) absl::StrAppend(&text, ": ", Clean(status.message()));
  return text;
}

std::string TypeName(const SeenFrame& frame) {
  if (!frame.has_known_type()) return absl::StrCat("type ", frame.header.bytes()[4]);
  const std::string_view name = proto::NameOf(frame.type());
  return std::string(name);
}

std::string FlagNames(uint8_t flags) {
  constexpr std::array<std::string_view, 6> kNames = {"REQUEST",    "RESPONSE",         "FIN",
                                                      "IDEMPOTENT", "REQUIRE_RECEIVER", "RECEIVE"};
  std::string text;
  for (size_t bit = 0; bit < 8; ++bit) {
    if ((flags >> bit & 1) == 0) continue;
    if (!text.empty()) text += '|';
    if (bit < kNames.size()) {
      text += kNames[bit];
    } else {
      absl::StrAppend(&text, "0x", absl::Hex(1U << bit, absl::kZeroPad2));
    }
  }
  return text;
}

std::string FlagLetters(const SeenFrame& frame) {
  std::string text;
  if (frame.header.has(flag::kRequest)) text = "req";
  if (frame.header.has(flag::kResponse)) text += "res";
  std::string letters;
  if (frame.header.has(flag::kFin)) letters += 'F';
  if (frame.header.has(flag::kIdempotent)) letters += 'I';
  if (frame.header.has(flag::kRequireReceiver)) letters += 'M';
  if (frame.header.has(flag::kReceive)) letters += 'R';
  if ((frame.header.flags() & ~flag::kAll) != 0) letters += '?';
  return letters.empty() ? text : absl::StrCat(text, " ", letters);
}

std::string PayloadWords(const SeenFrame& frame) {
  if (frame.content == nullptr) return "dropped: of no type of version 1";
  switch (frame.content->state) {
    case Payload::State::kParsed:
      return ContentWords(frame);
    case Payload::State::kCut:
      return absl::StrCat(frame.payload.size(), " of ", tools::Counted(frame.payload_bytes, "byte"),
                          frame.payload.size() == 1 ? " is" : " are", " known");
    case Payload::State::kMalformed:
    case Payload::State::kBadStart:
      break;
  }
  return "cannot be read";
}

size_t Columns(std::string_view text) {
  size_t columns = 0;
  ForEachCharacter(text, [&columns](std::string_view, size_t width) {
    columns += width;
    return true;
  });
  return columns;
}

std::string CutTo(size_t columns, std::string_view text) {
  if (Columns(text) <= columns) return std::string(text);
  if (columns == 0) return "";
  const bool has_escapes = text.find('\x1b') != std::string_view::npos;
  return absl::StrCat(std::string(text.substr(0, BytesIn(text, columns - 1))), "\xe2\x80\xa6",
                      has_escapes ? "\x1b[0m" : "");
}

std::vector<std::string_view> Wrap(std::string_view text, size_t columns) {
  std::vector<std::string_view> lines;
  while (Columns(text) > columns) {
    // One character at the least, however wide.
    const size_t most = std::max(BytesIn(text, columns), std::max<size_t>(1, proto::CharacterBytes(text)));
    const size_t space = text.substr(0, most + 1).rfind(' ');
    const bool has_space = space != std::string_view::npos && space > 0;
    lines.push_back(text.substr(0, has_space ? space : most));
    text.remove_prefix(has_space ? space + 1 : most);
  }
  lines.push_back(text);
  return lines;
}

std::string InAscii(std::string_view text) {
  std::string ascii;
  ForEachCharacter(text, [&ascii](std::string_view character, size_t width) {
    if (character.size() == 1 || character[0] == '\x1b') {
      ascii += character;
    } else {
      ascii.append(width, LooksLike(character));
    }
    return true;
  });
  return ascii;
}

std::string Fit(std::string_view text, size_t columns) {
  std::string fit = CutTo(columns, text);
  return fit.append(columns - std::min(columns, Columns(fit)), ' ');
}

std::string FitLeft(std::string_view text, size_t columns) {
  const size_t used = Columns(text);
  return std::string(columns - std::min(columns, used), ' ').append(text);
}

}  // namespace relay::inspect

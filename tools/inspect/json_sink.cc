#include "tools/inspect/json_sink.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "proto/utf8.h"
#include "tools/relay/text.h"

namespace relay::inspect {
namespace {

std::string Hex(std::span<const uint8_t> bytes) {
  return absl::BytesToHexString({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

std::string_view NameOf(Skipped::Why why) {
  switch (why) {
    case Skipped::Why::kDamage:
      return "damage";
    case Skipped::Why::kTruncated:
      return "truncated";
    case Skipped::Why::kGap:
      return "gap";
    case Skipped::Why::kBeginsInside:
      return "begins_inside";
  }
  return "";
}

// An object for each, since keys may come more than once; a value that is no UTF-8 is given in hexadecimal digits.
std::string JsonMetadata(const Metadata& metadata) {
  std::string json = "[";
  for (const auto& [key, value] : metadata) {
    if (json.size() > 1) json += ',';
    json += "{\"key\":" + JsonString(key);
    json += proto::IsUtf8(value) ? ",\"value\":" + JsonString(value)
                                 : ",\"value_hex\":\"" + absl::BytesToHexString(value) + "\"";
    json += '}';
  }
  return json + "]";
}

// How many bytes it begins with that stand for themselves.
size_t PlainBytes(std::string_view text) {
  const auto is_plain = [](char c) { return c >= ' ' && c <= '~' && c != '"' && c != '\\'; };
  return static_cast<size_t>(std::find_if_not(text.begin(), text.end(), is_plain) - text.begin());
}

// Of one character, of three bytes at the most.
uint32_t CodePoint(std::string_view character) {
  uint32_t point = static_cast<unsigned char>(character[0]) & (0x7f >> (character.size() - 1));
  for (const char c : character.substr(1)) point = point << 6 | (static_cast<unsigned char>(c) & 0x3f);
  return point;
}

}  // namespace

std::string JsonString(std::string_view text) {
  std::string json = "\"";
  while (true) {
    const size_t plain = PlainBytes(text);
    json += text.substr(0, plain);
    text.remove_prefix(plain);
    if (text.empty()) break;
    const size_t length = proto::CharacterBytes(text);
    const std::string_view character = text.substr(0, length == 0 ? 1 : length);
    text.remove_prefix(character.size());
    const auto first = static_cast<unsigned char>(character[0]);
    if (length == 0) {
      json += "\\ufffd";
    } else if (first == '"' || first == '\\') {
      json += '\\';
      json += character;
    } else if (first == '\n') {
      json += "\\n";
    } else if (proto::IsControl(character) || tools::TurnsText(character)) {
      absl::StrAppend(&json, "\\u", absl::Hex(CodePoint(character), absl::kZeroPad4));
    } else {
      json += character;
    }
  }
  return json + "\"";
}

void JsonSink::Begin(std::string_view kind) {
  line_ = "{\"kind\":\"";
  line_ += kind;
  line_ += '"';
}

void JsonSink::Add(std::string_view name, const Value& value) {
  line_ += ",\"";
  line_ += name;
  line_ += "\":";
  if (const auto* const text = std::get_if<std::string>(&value)) {
    line_ += JsonString(*text);
  } else if (const auto* const metadata = std::get_if<Metadata>(&value)) {
    line_ += JsonMetadata(*metadata);
  } else {
    line_ += TextOf(value);
  }
}

void JsonSink::AddTime(absl::Time at) {
  if (at == absl::InfinitePast()) return;
  Add("time", TimeText(at));
}

void JsonSink::AddPlace(const Place& place) {
  AddTime(place.at);
  Add("connection", place.connection);
  Add("direction", std::string(NameOf(place.direction)));
}

void JsonSink::End() {
  line_ += "}\n";
  out_.Write(line_);
}

void JsonSink::OnOpen(const Opening& opening) {
  if (options_.only_exchanges) return;
  Begin("open");
  AddTime(opening.at);
  Add("connection", opening.connection);
  if (!opening.client.empty()) Add("client_address", opening.client);
  if (!opening.server.empty()) Add("server_address", opening.server);
  Add("from_start", opening.from_start);
  Add("in_order", opening.in_order);
  End();
}

void JsonSink::OnPreface(const Place& place) {
  if (options_.only_exchanges) return;
  Begin("preface");
  AddPlace(place);
  Add("offset", uint64_t{0});
  Add("bytes", uint64_t{proto::kPreface.size()});
  End();
}

void JsonSink::OnFrame(const SeenFrame& frame) {
  if (options_.only_exchanges) return;
  Begin("frame");
  for (const Field& field : FieldsOf(frame)) Add(field.name, field.value);
  if (options_.has_payloads) Add("payload_hex", Hex(frame.payload));
  End();
}

void JsonSink::OnDamage(const Place& place, const Damage& damage) {
  if (options_.only_exchanges) return;
  Begin("damage");
  AddPlace(place);
  Add("offset", damage.offset);
  const RuleInfo& info = InfoOf(damage.rule);
  Add("violation", std::string(info.name));
  if (!info.words.empty()) Add("rule", std::string(info.words));
  Add("section", std::string(info.section));
  if (damage.rule == Rule::kPayloadTooLarge) {
    Add("said_bytes", damage.said_bytes);
    if (damage.limit_bytes > 0) Add("limit_bytes", damage.limit_bytes);
  }
  Add("around_offset", damage.around_offset);
  Add("around", Hex(damage.around));
  End();
}

void JsonSink::OnSkipped(const Place& place, const Skipped& skipped) {
  if (options_.only_exchanges) return;
  Begin("skipped");
  AddPlace(place);
  Add("offset", skipped.offset);
  Add("bytes", skipped.bytes);
  Add("why", std::string(NameOf(skipped.why)));
  if (skipped.frame_bytes != 0) Add("frame_bytes", skipped.frame_bytes);
  End();
}

void JsonSink::OnGap(const Place& place, uint64_t offset, uint64_t bytes) {
  if (options_.only_exchanges) return;
  Begin("gap");
  AddPlace(place);
  Add("offset", offset);
  Add("bytes", bytes);
  End();
}

void JsonSink::OnLost(uint64_t frames, absl::Time at) {
  if (options_.only_exchanges) return;
  Begin("lost");
  AddTime(at);
  Add("frames", frames);
  End();
}

void JsonSink::OnClose(const Place& place) {
  if (options_.only_exchanges) return;
  Begin("close");
  AddPlace(place);
  End();
}

void JsonSink::OnExchange(const Exchange& exchange) {
  Begin("exchange");
  for (const Field& field : FieldsOf(exchange)) Add(field.name, field.value);
  End();
}

void JsonSink::OnLeftOut(uint64_t exchanges) {
  Begin("left_out");
  Add("exchanges", exchanges);
  End();
}

}  // namespace relay::inspect

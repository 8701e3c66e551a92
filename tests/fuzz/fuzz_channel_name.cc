// Any text as a channel's name, against a second reading of PROTOCOL.md ("Words") and RFC 3629: characters by the
// numbers that they encode, ids by a SHA-1 of our own.
//
// The input: a byte with the length to which text is shortened, then the text.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/channel_name.h"
#include "proto/utf8.h"
#include "proto/uuid.h"
#include "require.h"
#include "sha1.h"

namespace relay::fuzz {
namespace {

std::string Encoded(uint32_t c) {
  const auto tail = [c](int shift) { return static_cast<char>(0x80 | (c >> shift & 0x3f)); };
  if (c < 0x80) return {static_cast<char>(c)};
  if (c < 0x800) return {static_cast<char>(0xc0 | c >> 6), tail(0)};
  if (c < 0x10000) return {static_cast<char>(0xe0 | c >> 12), tail(6), tail(0)};
  return {static_cast<char>(0xf0 | c >> 18), tail(12), tail(6), tail(0)};
}

// The number of the character that `text` begins with: one whose encoding the text begins with.
std::optional<uint32_t> FirstCharacter(std::string_view text) {
  uint32_t c = static_cast<uint8_t>(text[0]);
  const int ones = std::countl_one(static_cast<uint8_t>(text[0]));
  if (ones == 1 || ones > 4) return std::nullopt;
  if (ones > 0) c &= 0x7fu >> ones;
  for (size_t i = 1; i < static_cast<size_t>(ones) && i < text.size(); ++i) {
    c = c << 6 | (static_cast<uint8_t>(text[i]) & 0x3f);
  }
  if (c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) return std::nullopt;
  if (text.substr(0, Encoded(c).size()) != Encoded(c)) return std::nullopt;
  return c;
}

// Unicode's Cc.
bool IsControl(uint32_t c) { return c < 0x20 || (c >= 0x7f && c < 0xa0); }

struct Reading {
  bool is_utf8 = true;
  bool has_control = false;
  std::string mended;
  std::vector<size_t> ends = {0};  // where a character ends
};

Reading Read(std::string_view text) {
  Reading reading;
  for (size_t at = 0; at < text.size();) {
    const std::optional<uint32_t> c = FirstCharacter(text.substr(at));
    const size_t bytes = c.has_value() ? Encoded(*c).size() : 0;
    Require(proto::CharacterBytes(text.substr(at)) == bytes, "CharacterBytes is the length of the first character");
    reading.is_utf8 &= c.has_value();
    reading.has_control |= c.has_value() && IsControl(*c);
    reading.mended += c.has_value() ? Encoded(*c) : "?";
    at += std::max<size_t>(bytes, 1);
    reading.ends.push_back(at);
  }
  return reading;
}

std::optional<std::string> SpelledUuid(std::string_view text) {
  if (text.size() != 36) return std::nullopt;
  std::string bytes;
  int digits = 0;
  int byte = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (i == 8 || i == 13 || i == 18 || i == 23) {
      if (text[i] != '-') return std::nullopt;
      continue;
    }
    const size_t digit = std::string_view("0123456789abcdef0123456789ABCDEF").find(text[i]);
    if (digit == std::string_view::npos) return std::nullopt;
    byte = byte * 16 + static_cast<int>(digit % 16);
    if (++digits % 2 == 0) {
      bytes += static_cast<char>(byte);
      byte = 0;
    }
  }
  return bytes;
}

std::string VersionFive(std::string_view name_space, std::string_view name) {
  const auto digest = Sha1(std::string(name_space).append(name));
  std::string id(reinterpret_cast<const char*>(digest.data()), 16);
  id[6] = static_cast<char>((digest[6] & 0x0f) | 0x50);
  id[8] = static_cast<char>((digest[8] & 0x3f) | 0x80);
  return id;
}

std::string ExpectedId(std::string_view name) {
  if (const auto spelled = SpelledUuid(name)) return *spelled;
  static const std::string url = SpelledUuid("6ba7b811-9dad-11d1-80b4-00c04fd430c8").value();
  static const std::string channels = VersionFive(url, "relay:channel");
  return VersionFive(channels, name);
}

void Look(std::string_view text, size_t most) {
  const Reading reading = Read(text);
  Require(proto::IsUtf8(text) == reading.is_utf8, "IsUtf8");
  Require(proto::AsUtf8(text) == reading.mended, "AsUtf8 replaces each byte that is part of no character");
  Require(proto::IsUtf8(proto::AsUtf8(text)), "AsUtf8 is UTF-8");

  const std::string_view shortened = proto::Shortened(text, most);
  Require(shortened.size() <= most && text.substr(0, shortened.size()) == shortened, "Shortened is a prefix");
  if (reading.is_utf8) {
    const auto behind = std::upper_bound(reading.ends.begin(), reading.ends.end(), most);
    Require(shortened.size() == *std::prev(behind), "Shortened holds as many whole characters as fit");
  }

  const bool is_name = !text.empty() && text.size() <= 255 && reading.is_utf8 && !reading.has_control;
  const absl::Status status = proto::CheckChannelName(text);
  Require(status.ok() == is_name, "CheckChannelName");
  Require(is_name || (status.code() == absl::StatusCode::kInvalidArgument && !status.message().empty()),
          "what is no name is refused with the rule");
  if (!is_name) return;
  const proto::Uuid id = proto::ChannelId(text);
  Require(proto::BytesOf(id) == ExpectedId(text), "ChannelId");
  Require(proto::ParseUuid(proto::ToString(id)) == id, "an id is its text");
  Require(proto::ChannelId(proto::ToString(id)) == id, "an id's text is a name of the same channel");
}

}  // namespace
}  // namespace relay::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  // In memory of its own size, so that a sanitizer sees a read behind it.
  const std::vector<char> text(data + 1, data + size);
  relay::fuzz::Look({text.data(), text.size()}, data[0]);
  return 0;
}

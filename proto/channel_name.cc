#include "proto/channel_name.h"

#include <boost/uuid/name_generator_sha1.hpp>

#include "absl/strings/str_cat.h"

namespace relay::proto {
namespace {

const Uuid& ChannelNamespace() {
  static const Uuid kNamespace =
      boost::uuids::name_generator_sha1(boost::uuids::ns::url())(std::string("relay:channel"));
  return kNamespace;
}

bool IsControl(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

// RFC 3629: no overlong forms, no surrogates, nothing past U+10FFFF.
bool IsUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto byte = [&text](size_t at) { return static_cast<unsigned char>(text[at]); };
    const unsigned lead = byte(i);
    if (lead < 0x80) {
      ++i;
      continue;
    }
    const size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || i + length > text.size()) return false;
    for (size_t k = 1; k < length; ++k) {
      if ((byte(i + k) & 0xc0) != 0x80) return false;
    }
    const unsigned second = byte(i + 1);
    if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) || (lead == 0xf0 && second < 0x90) ||
        (lead == 0xf4 && second > 0x8f)) {
      return false;
    }
    i += length;
  }
  return true;
}

}  // namespace

absl::Status CheckChannelName(std::string_view name) {
  if (name.empty()) return absl::InvalidArgumentError("a channel name is not empty");
  if (name.size() > kMaxChannelNameBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a channel name has at most ", kMaxChannelNameBytes, " bytes, this one has ", name.size()));
  }
  if (!IsUtf8(name)) return absl::InvalidArgumentError("a channel name is UTF-8");
  for (const char c : name) {
    if (IsControl(c)) return absl::InvalidArgumentError("a channel name has no control characters");
  }
  return absl::OkStatus();
}

Uuid ChannelId(std::string_view name) {
  if (const auto id = ParseUuid(name)) return *id;
  return boost::uuids::name_generator_sha1(ChannelNamespace())(name.data(), name.size());
}

}  // namespace relay::proto

#include "proto/channel_name.h"

#include <boost/uuid/name_generator_sha1.hpp>

#include "absl/strings/str_cat.h"
#include "proto/utf8.h"

namespace relay::proto {
namespace {

const Uuid& ChannelNamespace() {
  static const Uuid kNamespace =
      boost::uuids::name_generator_sha1(boost::uuids::ns::url())(std::string("relay:channel"));
  return kNamespace;
}

}  // namespace

absl::Status CheckChannelName(std::string_view name) {
  if (name.empty()) return absl::InvalidArgumentError("a channel name is not empty");
  if (name.size() > kMaxChannelNameBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a channel name has at most ", kMaxChannelNameBytes, " bytes, this one has ", name.size()));
  }
  if (!IsUtf8(name)) return absl::InvalidArgumentError("a channel name is UTF-8");
  for (; !name.empty(); name.remove_prefix(CharacterBytes(name))) {
    if (IsControl(name)) return absl::InvalidArgumentError("a channel name has no control characters");
  }
  return absl::OkStatus();
}

Uuid ChannelId(std::string_view name) {
  if (const auto id = ParseUuid(name)) return *id;
  return boost::uuids::name_generator_sha1(ChannelNamespace())(name.data(), name.size());
}

}  // namespace relay::proto

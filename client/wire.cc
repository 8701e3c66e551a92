#include "client/wire.h"

#include <algorithm>
#include <cstring>

#include "proto/channel_name.h"
#include "proto/messages.h"

namespace relay::client {
namespace {

// The bytes of the character that `text` begins with, 0 where it begins with none (RFC 3629: no overlong forms, no
// surrogates, nothing past U+10FFFF).
size_t CharacterBytes(std::string_view text) {
  const auto byte = [text](size_t at) { return static_cast<unsigned char>(text[at]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const unsigned second = byte(1);
  const bool is_misshapen = (lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) ||
                            (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f);
  return is_misshapen ? 0 : length;
}

std::string AsUtf8(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const size_t bytes = CharacterBytes(text);
    if (bytes == 0) {
      result += '?';
    } else {
      result += text.substr(0, bytes);
    }
    text.remove_prefix(std::max<size_t>(bytes, 1));
  }
  return result;
}

}  // namespace

proto::Uuid ToWire(const Uuid& id) {
  proto::Uuid wire;
  std::memcpy(wire.data, id.bytes.data(), id.bytes.size());
  return wire;
}

Uuid FromWire(const proto::Uuid& id) {
  Uuid result;
  std::memcpy(result.bytes.data(), id.data, result.bytes.size());
  return result;
}

void ToWire(const Status& status, v1::Status& wire) {
  wire.set_code(static_cast<uint32_t>(status.code()));
  wire.set_message(AsUtf8(proto::Shortened(status.message(), kMaxMessageBytes)));
  wire.set_end(status.end());
  wire.set_may_have_run(status.may_have_run());
  wire.set_retry_after_ms(static_cast<uint32_t>(status.retry_after().count()));
}

Status FromWire(const v1::Status& wire) {
  const auto code = static_cast<StatusCode>(proto::CodeFromWire(wire.code()));
  Status status(code, wire.message());
  status.set_end(wire.end());
  status.set_may_have_run(wire.may_have_run());
  status.set_retry_after(std::chrono::milliseconds(wire.retry_after_ms()));
  return status;
}

Status FromAbsl(const absl::Status& status) {
  return Status(static_cast<StatusCode>(status.code()),
                std::string_view(status.message().data(), status.message().size()));
}

void ToWire(const Metadata& metadata, google::protobuf::RepeatedPtrField<v1::Field>& wire) {
  for (const auto& [key, value] : metadata) {
    v1::Field* field = wire.Add();
    field->set_key(key);
    field->set_value(value);
  }
}

Metadata FromWire(const google::protobuf::RepeatedPtrField<v1::Field>& wire) {
  Metadata metadata;
  metadata.reserve(static_cast<size_t>(wire.size()));
  for (const v1::Field& field : wire) metadata.emplace_back(field.key(), field.value());
  return metadata;
}

StatusOr<v1::Start> MakeStart(std::string_view method, std::string_view content_type, const Metadata& metadata) {
  if (!IsUtf8(method)) return InvalidArgumentError("a method is UTF-8");
  if (!IsUtf8(content_type)) return InvalidArgumentError("a content type is UTF-8");
  const bool keys_are_utf8 =
      std::all_of(metadata.begin(), metadata.end(), [](const auto& field) { return IsUtf8(field.first); });
  if (!keys_are_utf8) return InvalidArgumentError("a name in metadata is UTF-8");
  v1::Start start;
  start.set_method(std::string(method));
  start.set_content_type(std::string(content_type));
  ToWire(metadata, *start.mutable_metadata());
  return start;
}

Status CheckChannel(std::string_view channel) { return FromAbsl(proto::CheckChannelName(channel)); }

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const size_t bytes = CharacterBytes(text);
    if (bytes == 0) return false;
    text.remove_prefix(bytes);
  }
  return true;
}

}  // namespace relay::client

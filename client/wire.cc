#include "client/wire.h"

#include <algorithm>
#include <cstring>

#include "proto/channel_name.h"
#include "proto/messages.h"
#include "proto/utf8.h"

namespace relay::client {
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
  wire.set_message(proto::AsUtf8(proto::Shortened(status.message(), kMaxMessageBytes)));
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

StatusOr<std::string> MakeStart(std::string_view method, std::string_view content_type, const Metadata& metadata) {
  if (method.empty() && content_type.empty() && metadata.empty()) return std::string();
  if (!proto::IsUtf8(method)) return InvalidArgumentError("a method is UTF-8");
  if (!proto::IsUtf8(content_type)) return InvalidArgumentError("a content type is UTF-8");
  const bool keys_are_utf8 =
      std::all_of(metadata.begin(), metadata.end(), [](const auto& field) { return proto::IsUtf8(field.first); });
  if (!keys_are_utf8) return InvalidArgumentError("a name in metadata is UTF-8");
  v1::Start start;
  start.set_method(std::string(method));
  start.set_content_type(std::string(content_type));
  ToWire(metadata, *start.mutable_metadata());
  return start.SerializeAsString();
}

Status StartTooLarge(size_t bytes, size_t most_bytes) {
  return InvalidArgumentError("method, content type and metadata take " + std::to_string(bytes) +
                              " bytes; the server takes " + std::to_string(most_bytes));
}

Status CheckChannel(std::string_view channel) { return FromAbsl(proto::CheckChannelName(channel)); }

}  // namespace relay::client

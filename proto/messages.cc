#include "proto/messages.h"

#include <google/protobuf/stubs/logging.h>

namespace relay::proto {

void AppendMessage(std::string& out, FrameType type, uint8_t flags, uint16_t slot, const Uuid& id,
                   const google::protobuf::MessageLite& message) {
  const size_t payload_bytes = message.ByteSizeLong();
  const size_t at = out.size();
  out.resize(at + kHeaderBytes + payload_bytes);
  auto* bytes = reinterpret_cast<uint8_t*>(out.data()) + at;
  WriteHeader(bytes, static_cast<uint32_t>(payload_bytes), type, flags, slot, id);
  message.SerializeWithCachedSizesToArray(bytes + kHeaderBytes);
}

absl::StatusCode CodeFromWire(uint32_t code) {
  constexpr auto kLast = static_cast<uint32_t>(absl::StatusCode::kUnauthenticated);
  return code <= kLast ? static_cast<absl::StatusCode>(code) : absl::StatusCode::kUnknown;
}

void SilenceProtobuf() { google::protobuf::SetLogHandler(nullptr); }

}  // namespace relay::proto

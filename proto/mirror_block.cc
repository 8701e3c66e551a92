#include "proto/mirror_block.h"

#include "proto/frame.h"

namespace relay::proto {

std::string_view NameOf(MirrorKind kind) {
  switch (kind) {
    case MirrorKind::kRead:
      return "READ";
    case MirrorKind::kWritten:
      return "WRITTEN";
    case MirrorKind::kOpened:
      return "OPENED";
    case MirrorKind::kEnded:
      return "ENDED";
    case MirrorKind::kLost:
      return "LOST";
  }
  return "?";
}

bool CheckMirror(std::span<const uint8_t> payload) {
  if (payload.size() < kMirrorBlockBytes) return false;
  const uint8_t kind = payload[20];
  if (kind == 0 || kind > kLastMirrorKind) return false;
  if (kind > static_cast<uint8_t>(MirrorKind::kWritten)) return true;
  const std::span<const uint8_t> shown = payload.subspan(kMirrorBlockBytes);
  return shown.size() >= kHeaderBytes && shown.size() - kHeaderBytes <= LoadBig<uint32_t>(shown.data());
}

}  // namespace relay::proto

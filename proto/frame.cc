#include "proto/frame.h"

#include <array>

namespace relay::proto {
namespace {

// What belongs into the header of each type, by its number.
struct Shape {
  std::string_view name;
  uint8_t allowed_flags;
  bool has_direction;
  bool has_slot;
  enum { kNil, kSet, kEither } id;
};

constexpr uint8_t kDirection = flag::kRequest | flag::kResponse;
constexpr uint8_t kRequestOnly = flag::kIdempotent | flag::kRequireReceiver;

constexpr std::array<Shape, kLastFrameType + 1> kShapes = {{
    {"?", 0, false, false, Shape::kNil},
    {"HELLO", 0, false, false, Shape::kNil},
    {"WELCOME", 0, false, false, Shape::kNil},
    {"JOIN", 0, false, true, Shape::kNil},
    {"LEAVE", 0, false, true, Shape::kSet},
    {"RECEIVE", 0, false, true, Shape::kNil},
    {"START", flag::kAll, true, true, Shape::kSet},
    {"CHUNK", kDirection | flag::kFin | flag::kReceive, true, true, Shape::kSet},
    {"END", kDirection | flag::kReceive, true, true, Shape::kSet},
    {"WINDOW", kDirection, true, true, Shape::kSet},
    {"RESET", 0, false, true, Shape::kEither},
    {"PING", 0, false, false, Shape::kNil},
    {"PONG", 0, false, false, Shape::kNil},
    {"GOAWAY", 0, false, false, Shape::kNil},
    {"EXTEND", 0, false, true, Shape::kSet},
    {"OBSERVE", 0, false, false, Shape::kNil},
    {"MIRROR", 0, false, false, Shape::kNil},
}};

// `type` is known.
constexpr HeaderFault CheckFlags(uint8_t type, uint8_t flags) {
  const Shape& shape = kShapes[type];
  if ((flags & ~shape.allowed_flags) != 0) return HeaderFault::kFlagMisplaced;
  if (!shape.has_direction) return HeaderFault::kNone;
  const uint8_t direction = flags & kDirection;
  if (direction == 0 || direction == kDirection) return HeaderFault::kDirectionMissing;
  if (direction == flag::kResponse && (flags & kRequestOnly) != 0) return HeaderFault::kFlagMisplaced;
  if ((flags & flag::kReceive) != 0) {
    const bool ends = type == static_cast<uint8_t>(FrameType::kEnd) || (flags & flag::kFin) != 0;
    if (direction != flag::kResponse || !ends) return HeaderFault::kFlagMisplaced;
  }
  return HeaderFault::kNone;
}

// What CheckFlags says of each type with each of the flags that have a name: every frame is checked.
constexpr auto kFlagFaults = [] {
  std::array<std::array<HeaderFault, flag::kAll + 1>, kLastFrameType + 1> faults = {};
  for (uint8_t type = 1; type <= kLastFrameType; ++type) {
    for (uint8_t flags = 0; flags <= flag::kAll; ++flags) faults[type][flags] = CheckFlags(type, flags);
  }
  return faults;
}();

}  // namespace

std::string_view NameOf(FrameType type) {
  const auto number = static_cast<uint8_t>(type);
  return number <= kLastFrameType ? kShapes[number].name : kShapes[0].name;
}

HeaderFault CheckHeader(const Frame& frame) {
  const auto type = static_cast<uint8_t>(frame.type());
  const uint8_t flags = frame.flags();
  if (flags > flag::kAll) return HeaderFault::kUnknownFlag;
  if (const HeaderFault fault = kFlagFaults[type][flags]; fault != HeaderFault::kNone) return fault;
  const Shape& shape = kShapes[type];
  const bool has_slot = frame.slot() != 0;
  if (shape.has_slot && !has_slot) return HeaderFault::kSlotMissing;
  if (!shape.has_slot && has_slot) return HeaderFault::kSlotMisplaced;
  if (shape.id != Shape::kEither) {
    const bool has_id = !frame.has_nil_id();
    if (shape.id == Shape::kSet && !has_id) return HeaderFault::kIdMissing;
    if (shape.id == Shape::kNil && has_id) return HeaderFault::kIdMisplaced;
  }
  return HeaderFault::kNone;
}

std::string_view RuleOf(HeaderFault fault) {
  switch (fault) {
    case HeaderFault::kNone:
      return "";
    case HeaderFault::kUnknownFlag:
      return "flag bits that are not named are zero";
    case HeaderFault::kDirectionMissing:
      return "START, CHUNK, END and WINDOW have exactly one of REQUEST and RESPONSE";
    case HeaderFault::kFlagMisplaced:
      return "a flag stands on a frame where it has no meaning";
    case HeaderFault::kSlotMissing:
      return "a frame of a client has a slot of 1 or more";
    case HeaderFault::kSlotMisplaced:
      return "a frame of the connection has slot 0";
    case HeaderFault::kIdMissing:
      return "a frame of an exchange has its request id, LEAVE a client id";
    case HeaderFault::kIdMisplaced:
      return "a frame that names no exchange has the nil id";
  }
  return "";
}

void WriteHeader(uint8_t* out, uint32_t payload_bytes, FrameType type, uint8_t flags, uint16_t slot, const Uuid& id) {
  StoreBig<uint32_t>(out, payload_bytes);
  out[4] = static_cast<uint8_t>(type);
  out[5] = flags;
  StoreBig<uint16_t>(out + 6, slot);
  std::memcpy(out + 8, id.data, kUuidBytes);
}

void AppendFrame(std::string& out, FrameType type, uint8_t flags, uint16_t slot, const Uuid& id,
                 std::string_view payload) {
  uint8_t header[kHeaderBytes];
  WriteHeader(header, static_cast<uint32_t>(payload.size()), type, flags, slot, id);
  out.append(reinterpret_cast<const char*>(header), sizeof(header));
  out.append(payload);
}

}  // namespace relay::proto

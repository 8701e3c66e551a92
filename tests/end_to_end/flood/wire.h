// The wire as PROTOCOL.md says it, for a peer that shares no code with the relay: what an attacker and a well-behaved
// pair write, and how the pair reads frames.

#ifndef RELAY_TESTS_END_TO_END_FLOOD_WIRE_H_
#define RELAY_TESTS_END_TO_END_FLOOD_WIRE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace flood {

inline constexpr std::string_view kPreface = "RELAY/1\n";
inline constexpr size_t kHeaderBytes = 24;
inline constexpr size_t kStartBlockBytes = 40;
inline constexpr size_t kInitialWindowBytes = size_t{256} * 1024;  // relayd's defaults
inline constexpr size_t kMaxPayloadBytes = size_t{128} * 1024;
inline constexpr size_t kMaxWindowBytes = size_t{16} * 1024 * 1024;

enum Type : uint8_t {
  kHello = 1,
  kWelcome = 2,
  kJoin = 3,
  kLeave = 4,
  kReceive = 5,
  kStart = 6,
  kChunk = 7,
  kEnd = 8,
  kWindow = 9,
  kReset = 10,
  kPing = 11,
  kPong = 12,
  kGoaway = 13,
  kExtend = 14,
  kNoType = 200,
};

enum Flag : uint8_t {
  kRequest = 0x01,
  kResponse = 0x02,
  kFin = 0x04,
  kIdempotent = 0x08,
  kReceiveFlag = 0x20,
};

using Id = std::array<uint8_t, 16>;
inline constexpr Id kNil = {};

// An id that `kind` and `number` give, and nobody else has.
Id MakeId(uint8_t kind, uint64_t number);

std::string Frame(Type type, unsigned flags, uint16_t slot, const Id& id, std::string_view payload = {});

std::string Hello();  // preface and HELLO
std::string Join(uint16_t slot, const Id& client, const Id& channel);
std::string Leave(uint16_t slot, const Id& client);
std::string Receive(uint16_t slot);  // waits without end
std::string ReceiveFor(uint16_t slot, uint32_t wait_ms);
std::string Withdraw(uint16_t slot);
// `flags` beside the direction, as kFin.
std::string Request(uint16_t slot, const Id& id, unsigned flags, std::string_view body = {}, uint32_t timeout_ms = 0);
std::string Response(uint16_t slot, const Id& id, unsigned flags, std::string_view body = {});
std::string Extend(uint16_t slot, const Id& id, uint32_t ms);
std::string Window(uint16_t slot, const Id& id, Flag direction, uint64_t total);

struct Header {
  uint32_t payload_bytes;
  uint8_t type;
  uint8_t flags;
  uint16_t slot;
  Id id;
};

// `bytes` holds at least a header.
Header ReadHeader(const char* bytes);

}  // namespace flood

#endif  // RELAY_TESTS_END_TO_END_FLOOD_WIRE_H_

// From a captured packet to the TCP segment in it: link layer, IPv4 or IPv6, TCP. Views, no state.

#ifndef RELAY_TOOLS_INSPECT_PACKET_H_
#define RELAY_TOOLS_INSPECT_PACKET_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include "absl/time/time.h"

namespace relay::inspect {

inline constexpr uint16_t kRelayPort = 7420;  // that relayd has unless told otherwise

// An end of a TCP connection. A value type.
struct Endpoint {
  std::array<uint8_t, 16> address = {};  // an IPv4 address in the first four
  bool is_v6 = false;
  uint16_t port = 0;

  friend bool operator==(const Endpoint&, const Endpoint&) = default;
  friend bool operator<(const Endpoint& a, const Endpoint& b) {
    return std::tie(a.address, a.is_v6, a.port) < std::tie(b.address, b.is_v6, b.port);
  }
  template <typename H>
  friend H AbslHashValue(H hash, const Endpoint& it) {
    return H::combine(std::move(hash), it.address, it.port);
  }
};

// "tcp://10.0.0.1:7420", "tcp://[::1]:7420".
std::string ToString(const Endpoint& endpoint);
// The other way; nothing for names and other kinds of addresses.
std::optional<Endpoint> ParseEndpoint(std::string_view url);

namespace tcp {
inline constexpr uint8_t kFin = 0x01;
inline constexpr uint8_t kSyn = 0x02;
inline constexpr uint8_t kReset = 0x04;
inline constexpr uint8_t kPush = 0x08;
inline constexpr uint8_t kAck = 0x10;
}  // namespace tcp

// Valid as long as the packet that it was found in.
struct Segment {
  Endpoint source;
  Endpoint target;
  uint32_t number = 0;  // of its first byte
  uint32_t acknowledged = 0;
  uint8_t flags = 0;
  std::span<const uint8_t> payload;  // what was captured of it
  uint32_t payload_bytes = 0;        // and what passed
  absl::Time at;

  bool has(uint8_t flag) const { return (flags & flag) != 0; }
};

// Whether FindSegment knows the link layer, by pcap's number for it: Ethernet, loopback, Linux "cooked", and raw IP.
bool IsKnownLink(int link_type);

// Nothing where the packet is no TCP, a fragment, or cut before its payload.
std::optional<Segment> FindSegment(int link_type, std::span<const uint8_t> packet);

// What `relay inspect --write` writes where a live observer was too slow: a packet of IPv4 with protocol 253, which is
// for experiments (RFC 3692), whose payload is these words and how many frames were lost.
inline constexpr std::string_view kLostWords = "relay frames lost: ";
inline constexpr uint8_t kLostProtocol = 253;

// How many of them; nothing where the packet is another one.
std::optional<uint64_t> FindLost(int link_type, std::span<const uint8_t> packet);

}  // namespace relay::inspect

#endif  // RELAY_TOOLS_INSPECT_PACKET_H_

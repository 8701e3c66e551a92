#include "tools/inspect/packet.h"

#include <arpa/inet.h>
#include <pcap/dlt.h>

#include <algorithm>
#include <string_view>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "proto/endian.h"

namespace relay::inspect {
namespace {

using proto::LoadBig;
using Bytes = std::span<const uint8_t>;

constexpr uint16_t kIpv4 = 0x0800;
constexpr uint16_t kIpv6 = 0x86dd;
constexpr uint16_t kVlan = 0x8100;
constexpr uint16_t kServiceVlan = 0x88a8;
constexpr uint8_t kTcp = 6;

// Behind an Ethernet type, which tags of VLANs may stand before.
Bytes BehindEthernetType(Bytes packet, size_t at) {
  while (packet.size() >= at + 2) {
    const auto type = LoadBig<uint16_t>(&packet[at]);
    at += 2;
    if (type == kIpv4 || type == kIpv6) return packet.subspan(at);
    if (type != kVlan && type != kServiceVlan) return {};
    at += 2;
  }
  return {};
}

// The IP packet; empty where there is none.
Bytes BehindLink(int link_type, Bytes packet) {
  const auto from = [packet](size_t at) { return packet.size() > at ? packet.subspan(at) : Bytes(); };
  switch (link_type) {
    case DLT_EN10MB:
      return BehindEthernetType(packet, 12);
    case DLT_NULL:
    case DLT_LOOP:
      return from(4);  // the family's number depends on the system; the version of IP does not
    case DLT_LINUX_SLL:
      return BehindEthernetType(packet, 14);
    case DLT_LINUX_SLL2:
      if (packet.size() < 2 || (LoadBig<uint16_t>(&packet[0]) != kIpv4 && LoadBig<uint16_t>(&packet[0]) != kIpv6)) {
        return {};
      }
      return from(20);
    case DLT_RAW:
    case DLT_IPV4:
    case DLT_IPV6:
      return packet;
    default:
      return {};
  }
}

// Finds TCP behind IP, and how many of its bytes passed.
Bytes BehindIpv4(Bytes ip, Segment& segment, size_t& tcp_bytes) {
  if (ip.size() < 20) return {};
  const size_t header_bytes = size_t{ip[0] & 0x0fu} * 4;
  size_t all_bytes = LoadBig<uint16_t>(&ip[2]);
  if (all_bytes == 0) all_bytes = ip.size();  // the network card was to cut it
  const bool is_fragment = (LoadBig<uint16_t>(&ip[6]) & 0x3fff) != 0;
  if (header_bytes < 20 || all_bytes < header_bytes || ip.size() < header_bytes || ip[9] != kTcp || is_fragment) {
    return {};
  }
  std::copy_n(&ip[12], 4, segment.source.address.begin());
  std::copy_n(&ip[16], 4, segment.target.address.begin());
  tcp_bytes = all_bytes - header_bytes;
  return ip.subspan(header_bytes, std::min(ip.size() - header_bytes, tcp_bytes));
}

Bytes BehindIpv6(Bytes ip, Segment& segment, size_t& tcp_bytes) {
  constexpr size_t kHeaderBytes = 40;
  if (ip.size() < kHeaderBytes) return {};
  size_t left = LoadBig<uint16_t>(&ip[4]);
  uint8_t next = ip[6];
  std::copy_n(&ip[8], 16, segment.source.address.begin());
  std::copy_n(&ip[24], 16, segment.target.address.begin());
  segment.source.is_v6 = segment.target.is_v6 = true;
  Bytes rest = ip.subspan(kHeaderBytes);
  if (left == 0) left = rest.size();
  rest = rest.first(std::min(rest.size(), left));
  while (next == 0 || next == 43 || next == 60) {  // options that hops, routers and the target read
    if (rest.size() < 8) return {};
    const size_t bytes = (size_t{rest[1]} + 1) * 8;
    next = rest[0];
    if (rest.size() < bytes) return {};
    rest = rest.subspan(bytes);
    left -= bytes;
  }
  tcp_bytes = left;
  return next == kTcp ? rest : Bytes();
}

}  // namespace

std::string ToString(const Endpoint& endpoint) {
  char text[INET6_ADDRSTRLEN] = {};
  inet_ntop(endpoint.is_v6 ? AF_INET6 : AF_INET, endpoint.address.data(), text, sizeof(text));
  return absl::StrCat("tcp://", endpoint.is_v6 ? "[" : "", text, endpoint.is_v6 ? "]" : "", ":", endpoint.port);
}

std::optional<Endpoint> ParseEndpoint(std::string_view url) {
  constexpr std::string_view kScheme = "tcp://";
  if (!url.starts_with(kScheme)) return std::nullopt;
  url.remove_prefix(kScheme.size());
  const size_t colon = url.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const std::string_view port_text = url.substr(colon + 1);
  uint32_t port = 0;
  if (!absl::SimpleAtoi(absl::string_view(port_text.data(), port_text.size()), &port) || port > UINT16_MAX) {
    return std::nullopt;
  }
  std::string host(url.substr(0, colon));
  Endpoint endpoint;
  endpoint.port = static_cast<uint16_t>(port);
  if (inet_pton(AF_INET, host.c_str(), endpoint.address.data()) == 1) return endpoint;
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  endpoint.is_v6 = true;
  if (inet_pton(AF_INET6, host.c_str(), endpoint.address.data()) == 1) return endpoint;
  return std::nullopt;
}

bool IsKnownLink(int link_type) {
  switch (link_type) {
    case DLT_EN10MB:
    case DLT_NULL:
    case DLT_LOOP:
    case DLT_LINUX_SLL:
    case DLT_LINUX_SLL2:
    case DLT_RAW:
    case DLT_IPV4:
    case DLT_IPV6:
      return true;
    default:
      return false;
  }
}

std::optional<Segment> FindSegment(int link_type, Bytes packet) {
  const Bytes ip = BehindLink(link_type, packet);
  if (ip.empty()) return std::nullopt;
  Segment segment;
  size_t tcp_bytes = 0;
  const unsigned version = ip[0] >> 4;
  Bytes tcp;
  if (version == 4) tcp = BehindIpv4(ip, segment, tcp_bytes);
  if (version == 6) tcp = BehindIpv6(ip, segment, tcp_bytes);
  if (tcp.size() < 20) return std::nullopt;
  const size_t header_bytes = size_t{tcp[12]} / 16 * 4;
  if (header_bytes < 20 || header_bytes > tcp.size() || header_bytes > tcp_bytes) return std::nullopt;
  segment.source.port = LoadBig<uint16_t>(&tcp[0]);
  segment.target.port = LoadBig<uint16_t>(&tcp[2]);
  segment.number = LoadBig<uint32_t>(&tcp[4]);
  segment.acknowledged = LoadBig<uint32_t>(&tcp[8]);
  segment.flags = tcp[13];
  segment.payload = tcp.subspan(header_bytes);
  segment.payload_bytes = static_cast<uint32_t>(tcp_bytes - header_bytes);
  return segment;
}

std::optional<uint64_t> FindLost(int link_type, Bytes packet) {
  constexpr size_t kIpBytes = 20;
  const Bytes ip = BehindLink(link_type, packet);
  if (ip.size() < kIpBytes || ip[0] != 0x45 || ip[9] != kLostProtocol) return std::nullopt;
  const size_t bytes = std::min<size_t>(ip.size(), LoadBig<uint16_t>(&ip[2]));
  std::string_view words(reinterpret_cast<const char*>(ip.data()), bytes);
  words.remove_prefix(std::min(kIpBytes, bytes));
  if (!words.starts_with(kLostWords)) return std::nullopt;
  words.remove_prefix(kLostWords.size());
  uint64_t lost = 0;
  if (!absl::SimpleAtoi(absl::string_view(words.data(), words.size()), &lost)) return std::nullopt;
  return lost;
}

}  // namespace relay::inspect

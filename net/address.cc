#include "net/address.h"

#include <sys/un.h>

#include <cctype>
#include <charconv>

#include "absl/strings/str_cat.h"

namespace relay::net {
namespace {

constexpr std::string_view kTcp = "tcp://";
constexpr std::string_view kUnix = "unix:";
// The system's sun_path, less its terminating zero.
constexpr size_t kMaxPathBytes = sizeof(sockaddr_un{}.sun_path) - 1;

absl::Status Invalid(std::string_view text, const std::string& rule) {
  return absl::InvalidArgumentError(absl::StrCat("address \"", std::string(text), "\": ", rule));
}

bool IsHostCharacter(char c) { return std::isgraph(static_cast<unsigned char>(c)) != 0 && c != '/' && c != '@'; }

}  // namespace

absl::StatusOr<Address> ParseAddress(std::string_view text) {
  Address address;
  if (text.starts_with(kUnix)) {
    const std::string_view path = text.substr(kUnix.size());
    if (path.empty()) return Invalid(text, "a path must follow unix:");
    if (path.size() > kMaxPathBytes) {
      return Invalid(text, absl::StrCat("the path of a Unix socket has at most ", kMaxPathBytes, " bytes"));
    }
    if (path.find('\0') != path.npos) return Invalid(text, "a path holds no zero byte");
    address.kind = Address::Kind::kUnix;
    address.path = std::string(path);
    return address;
  }
  if (!text.starts_with(kTcp)) return Invalid(text, "must be tcp://HOST:PORT or unix:PATH");

  const std::string_view rest = text.substr(kTcp.size());
  const size_t colon = rest.rfind(':');
  if (colon == rest.npos || rest.ends_with(']'))
    return Invalid(text, "a port must follow the host, as tcp://HOST:PORT");
  std::string_view host = rest.substr(0, colon);
  const std::string_view port = rest.substr(colon + 1);

  const bool brackets = host.starts_with('[') && host.ends_with(']') && host.size() >= 2;
  if (brackets) host = host.substr(1, host.size() - 2);
  if (host.empty()) return Invalid(text, "the host is empty; every interface is tcp://0.0.0.0:PORT or tcp://[::]:PORT");
  for (const char c : host) {
    if (!IsHostCharacter(c)) return Invalid(text, "a host holds no space, slash, @ or control character");
    if (c == '[' || c == ']' || (c == ':' && !brackets)) {
      return Invalid(text, "an IPv6 address stands in brackets, as tcp://[::1]:PORT");
    }
  }
  if (brackets && host.find(':') == host.npos) return Invalid(text, "only an IPv6 address stands in brackets");

  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), address.port);
  if (port.empty() || error != std::errc() || end != port.data() + port.size()) {
    return Invalid(text, "the port must be a number from 0 to 65535");
  }
  address.host = std::string(host);
  return address;
}

std::string ToString(const Address& address) {
  if (address.kind == Address::Kind::kUnix) return absl::StrCat("unix:", address.path);
  const bool brackets = address.host.find(':') != std::string::npos;
  return absl::StrCat("tcp://", brackets ? "[" : "", address.host, brackets ? "]" : "", ":", address.port);
}

}  // namespace relay::net

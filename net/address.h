// Where to listen and where to connect: the two spellings that flags, configuration and logs share.
//   tcp://HOST:PORT   HOST is an IPv4 address, a name, or an IPv6 address in brackets
//   unix:PATH         the path of a Unix socket
// Names are not resolved here: see connector.h and listener.h.

#ifndef RELAY_NET_ADDRESS_H_
#define RELAY_NET_ADDRESS_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace relay::net {

struct Address {
  enum class Kind { kTcp, kUnix };

  Kind kind = Kind::kTcp;
  std::string host;   // kTcp: without brackets.
  uint16_t port = 0;  // kTcp: 0 asks a listener for any free port.
  std::string path;   // kUnix.

  friend bool operator==(const Address&, const Address&) = default;
};

// INVALID_ARGUMENT names the text and the rule that it breaks.
absl::StatusOr<Address> ParseAddress(std::string_view text);

// The spelling that ParseAddress takes: tcp://127.0.0.1:7420, tcp://[::1]:7420, unix:/run/relay.sock.
std::string ToString(const Address& address);

}  // namespace relay::net

#endif  // RELAY_NET_ADDRESS_H_

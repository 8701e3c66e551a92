// A live relay: asks it to be an observer, and tells what it mirrors (PROTOCOL.md, "Observers").

#ifndef RELAY_TOOLS_INSPECT_LIVE_H_
#define RELAY_TOOLS_INSPECT_LIVE_H_

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "net/address.h"
#include "proto/uuid.h"
#include "tools/inspect/source.h"

namespace relay::inspect {

// All that is given must hold of a frame. A value type.
struct LiveOptions {
  net::Address server;
  std::optional<proto::Uuid> channel;
  std::optional<proto::Uuid> client;
  std::optional<proto::Uuid> request;
  uint32_t snap_bytes = 256;  // of each payload
};

// Connects when it runs. Run's errors: what the relay says in its GOAWAY (PERMISSION_DENIED where it allows no
// observers), and UNAVAILABLE where it cannot be reached, ends the connection or is silent.
absl::StatusOr<std::unique_ptr<Source>> OpenLive(const LiveOptions& options);

}  // namespace relay::inspect

#endif  // RELAY_TOOLS_INSPECT_LIVE_H_

// Writes what a source tells as a pcapng of TCP over IP, which relay inspect, Wireshark and tshark open.
//
// Segments are made up: sequence numbers, checksums and the beginnings and ends of connections are as a clean network
// would have them. Addresses are kept where the source knows IP addresses; others become a client on 127.0.0.0/8. What
// the source does not know stays unknown: a frame that it knows the beginning of becomes a packet that was cut when it
// was captured, a gap becomes sequence numbers that nobody sent, kUnknownGapBytes of them where nobody knows how many.
// Frames that were lost are counted in a packet of their own (packet.h). A time that nobody knows becomes 0, and is
// read as that again.

#ifndef RELAY_TOOLS_INSPECT_PCAPNG_WRITER_H_
#define RELAY_TOOLS_INSPECT_PCAPNG_WRITER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "tools/inspect/tap.h"

namespace relay::inspect {

// More than any TCP window, so that no capture has a gap of this size.
inline constexpr uint32_t kUnknownGapBytes = uint32_t{1} << 30;

// "-" is stdout; any other file is made, or emptied. A write that fails later is told to `on_failed` at once, and by
// Finish again; nothing is written behind it.
absl::StatusOr<std::unique_ptr<Tap>> CreatePcapng(const std::string& path,
                                                  std::function<void(const absl::Status&)> on_failed);

}  // namespace relay::inspect

#endif  // RELAY_TOOLS_INSPECT_PCAPNG_WRITER_H_

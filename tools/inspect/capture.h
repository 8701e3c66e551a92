// pcap and pcapng, read by libpcap: packets, segments, connections, one packet at a time.

#ifndef RELAY_TOOLS_INSPECT_CAPTURE_H_
#define RELAY_TOOLS_INSPECT_CAPTURE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "tools/inspect/byte_input.h"
#include "tools/inspect/source.h"

namespace relay::inspect {

// How many bytes IsCapture looks at.
inline constexpr size_t kCaptureMagicBytes = 4;

// Whether a file that begins so is a pcap, of either order of bytes and either unit of time, or a pcapng; one that ends
// so soon may have been.
bool IsCapture(std::string_view first_bytes);

// INVALID_ARGUMENT where the file's header is broken, or its link layer unknown. At the end of Run `on_skipped` hears
// how many TCP connections were left out, since they are not relay's; not where that is none. `port` as of TcpAssembly.
absl::StatusOr<std::unique_ptr<Source>> OpenCapture(std::unique_ptr<ByteInput> input, uint16_t port,
                                                    std::function<void(uint64_t connections)> on_skipped);

}  // namespace relay::inspect

#endif  // RELAY_TOOLS_INSPECT_CAPTURE_H_

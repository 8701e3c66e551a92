// Where frames come from. tools/relay/inspect.cc picks one and runs it.

#ifndef RELAY_TOOLS_INSPECT_SOURCE_H_
#define RELAY_TOOLS_INSPECT_SOURCE_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "tools/inspect/tap.h"

namespace relay::inspect {

// Thread-compatible, but for Stop.
class Source {
 public:
  virtual ~Source() = default;

  // Tells `tap` what there is until the input ends or Stop() was called, once. Does not call Tap::Finish. What is wrong
  // with the input as a container (a pcap that breaks off) is an error, told after everything before it; what is wrong
  // with the frames in it is the decoder's to say.
  virtual absl::Status Run(Tap& tap) = 0;

  // Makes Run return soon, with OK. From any thread, also from inside a call of the tap, before Run too. Idempotent.
  virtual void Stop() = 0;

  // How far a file has been read, for a progress bar; total_bytes 0 where nobody knows. On the thread of Run.
  struct Position {
    uint64_t read_bytes = 0;
    uint64_t total_bytes = 0;
  };
  virtual Position position() const { return {}; }
};

// The sources and their makers:
//   raw.h      RawSource: one or two files, or stdin, that hold the bytes of a direction each
//   hex.h      a hex dump, as bytes for RawSource
//   proxy.h    ProxySource: between clients and a server
//   capture.h  bool IsCapture(std::string_view first_bytes), by the magic of pcap and pcapng, and
//              absl::StatusOr<std::unique_ptr<Source>> OpenCapture(std::unique_ptr<ByteInput> input, ...)
//   live.h     absl::StatusOr<std::unique_ptr<Source>> OpenLive(const LiveOptions& options)
// A writer of captures is a Tap:
//   pcapng_writer.h  absl::StatusOr<std::unique_ptr<Tap>> CreatePcapng(const std::string& path, ...)

}  // namespace relay::inspect

#endif  // RELAY_TOOLS_INSPECT_SOURCE_H_

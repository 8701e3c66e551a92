// What a source of frames tells, and who hears it: the seam between where bytes come from (a proxy, a file, a live
// relay) and what is made of them (the decoder, a writer of captures, a test).

#ifndef RELAY_TOOLS_INSPECT_TAP_H_
#define RELAY_TOOLS_INSPECT_TAP_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "proto/uuid.h"

namespace relay::inspect {

// Given by the source, from 1, and never used again.
using ConnectionId = uint64_t;

enum class Direction : uint8_t { kToServer, kToClient };

// Of all times that a source tells: the wall clock where the source knows it. absl::InfinitePast() where it knows no
// time at all (a raw capture).

struct Opening {
  ConnectionId connection = 0;
  absl::Time at = absl::InfinitePast();
  // As "tcp://10.0.0.1:50123", "unix:/run/relay.sock"; empty where nobody knows.
  std::string client;
  std::string server;
  // The first byte of each direction is told. Else a direction may begin inside a frame, and clients may have joined
  // before.
  bool from_start = true;
  // What is told of one direction stands where it passed between what is told of the other. Else only one direction
  // was captured, or two without times: then what the client says is told first, but for the handshake.
  bool in_order = true;
};

struct Piece {
  ConnectionId connection = 0;
  Direction direction = Direction::kToServer;
  absl::Time at = absl::InfinitePast();
  std::span<const uint8_t> bytes;  // valid during the call
};

// A frame of which the source knows no more than its beginning: a live relay mirrors headers, and a part of payloads.
struct CutFrame {
  ConnectionId connection = 0;
  Direction direction = Direction::kToServer;
  absl::Time at = absl::InfinitePast();
  std::span<const uint8_t> header;   // 24 bytes, as on the wire; valid during the call
  std::span<const uint8_t> payload;  // the first bytes of the payload, perhaps all of it; valid during the call
  // Of the client on the frame's slot, nil where there is none or the source does not know.
  proto::Uuid channel = proto::kNilUuid;
  proto::Uuid client = proto::kNilUuid;
};

// Calls come from one thread, in the order of time as far as the source knows it. Thread-compatible.
class Tap {
 public:
  virtual ~Tap() = default;

  // Before anything else of that connection.
  virtual void OnOpen(const Opening& opening) = 0;

  // Bytes of one direction, in their order, cut anywhere.
  virtual void OnBytes(const Piece& piece) = 0;

  // So many bytes of one direction passed and are not known (segments that a capture lost); 0: nobody knows how many.
  virtual void OnGap(ConnectionId connection, Direction direction, absl::Time at, uint64_t bytes) = 0;

  // Instead of OnBytes, from a source that knows frames.
  virtual void OnFrame(const CutFrame& frame) = 0;

  // A live observer was too slow: so many frames, of whatever connections, are not told.
  virtual void OnLost(uint64_t frames, absl::Time at) = 0;

  // No more bytes of this direction. After both a connection is over. A source need not tell it at its own end.
  virtual void OnClose(ConnectionId connection, Direction direction, absl::Time at) = 0;

  // From sources that run in real time, some times a second, so that what is drawn on a terminal goes on.
  virtual void OnTick(absl::Time now) = 0;

  // The source has ended; nothing is called behind it. What is held is written out. An error is one of the tap's own:
  // what it writes to could not be written.
  virtual absl::Status Finish() = 0;
};

}  // namespace relay::inspect

#endif  // RELAY_TOOLS_INSPECT_TAP_H_

// What the decoder makes of what a source tells, and who shows it.

#ifndef RELAY_TOOLS_INSPECT_SEEN_H_
#define RELAY_TOOLS_INSPECT_SEEN_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "proto/frame.h"
#include "proto/uuid.h"
#include "tools/inspect/frame_reader.h"
#include "tools/inspect/payload.h"
#include "tools/inspect/rules.h"
#include "tools/inspect/tap.h"

namespace relay::inspect {

// What the client on a slot is in an exchange.
enum class Side : uint8_t { kNone, kSender, kReceiver };

// Of the stream that a frame belongs to, after the frame, as the writer of the stream knows it.
struct Credit {
  uint64_t cost = 0;
  uint64_t window = 0;
  uint64_t left() const { return window - (cost < window ? cost : window); }
};

// A frame as it passed, and what its connection's state makes of it. Views are valid during the call.
struct SeenFrame {
  uint64_t number = 0;  // from 1, over all connections
  ConnectionId connection = 0;
  Direction direction = Direction::kToServer;
  absl::Time at = absl::InfinitePast();
  uint64_t offset = 0;  // in its direction's bytes

  proto::Frame header;  // 24 bytes: payload() is empty
  std::span<const uint8_t> payload;
  uint32_t payload_bytes = 0;
  const Payload* content = nullptr;  // null where the type is not known

  proto::Uuid channel = proto::kNilUuid;
  std::string_view channel_name;  // empty where nobody has told it
  proto::Uuid client = proto::kNilUuid;
  Side side = Side::kNone;  // in the exchange that the frame names
  bool is_live = false;     // the exchange was live on this slot before the frame, or begins with it
  bool is_late = false;
  bool in_order = true;  // with the other direction, as its Opening says
  bool begins = false;   // an exchange, on this slot
  bool ends = false;     // it, on this slot
  std::optional<Credit> credit;

  Rule rule = Rule::kNone;  // that it breaks
  std::string_view rule_words;

  bool has_known_type() const { return header.has_known_type(); }
  proto::FrameType type() const { return header.type(); }
  bool is_cut() const { return payload.size() < payload_bytes; }
  // The request that the frame is about; nil where it is about none.
  proto::Uuid request() const {
    if (has_known_type() && type() == proto::FrameType::kLeave) return proto::kNilUuid;
    return header.id();
  }
  bool is(proto::FrameType wanted) const { return has_known_type() && type() == wanted; }
};

// Where in the trace something that is no frame stands.
struct Place {
  ConnectionId connection = 0;
  Direction direction = Direction::kToServer;
  absl::Time at = absl::InfinitePast();
};

// One handing-out of a request.
struct Attempt {
  enum class End : uint8_t {
    kNone,       // before that of the exchange
    kLost,       // the receiver
    kGivenBack,  // by the receiver
    kTakenAway   // by the server, since the exchange ended
  };
  uint16_t number = 0;
  proto::Uuid receiver = proto::kNilUuid;
  absl::Time at = absl::InfinitePast();
  absl::Time ended = absl::InfiniteFuture();  // InfiniteFuture with kNone
  End end = End::kNone;
};

// An exchange, from whatever of its two sides was seen.
struct Exchange {
  // A stretch in which a stream had no credit left to carry a byte.
  struct Stall {
    absl::Time from;
    absl::Time to;  // InfiniteFuture while it lasts
  };
  // One stream.
  struct Stream {
    absl::Time first = absl::InfiniteFuture();  // its START
    absl::Time last = absl::InfinitePast();     // its last frame
    bool has_ended = false;
    uint64_t body_bytes = 0;
    uint64_t frames = 0;
    uint64_t window = 0;
    absl::Duration stalled;
    std::vector<Stall> stalls;                          // the first kMostMarks of them
    std::vector<std::pair<absl::Time, uint64_t>> body;  // when so many bytes of body passed; thinned out
  };
  static constexpr size_t kMostMarks = 256;

  proto::Uuid channel = proto::kNilUuid;
  std::string channel_name;
  proto::Uuid request = proto::kNilUuid;
  std::string method;
  bool knows_method = false;  // it may be empty
  proto::Uuid sender = proto::kNilUuid;
  proto::Uuid receiver = proto::kNilUuid;  // the last one
  uint64_t first_frame = 0;                // its number
  bool in_order = true;                    // the two directions that it was seen in
  bool sender_seen = false;
  bool receiver_seen = false;
  std::vector<Attempt> attempts;
  uint16_t attempt = 0;

  absl::Time began = absl::InfinitePast();
  absl::Time ended = absl::InfinitePast();
  std::optional<absl::Duration> queue_wait;  // all of its time where it only waited; when told, without attempts
  Stream request_stream;
  Stream response_stream;
  std::optional<uint32_t> timeout_ms;

  std::optional<uint32_t> code = 0;  // the status that it ended with; nothing where that was cut
  std::string end;                   // the named end; "completed", or "open" where the trace has none
  std::string message;
  std::optional<bool> may_have_run;  // as a RESET says
  bool has_missed = false;           // frames of it: what passed is not known
  uint64_t broken_rules = 0;
};

// Hears what the decoder says, in order. Thread-compatible.
class Sink {
 public:
  virtual ~Sink() = default;

  // Before anything that has a time: what all of them are told from.
  virtual void OnBegin(absl::Time /*at*/) {}
  virtual void OnOpen(const Opening&) {}
  virtual void OnPreface(const Place&) {}
  virtual void OnFrame(const SeenFrame&) {}
  virtual void OnDamage(const Place&, const Damage&) {}
  virtual void OnSkipped(const Place&, const Skipped&) {}
  virtual void OnGap(const Place&, uint64_t /*offset*/, uint64_t /*bytes*/) {}
  virtual void OnLost(uint64_t /*frames*/, absl::Time /*at*/) {}
  virtual void OnClose(const Place&) {}
  // An exchange has ended, on the side that decides (the sender's, where that is seen).
  virtual void OnExchange(const Exchange&) {}
  // So many others have no beginning in the trace, and are not told.
  virtual void OnLeftOut(uint64_t /*exchanges*/) {}
  virtual void OnTick(absl::Time /*now*/) {}
  virtual absl::Status Finish() { return absl::OkStatus(); }
};

}  // namespace relay::inspect

#endif  // RELAY_TOOLS_INSPECT_SEEN_H_

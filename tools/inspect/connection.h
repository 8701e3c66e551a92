// What is known of one connection from what passed on it: its limits, its slots and what each is doing. It says of
// every frame which exchange it belongs to, what credit its stream has left, whether it is late, and which rule of
// PROTOCOL.md it breaks.
//
// It stands between the two peers. What either has written, the other may not have read yet, so a frame is judged by
// what its writer can have known at the most: late is what such a crossing can explain, broken what nothing can.
//
// Where nobody knows what of one direction passed before what of the other, each is judged by its own order alone.

#ifndef RELAY_TOOLS_INSPECT_CONNECTION_H_
#define RELAY_TOOLS_INSPECT_CONNECTION_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "proto/frame.h"
#include "proto/uuid.h"
#include "tools/inspect/history.h"
#include "tools/inspect/seen.h"

namespace relay::inspect {

// Thread-compatible.
class Connection {
 public:
  // An exchange that a slot had a part in and that no frame ended.
  enum class Gone : uint8_t {
    kUnknown,  // nobody knows why
    kLeft,     // its client has left, or has closed the connection
    kCutOff    // the server has closed it first
  };
  using OnAbandoned = std::function<void(const proto::Uuid& channel, const proto::Uuid& request, Side side, Gone gone)>;
  // Of a live exchange frames may be missing.
  using OnMissed = std::function<void(const proto::Uuid& channel, const proto::Uuid& request)>;

  // `history` and `names` are the decoder's, for all connections.
  Connection(const Opening& opening, History& history, ChannelNames& names, OnAbandoned on_abandoned,
             OnMissed on_missed);

  // Fills what is to be said of `frame` beyond its bytes. `content` is null where the type is not known.
  void Judge(SeenFrame& frame);
  // As if its client had joined it.
  void Know(uint16_t slot, const proto::Uuid& channel);
  // Bytes are missing: from here on nothing is broken that something missing may explain.
  void LoseSight(Direction direction);
  // Nothing more is to come of a direction, whatever is missing at its end.
  void EndSight(Direction direction) { sees_[Index(direction)] = false; }
  // Both directions are over.
  void Close(bool client_first);

  // 0 while no WELCOME was seen.
  uint32_t max_payload_bytes() const { return has_welcome_ ? max_payload_bytes_ : 0; }

 private:
  enum class Doing : uint8_t { kNothing, kWaiting, kSending, kReceiving };
  struct Stream {
    uint64_t cost = 0;
    uint64_t window = 0;
    bool has_started = false;
    bool has_ended = false;
  };
  struct Slot {
    uint16_t number = 0;
    proto::Uuid channel = proto::kNilUuid;
    proto::Uuid client = proto::kNilUuid;
    bool is_joined = false;
    bool is_leaving = false;      // LEAVE was sent, its echo has not come
    bool is_taken_away = false;   // the server's LEAVE came unasked: the client may not know yet
    bool is_withdrawing = false;  // the echo has not come
    Doing doing = Doing::kNothing;
    proto::Uuid request = proto::kNilUuid;
    uint64_t losses = 0;  // as the exchange began
    Stream request_stream;
    Stream response_stream;
  };

  // What one direction has said of its stream of an exchange.
  struct Said {
    bool has_started = false;
    bool has_ended = false;
    bool is_over = false;  // RESET
    uint16_t attempt = 0;
  };
  // What a client has to do with a request.
  struct Part {
    Side side = Side::kNone;
    std::array<Said, 2> said;
    bool has_end = false;
  };
  // A client on a slot, from its JOIN to the server's LEAVE, where the directions are not in order.
  struct Stay {
    proto::Uuid channel = proto::kNilUuid;
    proto::Uuid client = proto::kNilUuid;
    bool has_left = false;
    absl::flat_hash_map<proto::Uuid, Part, proto::UuidHash> parts;
  };
  struct Stays {
    bool is_joined = false;    // as the client says
    std::deque<Stay> in_line;  // the client's direction is at the last of them, the server's at the first
  };
  struct Joined {
    proto::Uuid channel;
    proto::Uuid client;
  };

  // Whether there is more to be said about the frame.
  bool JudgeOrder(SeenFrame& frame);
  void JudgeSlot(SeenFrame& frame, Slot& slot);
  void OnHello(SeenFrame& frame);
  void OnWelcome(SeenFrame& frame);
  // Nothing where it joins nobody, whatever is on the slot.
  std::optional<Joined> ReadJoin(SeenFrame& frame);
  void OnJoin(SeenFrame& frame);
  void OnGoaway(SeenFrame& frame);
  void OnLeave(SeenFrame& frame, Slot& slot);
  void OnReceiveToServer(SeenFrame& frame, Slot& slot);
  void OnReceiveToClient(SeenFrame& frame, Slot& slot);
  void OnRequestToServer(SeenFrame& frame, Slot& slot);
  void OnRequestToClient(SeenFrame& frame, Slot& slot);
  void OnStream(SeenFrame& frame, Slot& slot);
  void OnWindow(SeenFrame& frame, Slot& slot);
  void OnReset(SeenFrame& frame, Slot& slot);
  void OnExtend(SeenFrame& frame, Slot& slot);

  // By the order of its own direction.
  void JudgeAlone(SeenFrame& frame);
  void LeaveAlone(SeenFrame& frame, Stays& stays);
  void StreamAlone(SeenFrame& frame, const Stays& stays, Part& part);
  void StartAlone(SeenFrame& frame, Said& said);
  void AnswerAlone(SeenFrame& frame, Part& part);
  Part& PartOf(Stay& stay, const proto::Uuid& request);
  // The frame begins to wait, or a request.
  void OperateAlone(SeenFrame& frame, const Stays& stays);

  // The slot takes no part in the exchange of the frame: late, or never begun.
  void OnForeign(SeenFrame& frame, const Slot& slot);
  void BeginReceive(SeenFrame& frame, Slot& slot);
  void BeginExchange(SeenFrame& frame, Slot& slot, Doing doing);
  void EndExchange(SeenFrame& frame, Slot& slot, History::Past how);
  // Its START could not begin it.
  void Refuse(SeenFrame& frame, Rule rule);
  // Without a frame that ends it.
  void Abandon(Slot& slot, Gone gone);
  // A stream's START, CHUNK or END where the exchange is live.
  void Spend(SeenFrame& frame, Stream& stream);
  // False where the payload is not what its type wants.
  static bool IsReadable(SeenFrame& frame);
  // The same of a frame that changes more than itself: of one that was cut, nobody knows what.
  bool IsUnderstood(SeenFrame& frame);
  Stream& StreamOf(const SeenFrame& frame, Slot& slot) {
    return frame.header.has(proto::flag::kRequest) ? slot.request_stream : slot.response_stream;
  }
  static bool IsToServer(const SeenFrame& frame) { return frame.direction == Direction::kToServer; }
  // The first rule that is broken is told.
  static void Break(SeenFrame& frame, Rule rule, std::string_view words = {});
  // Only where nothing that was missed can explain it: of its own direction, where the two are not in order.
  void BreakIfSeen(SeenFrame& frame, Rule rule) {
    if (in_order_ ? SeesAll() : sees_[Index(frame.direction)]) Break(frame, rule);
  }
  // What takes both directions to know.
  void BreakIfAllSeen(SeenFrame& frame, Rule rule) {
    if (SeesAll()) Break(frame, rule);
  }
  bool SeesAll() const { return in_order_ && sees_[0] && sees_[1]; }
  static size_t Index(Direction direction) { return direction == Direction::kToServer ? 0 : 1; }
  uint64_t HistoryKey(uint16_t slot) const { return (id_ << 16) | slot; }
  // Where nothing is known of it yet, a free one.
  Slot& SlotOf(uint16_t number) {
    Slot& slot = slots_[number];
    slot.number = number;
    return slot;
  }

  const ConnectionId id_;
  History& history_;
  ChannelNames& names_;
  const OnAbandoned on_abandoned_;
  const OnMissed on_missed_;
  const bool in_order_;       // both directions
  std::array<bool, 2> sees_;  // a direction from its first byte on
  uint64_t losses_ = 0;

  bool has_client_frame_ = false;
  bool has_hello_ = false;
  std::optional<bool> is_observer_ = false;  // nothing where HELLO was cut
  bool has_server_frame_ = false;
  bool has_welcome_ = false;
  bool client_leaves_ = false;  // GOAWAY
  bool server_leaves_ = false;
  bool client_is_done_ = false;  // its GOAWAY was that of a protocol error
  bool server_is_done_ = false;
  bool is_thrown_away_ = false;  // what the client says: the server ends the connection
  uint32_t max_payload_bytes_ = proto::kSmallestMaxPayloadBytes;
  uint64_t window_bytes_ = proto::kSmallestWindowBytes;
  uint64_t max_window_bytes_ = UINT64_MAX;
  uint32_t max_start_bytes_ = UINT16_MAX;
  absl::flat_hash_map<uint16_t, Slot> slots_;
  absl::flat_hash_map<uint16_t, Stays> stays_;                    // instead, where the directions are not in order
  std::vector<std::pair<proto::Uuid, proto::Uuid>> begun_alone_;  // there, since the last loss: channels and requests
  absl::flat_hash_map<proto::Uuid, uint16_t, proto::UuidHash> sending_;  // the slots of live requests
};

}  // namespace relay::inspect

#endif  // RELAY_TOOLS_INSPECT_CONNECTION_H_

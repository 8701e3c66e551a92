// The client's side of one connection, without I/O, clock or threads (PROTOCOL.md is the spec).
//
// Commands append frames to an output that the owner takes once in each turn of its loop; bytes from the server become
// events that the owner asks for one by one, so that the state here is always exactly that of the last event. Which
// client runs which operation when, and what to do when the connection is lost, is the owner's to say.

#ifndef RELAY_CLIENT_PROTOCOL_H_
#define RELAY_CLIENT_PROTOCOL_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "proto/frame.h"
#include "proto/relay.pb.h"
#include "proto/uuid.h"
#include "relay/status.h"

namespace relay::client {

// PROTOCOL.md, "Limits, as WELCOME tells them"; before it, the smallest that a server may have.
struct Limits {
  uint32_t max_payload_bytes = proto::kSmallestMaxPayloadBytes;
  uint32_t initial_window_bytes = proto::kSmallestWindowBytes;
  uint32_t max_start_bytes = proto::kSmallestMaxStartBytes;
  uint32_t max_clients = UINT16_MAX;
  absl::Duration heartbeat_interval = absl::InfiniteDuration();
  int heartbeat_misses = 2;
};

// Something that the server said. Views point into the bytes that were given to Next().
struct Event {
  enum class Kind {
    kNone,         // the bytes hold no further whole frame
    kWelcome,      // the first event of a connection that was not refused; limits() and credits have grown
    kGoaway,       // no new operation, slots that waited are idle; what runs goes on, until the server closes. Without
                   // kWelcome before: refused
    kLeft,         // the slot is free. OK: the echo of Leave; else the join was refused or taken over, and what the
                   // slot did is over
    kNothingCame,  // the wait is over, the slot idle
    kWithdrawn,    // the echo of Withdraw: the slot is idle, unless kRequest came before
    kRequest,      // the slot, which waited, serves `id`: start block, head, body
    kDiscarded,    // a request came that cannot be read, and was reset; the slot, which waited, is idle
    kResponse,     // the response of `id` begins: start block, head, body
    kBody,         // body bytes of the stream that comes in
    kEnd,          // that stream is complete by an END; for a response: status and metadata, and the exchange is over
    kCredit,       // the stream that goes out may cost more than before
    kExtended,     // the answer to an Extend of the slot's exchange: `remaining`
    kReset,        // the exchange `id` is over, and the slot idle
    kFault,        // the server broke the protocol. Everything further is ignored; the connection is to be closed once
                   // the output, which ends with GOAWAY, was sent
  };

  Kind kind = Kind::kNone;
  uint16_t slot = 0;
  proto::Uuid id = proto::kNilUuid;  // the request, or for kLeft the client
  Status status;                     // kGoaway, kLeft, kEnd, kReset, kFault
  std::string_view body;             // kRequest, kResponse, kBody
  uint64_t cost = 0;                 // what `body` cost, to be given back with Consumed
  bool is_last = false;              // kRequest, kResponse, kBody: the stream is complete; for a response, the exchange
                                     // is over, and the slot idle
  v1::Start head;                    // kRequest, kResponse
  proto::Uuid other_client = proto::kNilUuid;  // kRequest, kResponse
  bool is_idempotent = false;                  // kRequest: may go to another receiver
  uint16_t attempt = 0;                        // kRequest, kResponse
  absl::Duration queue_wait;                   // kRequest, kResponse
  std::optional<absl::Duration> remaining;     // kRequest, kExtended: of the sender's timeout; nothing: it has none
  v1::End end;                                 // kEnd of a response: the metadata

  // As a new one, but for the messages, which are what was parsed last.
  void Clear();
};

// What opens a request beyond its body.
struct RequestStart {
  std::string head;  // a Start as it goes out, of at most limits().max_start_bytes
  bool is_idempotent = false;
  bool requires_receiver = false;
  absl::Duration timeout;        // zero for none; else at least a millisecond is told
  absl::Duration max_extension;  // receivers may move it to so much; zero for no extension
};

// Commands name a slot and, inside an exchange, its request id: one whose exchange is over sends nothing, so the owner
// may be a step behind. Slots are bound by Join and free again behind kLeft. A bound slot is idle, waits (Receive), or
// is busy with one exchange (Start, kRequest). Invariants: at most one operation a slot; what was sent costs no more
// than the credit of its stream; what was received no more than was granted. Thread-compatible.
class Protocol {
 public:
  // The output begins with the preface and HELLO.
  Protocol(std::string_view agent, absl::Time now);

  // --- Commands.

  // The slot that the client has from now on; 0 where the server takes no more clients on a connection. `channel_name`
  // gives `channel`, or is empty.
  uint16_t Join(const proto::Uuid& client, const proto::Uuid& channel, std::string_view channel_name,
                std::string_view key);
  // Whatever the slot does is over; no event but kLeft comes for it.
  void Leave(uint16_t slot);

  // Waits for a request, without end where `wait` is nothing. False, and nothing is sent, where the slot is not idle.
  bool Receive(uint16_t slot, std::optional<absl::Duration> wait);
  // False where the slot does not wait, or was withdrawn before.
  bool Withdraw(uint16_t slot);

  // Opens a request with as much of `body` as one frame and the credit take, and returns how much that was; complete
  // with it if `is_whole` and all was taken. Nothing where the slot is not idle.
  std::optional<size_t> Start(uint16_t slot, const proto::Uuid& id, const RequestStart& start, std::string_view body,
                              bool is_whole);
  // The same for the response of the request that the slot serves. Where that completes it, the exchange is over, and
  // `goes_on` says that the slot waits again, without end; not where a withdrawal's echo is still to come, since it
  // could not be told which of the two waits the echo ends. IsWaiting() says what became of it.
  std::optional<size_t> Respond(uint16_t slot, const proto::Uuid& id, std::string_view head, std::string_view body,
                                bool is_whole, bool goes_on);
  // Sends as much of `bytes` as the credit takes, and at most `max_bytes` of frames, and returns how much that was;
  // completes the stream if `is_whole` and all was taken. The stream was opened.
  size_t Write(uint16_t slot, const proto::Uuid& id, std::string_view bytes, bool is_whole, bool goes_on,
               size_t max_bytes = SIZE_MAX);
  // Completes an opened response with a status or with metadata. `end` takes at most limits().max_start_bytes.
  void End(uint16_t slot, const proto::Uuid& id, const v1::End& end, bool goes_on);

  // The application has taken what cost so much of the stream that comes in. WINDOW goes out by the half window.
  void Consumed(uint16_t slot, const proto::Uuid& id, uint64_t cost);

  // Asks that the request which the slot serves may take so long from now. Each is answered by kExtended, in order.
  void Extend(uint16_t slot, const proto::Uuid& id, absl::Duration time);

  // Ends the exchange. `requeue`: the request may go to another receiver.
  void Reset(uint16_t slot, const proto::Uuid& id, const Status& status, bool requeue);

  // No new operation comes from here; the server closes when what runs has ended.
  void Goaway(const Status& status);

  // --- Input and output.

  // The next event of the bytes that came in; its frames are taken from the front of `input`. With kNone the rest of
  // `input` is the beginning of a frame, and is to come again in front of what is read next. Memory is taken for
  // nothing but the event, which is valid until the next call.
  const Event& Next(std::span<uint8_t>& input);

  // Bytes have come in.
  void OnRead(absl::Time now);
  // Swaps the output with `buffer`, which is empty. It counts as sent.
  void TakeOutput(std::string& buffer, absl::Time now);
  size_t output_bytes() const { return output_.size(); }
  // All output that was taken so far, and all that there was.
  uint64_t taken_bytes() const { return taken_bytes_; }
  uint64_t appended_bytes() const { return taken_bytes_ + output_.size(); }

  // When OnTime is to be called.
  absl::Time next_time() const { return next_time_; }
  // False: nothing was read for so long that the server is dead. It is only said when reading was possible since the
  // time had passed: the owner reads what there is between one call and the next.
  [[nodiscard]] bool OnTime(absl::Time now);

  // --- State.

  const Limits& limits() const { return limits_; }
  bool is_welcome() const { return is_welcome_; }
  // The body bytes that one frame can take of what the slot's stream going out may still cost.
  uint64_t credit(uint16_t slot) const;
  // Whether the slot is busy with this exchange.
  bool IsLive(uint16_t slot, const proto::Uuid& id) const;
  bool IsWaiting(uint16_t slot) const;
  // Frames that were dropped: late ones, and those of types that this version does not know.
  uint64_t late_frames() const { return late_frames_; }
  uint64_t unknown_frames() const { return unknown_frames_; }

 private:
  enum class State : uint8_t { kFree, kIdle, kWaiting, kSending, kServing, kLeaving };

  struct Slot {
    State state = State::kFree;
    bool is_withdrawing = false;
    proto::Uuid client = proto::kNilUuid;
    proto::Uuid exchange = proto::kNilUuid;
    // The stream that goes out.
    bool out_is_open = false;
    bool out_is_complete = false;
    uint64_t out_cost = 0;
    uint64_t out_limit = 0;
    // The stream that comes in.
    bool in_is_open = false;
    bool in_is_complete = false;
    uint64_t in_cost = 0;
    uint64_t in_limit = 0;
    uint64_t in_consumed = 0;
  };

  Slot* Find(uint16_t slot);
  Slot* FindLive(uint16_t slot, const proto::Uuid& id);
  static bool MayGoOn(const Slot& slot) { return slot.state == State::kServing && !slot.is_withdrawing; }
  void BeginExchange(Slot& slot, State state, const proto::Uuid& id);
  void EndExchange(Slot& slot, bool goes_on);
  size_t AppendStart(Slot& slot, uint16_t number, uint8_t flags, std::string_view head, const RequestStart* request,
                     std::string_view body, bool is_whole, bool goes_on);
  void CompleteOutput(Slot& slot, bool goes_on);
  void AppendReset(uint16_t slot, const proto::Uuid& id, const Status& status, bool requeue);

  // Each fills the event of one frame, kNone for one that means nothing to the owner.
  void OnFrame(proto::Frame frame, Event& event);
  void OnWelcome(const proto::Frame& frame, Event& event);
  void OnLeave(const proto::Frame& frame, Event& event);
  void OnReceive(const proto::Frame& frame, Event& event);
  void OnStart(const proto::Frame& frame, Event& event);
  void OnChunk(const proto::Frame& frame, Event& event);
  void OnEnd(const proto::Frame& frame, Event& event);
  void OnWindow(const proto::Frame& frame, Event& event);
  void OnReset(const proto::Frame& frame, Event& event);
  void OnExtend(const proto::Frame& frame, Event& event);
  // Whether the body fits in what was granted; a fault of the server where not.
  bool TakeBody(Slot& slot, std::string_view body, uint64_t cost, bool is_last, Event& event);
  void Fault(std::string_view rule, Event& event);

  Event event_;  // kept for what its messages would take each time
  Limits limits_;
  bool is_welcome_ = false;
  bool has_failed_ = false;
  uint64_t late_frames_ = 0;
  uint64_t unknown_frames_ = 0;
  std::vector<Slot> slots_;          // by number; the one at 0 stays free
  std::deque<uint16_t> free_slots_;  // the one that has been free longest first
  size_t bound_slots_ = 0;           // without those that only wait for the echo of LEAVE
  std::string output_;
  uint64_t taken_bytes_ = 0;

  void SetNextTime();
  absl::Time last_read_;
  absl::Time last_sent_;
  absl::Time next_time_ = absl::InfiniteFuture();
  bool is_suspect_ = false;  // the time for reading had passed at the last OnTime
};

}  // namespace relay::client

#endif  // RELAY_CLIENT_PROTOCOL_H_

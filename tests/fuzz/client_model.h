// A second reading of PROTOCOL.md from the client's side: what each frame of a server means, and what a client may say.
//
// The model is told every frame of both directions and knows nothing of client::Protocol but its public face. It says
// which event a frame has to become, judges the event, and judges every frame that the protocol writes.

#ifndef RELAY_TESTS_FUZZ_CLIENT_MODEL_H_
#define RELAY_TESTS_FUZZ_CLIENT_MODEL_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>

#include "client/protocol.h"
#include "proto/frame.h"

namespace relay::fuzz {

// Thread-compatible.
class ClientModel {
 public:
  enum class State { kFree, kIdle, kWaiting, kSending, kServing, kLeaving };

  struct Stream {
    bool is_open = false;
    bool is_complete = false;
    uint64_t cost = 0;
    uint64_t limit = 0;
  };

  struct Slot {
    State state = State::kFree;
    bool is_withdrawing = false;
    proto::Uuid client = proto::kNilUuid;
    proto::Uuid id = proto::kNilUuid;
    Stream out;
    Stream in;
    uint64_t consumed = 0;

    bool is_live() const { return state == State::kSending || state == State::kServing; }
    bool may_begin() const { return state == State::kIdle && !is_withdrawing; }
  };

  // What the next frame of the server has to become; kNone for one that means nothing to the owner.
  client::Event::Kind Expect(proto::Frame frame);
  // It became `event`, and the model goes on from there.
  void OnEvent(const client::Event& event, proto::Frame frame);
  // A frame that means nothing.
  void OnDropped(proto::Frame frame);
  // The server broke a rule; nothing but GOAWAY may follow.
  void OnFault() { has_failed_ = true; }

  // What the protocol wrote, whole frames. `event` is what it came with, kNone behind a command.
  void OnOutput(std::string_view bytes, const client::Event& event);
  // The owner gives back what it took.
  void OnConsumed(uint16_t slot, uint64_t cost) { slots_[slot].consumed += cost; }
  // What the protocol says of itself is so.
  void Compare(const client::Protocol& protocol) const;
  // Every PING was answered.
  void Finish() const;

  const Slot& slot(uint16_t number) { return slots_[number]; }
  uint64_t credit(uint16_t slot) const;
  size_t bound() const;
  bool has_failed() const { return has_failed_; }
  const client::Limits& limits() const { return limits_; }
  // Body bytes in START and CHUNK, and RESETs, that were written so far.
  uint64_t body_bytes() const { return body_bytes_; }

 private:
  client::Event::Kind ExpectWelcome(proto::Frame frame) const;
  client::Event::Kind ExpectLeave(proto::Frame frame);
  client::Event::Kind ExpectReceive(proto::Frame frame);
  client::Event::Kind ExpectStart(proto::Frame frame);
  client::Event::Kind ExpectBody(proto::Frame frame);
  client::Event::Kind ExpectWindow(proto::Frame frame);
  void OnIncoming(Slot& slot, const client::Event& event, uint64_t overhead);
  void Begin(Slot& slot, State state, const proto::Uuid& id) const;

  void OnWritten(proto::Frame frame, const client::Event& event, bool& was_discarded);
  void OnStartWritten(Slot& slot, proto::Frame frame);
  void OnBodyWritten(Slot& slot, proto::Frame frame, std::string_view body, uint64_t cost);

  client::Limits limits_;
  bool is_welcome_ = false;
  bool has_failed_ = false;
  bool has_said_hello_ = false;
  bool has_said_last_words_ = false;
  uint64_t body_bytes_ = 0;
  std::map<uint16_t, Slot> slots_;
  std::deque<std::string> pings_;  // not answered yet
};

}  // namespace relay::fuzz

#endif  // RELAY_TESTS_FUZZ_CLIENT_MODEL_H_

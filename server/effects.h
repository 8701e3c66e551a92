// What the core wants done to connections: frames to write, input to shut, connections to close, lines to log. The
// core appends here and never calls out; who drives it carries the effects out at the end of the turn.

#ifndef RELAY_SERVER_EFFECTS_H_
#define RELAY_SERVER_EFFECTS_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proto/frame.h"
#include "proto/messages.h"
#include "server/ends.h"
#include "server/metrics.h"
#include "server/session.h"
#include "server/turn_memory.h"

namespace relay::server {

// Something worth a line in the log.
struct Notice {
  enum class Level : uint8_t { kDebug, kInfo, kWarning };

  Level level;
  std::string_view event;  // "connection_end", "exchange_end"
  ConnectionId connection;
  std::string peer;
  End end;
  std::string detail;  // words, ids; never a body or a credential
};

// The status that a frame carries for `end`; `words` where they say more than the end's own.
v1::Status StatusOf(End end, std::string_view words = {}, bool may_have_run = false);

// Thread-compatible. All memory that it gives out or refers to is good until EndTurn.
class Effects {
 public:
  explicit Effects(Metrics& metrics) : metrics_(metrics) {}

  // Writes `frames`, whole frames that stay where they are until the end of the turn.
  void Write(Session& to, std::span<const uint8_t> frames);
  // Forwards a frame that somebody else's bytes hold: nothing is copied.
  void Forward(Session& to, const proto::Frame& frame) {
    ++metrics_.frames_forwarded;
    Write(to, frame.bytes());
  }

  // Frames of the server's own.
  void Send(Session& to, proto::FrameType type, uint16_t slot, const proto::Uuid& id,
            const google::protobuf::MessageLite& message);
  void SendPayload(Session& to, proto::FrameType type, uint8_t flags, uint16_t slot, const proto::Uuid& id,
                   std::span<const uint8_t> payload);
  void SendReset(Session& to, uint16_t slot, const proto::Uuid& id, v1::Status status);

  // Refuses what came on `slot`: a RESET that counts as an error drawn by this peer.
  void Refuse(Session& to, uint16_t slot, const proto::Uuid& id, End end, uint32_t retry_after_ms = 0);

  // Counts a frame that is owed to a peer because it asked for it.
  static void CountOwed(Session& to) {
    if (to.unsent_bytes > 0) ++to.control_frames_owed;
  }

  // Puts the session on the list of those that have something to do at the end of the turn.
  void Touch(Session& session);

  void Note(Notice notice) { notices_.push_back(std::move(notice)); }

  std::vector<Session*>& touched() { return touched_; }
  std::vector<Notice>& notices() { return notices_; }
  TurnMemory& memory() { return memory_; }

  // Forgets the turn: nothing that it referred to is needed any more.
  void EndTurn();

 private:
  Metrics& metrics_;
  TurnMemory memory_;
  std::vector<Session*> touched_;
  std::vector<Notice> notices_;
};

}  // namespace relay::server

#endif  // RELAY_SERVER_EFFECTS_H_

// The clients of one connection and their operations: whose turn it is, on which slot, and until when. This is the
// operation mutex: it is no lock but a line for each client that the I/O thread keeps.

#ifndef RELAY_CLIENT_ROSTER_H_
#define RELAY_CLIENT_ROSTER_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "client/backoff.h"
#include "client/operation.h"
#include "client/protocol.h"
#include "relay/status.h"

namespace relay::client {

// What `Status.end` says of what ran on a connection that is lost.
inline constexpr std::string_view kConnectionLost = "connection_lost";

// One connection to a server, from its WELCOME until it is lost: what is said there, and who says it. The members below
// `protocol` are Roster's.
struct Session {
  Session(std::string_view agent, absl::Time now) : protocol(agent, now) {}

  Protocol protocol;
  bool is_leaving = false;  // GOAWAY has come
  size_t bound = 0;         // clients in `by_slot`
  std::vector<std::shared_ptr<Participant>> by_slot;
  std::vector<std::shared_ptr<Operation>> blocked;  // wait for room in the output
};

// Survives the connections that its Link makes one after another. What begins, begins on the newest; what runs on one
// whose server is leaving ends there. I/O thread only. Invariants: a participant's current operation is the only one
// that says anything on its slot; `queue` is empty where there is no current one; on a session that is leaving only
// those have a slot whose operation has still something to hear there.
class Roster {
 public:
  // As in ConnectionOptions.
  Roster(absl::Duration wait_for_connection, absl::Duration reconnect_min, absl::Duration reconnect_max)
      : wait_for_connection_(wait_for_connection), backoff_(reconnect_min, reconnect_max) {}

  // A new operation gets in its client's line.
  void Submit(std::shared_ptr<Operation> operation, absl::Time now);
  // The callers of an operation have left something for it to do.
  void Look(const std::shared_ptr<Operation>& operation, absl::Time now);
  // A client that nobody holds any more. A finished answer of it still goes out.
  void Leave(const std::shared_ptr<Participant>& participant, absl::Time now);

  // A server has said WELCOME. `session` lives until OnLost, or, where it is leaving, until nobody is bound to it.
  void OnConnected(Session& session, absl::Time now);
  // No other server was found either, which what waits for one remembers for its words.
  void OnNotConnected(const Status& why) { away_why_ = why; }
  // The server takes no new operation: what begins waits for the next session.
  void OnGoaway(Session& session, absl::Time now);
  // Of its output the system took `sent_bytes`. Its exchanges end with `why` or wait to be sent again.
  void OnLost(Session& session, const Status& why, uint64_t sent_bytes, absl::Time now);
  void OnEvent(Session& session, const Event& event, absl::Time now);
  // The output has drained.
  void Unblock(Session& session, absl::Time now);

  // Resets what runs, ends everything with `why`, and whatever comes later with FAILED_PRECONDITION.
  void Close(const Status& why);

  absl::Time next_time() const { return deadlines_.empty() ? absl::InfiniteFuture() : deadlines_.begin()->first; }
  void OnTime(absl::Time now);

 private:
  bool is_up() const { return session_ != nullptr; }
  void Begin(std::shared_ptr<Operation> operation, absl::Time now);
  void Advance(Operation& operation, absl::Time now);
  // Ends an operation wherever it stands, and begins what comes behind it.
  void End(Operation& operation, const Status& status, absl::Time now);
  // Ends what waits behind the current operation. Where that serves, all of its answer that its window takes goes out,
  // whatever the output holds.
  void WindUp(Participant& participant, const Status& status, absl::Time now);
  // A client that has left, and of which nothing runs any more.
  void Part(Participant& participant);
  void AdvanceAll(absl::Time now);
  // Ends an operation, or has it sent again.
  void EndOrSendAgain(Operation& operation, const Status& status, absl::Time now);
  bool MaySendAgain(Operation& operation, const Status& status, absl::Time now) const;
  void OnLeft(Participant& participant, const Status& why, absl::Time now);
  std::vector<std::shared_ptr<Participant>> members() const;
  void Bind(Participant& participant);
  static void Unbind(Participant& participant);
  // A client of which nothing runs has nothing more to do with a server that is leaving.
  static void UnbindFromLeaving(Participant& participant);

  absl::Time DeadlineOf(const Operation& operation) const;
  void Arm(Operation& operation);
  void Disarm(Operation& operation);
  void OnDeadline(Operation& operation, absl::Time now);

  const absl::Duration wait_for_connection_;
  Backoff backoff_;             // of sending again
  Session* session_ = nullptr;  // where operations begin
  bool is_closed_ = false;
  absl::Time away_since_ = absl::InfinitePast();
  Status away_why_ = UnavailableError("not yet connected");
  absl::flat_hash_map<Participant*, std::shared_ptr<Participant>> members_;
  std::deque<std::shared_ptr<Operation>> begun_;  // hold their clients, and are to do their first step
  bool is_beginning_ = false;
  std::set<std::pair<absl::Time, Operation*>> deadlines_;
};

}  // namespace relay::client

#endif  // RELAY_CLIENT_ROSTER_H_

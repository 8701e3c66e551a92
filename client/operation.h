// One Send or one Receive, from its call's beginning to the end of its exchange: where the threads that call and the
// I/O thread meet. Callers leave bytes and wishes here and wait; the I/O thread carries them out on the Protocol and
// leaves what came. Which operation's turn it is, is Roster's to say.

#ifndef RELAY_CLIENT_OPERATION_H_
#define RELAY_CLIENT_OPERATION_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "client/protocol.h"
#include "net/mutex.h"
#include "relay/exchange.h"
#include "relay/options.h"
#include "relay/request.h"
#include "relay/status.h"

namespace relay::client {

class Link;
struct Participant;
struct Session;

// What an operation is, fixed when it is made.
struct OperationSpec {
  enum class Kind { kSend, kReceive };

  Kind kind = Kind::kSend;
  std::string_view name;  // of the call, for the words of errors; a literal
  IfBusy if_busy = IfBusy::kWait;
  std::optional<absl::Duration> limit;  // the timeout of a Send, the wait of a Receive
  absl::Duration max_extension;         // of a Send: what receivers may move the timeout to
  RequestStart start;                   // of a Send; its timeout is that which is left when it goes out
  // The body that comes in is collected whole, up to so many bytes, and costs no Read.
  std::optional<size_t> collect_bytes;
};

// Drops the bytes before `taken`, once they are the greater part.
inline void DropTaken(std::string& bytes, size_t& taken) {
  if (taken == 0 || taken < bytes.size() / 2) return;
  bytes.erase(0, taken);
  taken = 0;
}

// Thread-safe in its caller's half; the other half is for the I/O thread alone. Invariant: once ended, nothing but
// what came before the end can be read from it, and nothing is sent for it.
class Operation : public std::enable_shared_from_this<Operation> {
 public:
  using Kind = OperationSpec::Kind;

  // `body` is that of a Send, where it is whole from the beginning.
  Operation(OperationSpec spec, std::shared_ptr<Participant> participant, std::optional<std::string> body = {});
  virtual ~Operation() = default;

  const OperationSpec& spec() const { return spec_; }
  // A Receive that the frame before it on its client's slot can ask for.
  bool IsEndlessWait() const { return spec_.kind == Kind::kReceive && !spec_.limit.has_value(); }
  const std::shared_ptr<Participant>& participant() const { return participant_; }

  // --- The caller's half. Errors are those of the public classes.

  // FAILED_PRECONDITION on the connection's I/O thread.
  Status CheckMayBlock() const;
  // Blocks until the operation holds its client (of a Send whose body is streamed); until the other side's START has
  // come; until it has ended.
  Status WaitTurn();
  Status WaitHead();
  Status WaitEnd();
  // Blocks until it has ended otherwise than by a finished response, or until `timeout` has passed; not at all on the
  // I/O thread.
  bool WaitFailed(std::chrono::milliseconds timeout);

  // Of a Send.
  Uuid id() const;
  // Behind WaitHead, of a Receive and of a Send.
  const RequestInfo& request() const { return std::get<RequestInfo>(head_); }
  const ResponseHead& response() const { return std::get<ResponseHead>(head_); }
  std::optional<std::chrono::milliseconds> remaining();
  // Asks the server for so much time from now on, and what there is then: milliseconds::max() where the request has no
  // timeout. The first form blocks until it has answered; `done` of the other is called once, on the I/O thread or, for
  // an exchange that has ended, by this call.
  using Extended = std::function<void(StatusOr<std::chrono::milliseconds>)>;
  StatusOr<std::chrono::milliseconds> ExtendDeadline(std::chrono::milliseconds time);
  void ExtendDeadline(std::chrono::milliseconds time, Extended done);

  StatusOr<size_t> Read(std::span<char> out);
  StatusOr<std::string> ReadAll(size_t max_bytes);
  // What was collected of a request, or how it ended before.
  StatusOr<std::string> TakeBody();
  // What the other side sent behind its body.
  Metadata trailing_metadata();
  // All of it, of a Send that has ended.
  StatusOr<Reply> TakeReply();

  Status SetHead(std::string head);  // as MakeStart gives it
  Status Write(std::string_view bytes);
  // Adds `bytes` whatever their size, and completes the stream with them. For a response: the status and metadata that
  // it ends with. Does not block.
  Status Finish(std::string bytes, const Status& status = {}, const Metadata& trailing = {});
  // Sends what Finish was given and holds, or finishes with `status`.
  void FinishHeld(const Status& status);
  // Whether Finish keeps what it was given until FinishHeld sends it.
  void set_holds_finish(bool holds_finish);
  bool holds_finish();
  // The request may go out without a body, since somebody waits for the response.
  void Flush();
  // Ends the exchange with `why`, or gives up waiting for one.
  void Abort(const Status& why, bool requeue);
  // Nobody holds it any more: what is unfinished is aborted, and OnCancelled's call taken back.
  void Drop();
  // Gives up waiting for a request; nothing where one has come.
  void Withdraw();

  // Replaces what is called, once and by the I/O thread, when the exchange ends and nobody here has ended it; by this
  // call where that was so before. The older one runs no more when this returns, on any other thread.
  void OnCancelled(std::function<void(const Status&)> call);
  // Blocks while that runs on another thread.
  void WaitCancelledCalled();

  // OK while it runs and when it ended well.
  Status status();

  // --- The I/O thread's half.

  enum class Phase {
    kNew,      // not yet submitted
    kQueued,   // another operation holds the client
    kTurn,     // holds the client; nothing was sent, or only to a connection that is lost
    kWaiting,  // RECEIVE was sent
    kRunning,  // START was sent, or has come
    kEnded,
  };
  // Nothing while it goes on; else the status that it is to end with, by End().
  using Verdict = std::optional<Status>;

  Phase phase() const { return phase_; }
  // Its place in time: when it was submitted, since when it has the turn and waits for a connection, and when Roster is
  // to look at it again.
  absl::Time submitted;
  absl::Time turn_since;
  absl::Time armed = absl::InfiniteFuture();
  // Of one that is to be tried again: not before this, and the first time that a server would not have a Send.
  absl::Time not_before = absl::InfinitePast();
  absl::Time refused_since = absl::InfiniteFuture();
  bool is_blocked = false;  // stands in Roster's list of those that wait for room in the output
  std::list<std::shared_ptr<Operation>>::iterator place;  // in its client's queue, while queued

  void SetQueued() { phase_ = Phase::kQueued; }
  void SetTurn();
  // Has the turn on a slot that waits already, since the last frame of the response before it said so. Of a Receive.
  void SetWaiting() { phase_ = Phase::kWaiting; }
  // The server takes nothing new: a wait is over unanswered, and begins again on another connection.
  void OnGoaway();

  // Does what can be done now: sends what there is, as far as credit and `output_mark` bytes of output go, gives
  // credit back, carries out wishes. `goes_on`: the last frame of a response is to say that the slot waits again.
  Verdict Advance(Protocol& protocol, uint16_t slot, absl::Time now, size_t output_mark, bool goes_on);
  // Takes what the server said about the slot that this operation holds.
  Verdict OnEvent(Protocol& protocol, const Event& event);
  // The connection is lost, of whose output the system took `sent_bytes`: a wait goes back to kTurn, an exchange is
  // over.
  Verdict OnLost(const Status& why, uint64_t sent_bytes);
  // The join of its client was refused, and what stood behind that with it; or the client was taken over.
  void OnLeft(const Status& why);
  // The exchange of an idempotent Send is over, of which nothing came back: it stands at kTurn again, as if nothing had
  // been sent. False where that cannot be.
  bool SendAgain();
  // How often it was sent.
  int sendings() const { return sendings_; }
  // The Send's own time is over, and the server has not said so.
  void ResetLate(Protocol& protocol, uint16_t slot);

  // The status with which a caller wants it to end without an exchange. Takes no lock where there is none.
  Verdict wish_to_end();
  // Works on a request; has an answer of which a part is still to go out.
  bool is_serving() const { return spec_.kind == Kind::kReceive && phase_ == Phase::kRunning; }
  bool is_answering();
  // The connection is being closed: the other side is told.
  void ResetForClose(Protocol& protocol, uint16_t slot, const Status& why);

  // Frees whoever waits, and calls OnDone. Any thread, for one that was never submitted.
  void End(const Status& status);
  // Calls OnDone where the request is whole.
  void Deliver();

 protected:
  // Nobody blocks, so OnDone is to be called. In the constructor.
  void OweDone() { owes_done_ = true; }
  // Called once by the I/O thread where it is owed: for a Send when it has ended, for a Receive when the request is
  // whole, or when it ended before.
  virtual void OnDone() {}

 private:
  // What a writer may leave here before it has to wait for credit: enough to fill a few frames while the I/O thread is
  // elsewhere.
  static constexpr size_t kOutBytes = size_t{256} * 1024;

  // The I/O thread's lock: those whom it wakes need it at once, so it is given back before.
  class ABSL_SCOPED_LOCKABLE WakingLock {
   public:
    explicit WakingLock(Operation& operation) ABSL_EXCLUSIVE_LOCK_FUNCTION(operation.mutex_) : operation_(operation) {
      operation.mutex_.lock();
    }
    ~WakingLock() ABSL_UNLOCK_FUNCTION() {
      const bool wakes = std::exchange(operation_.wakes_, false);
      operation_.mutex_.unlock();
      if (wakes) operation_.changed_.NotifyAll();
    }
    WakingLock(const WakingLock&) = delete;
    WakingLock& operator=(const WakingLock&) = delete;

   private:
    Operation& operation_;
  };

  struct ResetWish {
    Status why;
    bool requeue = false;
  };
  struct ExtendWish {
    absl::Duration time;
    Extended done;
  };

  size_t unsent_bytes() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return out_.size() - out_taken_; }
  Status WriteStatus() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Has the I/O thread look at this operation; not under the lock.
  void Wake();
  bool MustWake() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Wait() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void NotifyDone();
  // The exchange has ended, and the other side or the connection has ended it.
  bool is_cancelled() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return has_ended_ && !end_.ok() && !out_is_whole_ && !reset_.has_value();
  }

  Verdict AdvanceWait(Protocol& protocol, uint16_t slot, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Verdict AdvanceStart(Protocol& protocol, uint16_t slot, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Verdict AdvanceExchange(Protocol& protocol, uint16_t slot, size_t output_mark, bool goes_on)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TakeOut(size_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void DropTakenOut() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Verdict TakeIn(Protocol& protocol, const Event& event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Verdict OnRequest(Protocol& protocol, const Event& event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OnResponse(const Event& event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The server's answer to the oldest wish.
  void OnExtended(const Event& event);
  void SetDeadline(std::optional<absl::Duration> remaining) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // An undelivered request is forgotten, and the operation is as before RECEIVE.
  void Rewind() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool is_undelivered() const { return spec_.kind == Kind::kReceive && owes_done_; }
  bool is_streamed_send() const { return spec_.kind == Kind::kSend && !spec_.collect_bytes.has_value(); }
  // What callers are to know of the connection that the exchange begins on; and their next wish is to be told.
  void TakeLimits(const Protocol& protocol) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  OperationSpec spec_;  // constant, but for the times of a Send that goes out
  const std::shared_ptr<Participant> participant_;

  // I/O thread only.
  Phase phase_ = Phase::kNew;
  proto::Uuid id_ = proto::kNilUuid;  // drawn for a Send when made, and constant; of the request for a Receive
  bool is_withdrawing_ = false;       // the echo is still to come
  bool is_open_ = false;              // START of the stream that goes out was sent
  bool has_whole_request_ = false;    // of a Receive; in_is_complete_ for this thread
  // Of a Send: what may_have_run() of its end is to say.
  int sendings_ = 0;
  uint64_t start_end_bytes_ = 0;  // of the connection's output, behind START
  bool is_exposed_ = false;       // a receiver may have what this sending sent
  bool was_exposed_ = false;      // or what an earlier one did
  bool owes_done_ = false;        // OnDone is still to be called

  net::Mutex mutex_;
  net::Condition changed_;
  bool wakes_ ABSL_GUARDED_BY(mutex_) = false;       // somebody may wait for what has changed under this WakingLock
  bool wake_posted_ ABSL_GUARDED_BY(mutex_) = true;  // until its turn, when everything is looked at
  bool has_turn_ ABSL_GUARDED_BY(mutex_) = false;
  bool has_ended_ ABSL_GUARDED_BY(mutex_) = false;
  Status end_ ABSL_GUARDED_BY(mutex_);

  // The stream that comes in. The head is written once, before has_head_ is set.
  bool has_head_ ABSL_GUARDED_BY(mutex_) = false;
  std::variant<RequestInfo, ResponseHead> head_;
  std::optional<std::chrono::steady_clock::time_point> deadline_ ABSL_GUARDED_BY(mutex_);
  std::string in_ ABSL_GUARDED_BY(mutex_);
  size_t in_taken_ ABSL_GUARDED_BY(mutex_) = 0;
  bool in_is_complete_ ABSL_GUARDED_BY(mutex_) = false;  // of a request; a response is with the end
  Metadata in_trailing_ ABSL_GUARDED_BY(mutex_);
  uint64_t in_overhead_ ABSL_GUARDED_BY(mutex_) = 0;   // cost beyond the bytes, not yet consumed
  uint64_t in_consumed_ ABSL_GUARDED_BY(mutex_) = 0;   // cost consumed, not yet told to the Protocol
  uint64_t wake_at_cost_ ABSL_GUARDED_BY(mutex_) = 0;  // so much of it is worth telling

  // The stream that goes out.
  std::string out_head_ ABSL_GUARDED_BY(mutex_);  // of a response
  size_t max_start_bytes_ ABSL_GUARDED_BY(mutex_) = proto::kSmallestMaxStartBytes;
  std::string out_ ABSL_GUARDED_BY(mutex_);
  size_t out_taken_ ABSL_GUARDED_BY(mutex_) = 0;
  bool out_is_begun_ ABSL_GUARDED_BY(mutex_) = false;  // something was written
  bool out_is_kept_ ABSL_GUARDED_BY(mutex_) = false;   // out_ begins with the body's first byte, to be sent again
  bool out_is_whole_ ABSL_GUARDED_BY(mutex_) = false;  // Finish was called
  bool holds_finish_ ABSL_GUARDED_BY(mutex_) = false;  // set_holds_finish
  std::optional<v1::End> out_end_ ABSL_GUARDED_BY(mutex_);
  bool flush_ ABSL_GUARDED_BY(mutex_) = false;
  bool withdraw_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<ResetWish> reset_ ABSL_GUARDED_BY(mutex_);
  std::atomic<bool> has_wish_ = false;                       // one of these two
  std::vector<ExtendWish> extends_ ABSL_GUARDED_BY(mutex_);  // oldest first, until answered
  size_t extends_sent_ ABSL_GUARDED_BY(mutex_) = 0;          // so many of these
  std::function<void(const Status&)> on_cancelled_ ABSL_GUARDED_BY(mutex_);
  bool calls_on_cancelled_ ABSL_GUARDED_BY(mutex_) = false;
};

// A client as its operations and the I/O thread know it.
struct Participant {
  // Constant.
  Uuid id;
  proto::Uuid channel_id;
  std::string channel_name;  // empty where the channel was given by its UUID
  std::string key;
  std::shared_ptr<Link> link;

  // I/O thread only.
  Session* session = nullptr;  // where it has joined
  uint16_t slot = 0;           // there; 0: not joined
  bool has_left = false;
  std::shared_ptr<Operation> current;           // holds the client
  std::list<std::shared_ptr<Operation>> queue;  // oldest first
};

}  // namespace relay::client

#endif  // RELAY_CLIENT_OPERATION_H_

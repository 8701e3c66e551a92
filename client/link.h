// The I/O thread of a Connection: it alone touches the sockets. It connects, reads, writes once in each turn of its
// loop, keeps the heartbeat, and makes a lost connection again. One whose server is leaving is kept beside the new one
// until what runs there has ended. What the clients do on them is Roster's.

#ifndef RELAY_CLIENT_LINK_H_
#define RELAY_CLIENT_LINK_H_

#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"
#include "client/backoff.h"
#include "client/operation.h"
#include "client/protocol.h"
#include "client/roster.h"
#include "net/address.h"
#include "net/connector.h"
#include "net/loop.h"
#include "net/mailbox.h"
#include "net/mutex.h"
#include "net/stream.h"
#include "net/timer.h"
#include "relay/options.h"
#include "relay/status.h"

namespace relay::client {

// Public functions are thread-safe, private ones for the I/O thread. The thread holds the Link while it runs, and the
// Connection and every participant do. States of the I/O thread: resting before the next round of attempts; attempting
// (a connector, or a transport without WELCOME); up; closing (GOAWAY is said, the servers are to close); ended.
class Link : public std::enable_shared_from_this<Link> {
 public:
  // `addresses` is not empty. Returns when the first round of attempts has succeeded, or failed: then with its status.
  static StatusOr<std::shared_ptr<Link>> Open(std::vector<net::Address> addresses, ConnectionOptions options);

  Link(std::vector<net::Address> addresses, ConnectionOptions options, std::unique_ptr<net::Loop> loop);

  // A new operation; one whose work has changed. Where the link was closed, the first ends it.
  void Submit(std::shared_ptr<Operation> operation);
  void Wake(std::shared_ptr<Operation> operation);
  // A client that nobody holds any more.
  void Leave(std::shared_ptr<Participant> participant);

  // As Connection::Close. Where that is the I/O thread itself, returns at once.
  void Close();
  // The last Connection is gone: nobody will join the thread if this one cannot.
  void CloseForGood();

  // Whether the calling thread is another than the I/O thread, which would wait for itself; where not,
  // FAILED_PRECONDITION.
  bool MayBlock() const { return !OnIoThread(); }
  Status CheckMayBlock() const {
    if (MayBlock()) return OkStatus();
    return FailedPreconditionError("a blocking call inside a callback on the connection's I/O thread");
  }
  bool is_up() const { return is_up_.load(); }
  std::string url();

 private:
  bool OnIoThread() const { return std::this_thread::get_id() == io_thread_.load(); }

  // Work handed to the I/O thread. One that is dropped undelivered, since the link has ended, ends its new operation.
  struct Command {
    enum class Kind { kSubmit, kLook, kLeave, kClose };

    explicit Command(Kind its_kind) : kind(its_kind) {}
    Command(Command&&) = default;
    Command& operator=(Command&&) = default;
    ~Command();

    Kind kind;
    std::shared_ptr<Operation> operation;
    std::shared_ptr<Participant> participant;
  };

  // One connection to a server: its stream, and what is said there.
  struct Transport : public net::Stream::Handler {
    Transport(Link& its_link, std::unique_ptr<net::Stream> its_stream);

    size_t OnBytes(std::span<uint8_t> bytes) override { return link.OnBytes(*this, bytes); }
    void OnEnd(absl::Status why) override { link.OnEnd(*this, why); }
    void OnSent() override {}

    bool is_all_sent() const { return session.protocol.output_bytes() == 0 && stream->unsent_bytes() == 0; }
    void SayGoaway();

    Link& link;
    const std::string url;
    const std::unique_ptr<net::Stream> stream;
    Session session;
    std::optional<Status> broken;  // found inside a call of the stream
    std::optional<Status> goaway;  // that of the server
    bool said_goaway = false;
  };

  enum class State { kResting, kAttempting, kUp, kClosing, kEnded };

  // Thread-safe. What a callback asks for is done behind the event that called it, at the latest at the end
  // of its turn; any other thread's in a turn of its own.
  void Post(Command command);
  void Run();
  // In order, but that a wait without end stands in line before what is to be looked at is: so the answer before it
  // says with its last frame that it waits.
  void OnCommands(std::vector<Command>& commands);
  void LookAtAll(absl::Time now);
  // What the I/O thread has handed to itself.
  void CarryOut();

  void BeginRound();
  void Attempt();
  void OnConnected(net::Connector::Result result);
  void OnAttemptFailed(const Status& why);
  void OnWelcome();
  void OnGoaway();
  // `lost` is in neither place any more.
  void OnLost(std::unique_ptr<Transport> lost, const Status& why);
  void Rest();
  void BeginClose();
  void EndLoop();
  void Report(const Status& first_result);

  // Any of these may destroy `transport`, as its last act.
  size_t OnBytes(Transport& transport, std::span<uint8_t> bytes);
  void OnEnd(Transport& transport, const absl::Status& why);
  void OnEvent(Transport& transport, const Event& event);
  // Ends what the socket was for, in whichever state.
  void OnBroken(Transport& transport, const Status& why);
  void OnTimer();
  void OnTurnEnd();
  void Write(Transport& transport);
  void SetTimer();
  // Calls `call` with each transport, which it may destroy.
  void ForEach(absl::FunctionRef<void(Transport&)> call);

  // Constant.
  const std::vector<net::Address> addresses_;
  const ConnectionOptions options_;

  // I/O thread, which destroys them.
  std::unique_ptr<net::Loop> loop_;
  std::optional<net::Timer> timer_;  // heartbeats, deadlines, attempts, rests
  std::optional<net::Soon> more_;    // there was more to do than one turn's worth
  std::unique_ptr<net::Connector> connector_;
  std::unique_ptr<Transport> transport_;               // being tried, or up
  std::vector<std::unique_ptr<Transport>> departing_;  // of servers that are leaving, or all while closing
  Roster roster_;
  State state_ = State::kResting;
  size_t address_ = 0;  // of addresses_, being tried or in use
  int failed_rounds_ = 0;
  bool was_up_ = false;                             // a server has said WELCOME before
  absl::Time state_over_ = absl::InfiniteFuture();  // of an attempt, a rest, a close
  absl::Time timer_at_ = absl::InfiniteFuture();
  std::vector<Command> own_commands_;  // what this thread has posted, to be done by CarryOut
  std::vector<Command> carried_out_;   // kept for its capacity, like the next two
  std::vector<std::shared_ptr<Operation>> looks_;
  std::string output_;
  Backoff backoff_;

  net::Mailbox<Command> mailbox_;
  std::atomic<std::thread::id> io_thread_;
  std::atomic<bool> is_up_ = false;

  net::Mutex mutex_;
  net::Condition changed_;
  std::thread thread_ ABSL_GUARDED_BY(mutex_);
  bool is_gone_ ABSL_GUARDED_BY(mutex_) = false;  // the thread was joined
  std::optional<Status> first_result_ ABSL_GUARDED_BY(mutex_);
  std::string url_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace relay::client

#endif  // RELAY_CLIENT_LINK_H_

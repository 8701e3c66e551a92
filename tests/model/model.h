// The protocol of PROTOCOL.md as a small abstract machine: two senders, two receivers, one channel. Of every event it
// says what the relay has to tell whom, frame by frame. It shares no code with the relay: a queue and a line are
// vectors, what is held of a request is the list of its frames.

#ifndef RELAY_TESTS_MODEL_MODEL_H_
#define RELAY_TESTS_MODEL_MODEL_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/told.h"

namespace relay::model {

inline constexpr int kClients = 4;  // 0 and 1 send, 2 and 3 receive
inline bool Sends(int client) { return client < 2; }

// What can happen next. `who` is a client; for what happens to a connection, one that is joined on it.
enum class Kind : uint8_t {
  // A sender.
  kStartWhole,
  kStartOpen,
  kStartRequire,  // whole, REQUIRE_RECEIVER
  kStartAgain,    // a second START of what it sends, or one with the id that the other sender's request has
  // A receiver.
  kReceive,
  kWithdraw,
  kAnswerWhole,
  kAnswerAndReceive,  // whole, with the RECEIVE flag
  kAnswerOpen,
  kRequeue,
  kExtend,
  kReceiveBusy,    // a RECEIVE of one that waits or works
  kAnswerForeign,  // an answer to a request that is another receiver's, or queued
  // Either, in the stream that it writes or reads.
  kChunk,
  kEnd,
  kReset,
  kWindow,
  kWrongSide,  // frames that are the other side's to send
  kLate,       // frames of the exchange that ended last
  // A client.
  kLeave,
  kJoin,
  kTakeOver,
  // A connection.
  kCut,
  kGoaway,
  // The server and the clock; `who` is 0.
  kDeadline,  // the next request's time passes
  kDrain,
  kDrainOver,
};
inline constexpr int kKinds = static_cast<int>(Kind::kDrainOver) + 1;

struct Event {
  Kind kind;
  int who;
};
std::string ToString(const Event& event);

// How the clients hang on connections.
enum class Layout : uint8_t { kApart, kPairs, kOne };

struct Rules {
  Layout layout = Layout::kApart;
  bool is_idempotent = false;
  int attempts = 2;
  size_t queue_count = 10;
  bool has_faults = false;  // CHUNK and END where none belongs, a second answer
};

// Of every server in these tests.
inline constexpr uint64_t kPieceCost = 32;                    // of a body of 8 bytes
inline constexpr uint64_t kFirstWindow = 3 * kPieceCost - 1;  // one more byte, as a WINDOW gives, and it is exact
inline constexpr uint64_t kMaxWindow = 100 * kPieceCost;
inline constexpr int64_t kTimeoutMs = 1000;
inline constexpr int64_t kExtendMs = 1500;
inline constexpr int64_t kMaxExtensionMs = 2200;
inline constexpr int64_t kDrainMs = 437;  // never the same instant as a request's end

// What is to be done to the relay.
struct Input {
  enum class Do : uint8_t { kOpen, kBytes, kCut, kDrain };
  Do what;
  int connection = 0;  // numbered as they are opened
  std::string bytes = {};
};

// A slot of a connection; slot 0 is the connection itself.
struct Place {
  int connection;
  uint16_t slot;
  bool operator==(const Place&) const = default;
};

// A value type: copied at each branching.
class Model {
 public:
  explicit Model(const Rules& rules);

  // Everybody connects and joins.
  std::vector<Input> Setup();
  // Whether the event means something now.
  bool CanHappen(Event event) const;
  // The event happens, a millisecond after the one before. Returns what it is to the relay. One of the clock is the
  // last of its turn.
  std::vector<Input> Apply(Event event);
  // The turn ends: what is due is done, and connections that have said GOAWAY and have nothing left are closed.
  void EndTurn();

  int64_t now_ms() const { return now_ms_; }
  // What has been told since Forget, in order for each place.
  const std::vector<std::pair<Place, Told>>& told() const { return told_; }
  void Forget() { told_.clear(); }
  // The peer has cut it: what it is told nobody sees.
  bool is_cut(int connection) const { return connections_[static_cast<size_t>(connection)].is_cut; }
  // The relay takes and says nothing more on it.
  bool is_closed(int connection) const { return connections_[static_cast<size_t>(connection)].is_closed; }
  int connection_count() const { return static_cast<int>(connections_.size()); }
  int live_count() const;
  int joined_count() const;

  // Everything that decides what can come, in words; times and ids left out.
  std::string Fingerprint() const;

 private:
  enum class Doing : uint8_t { kAbsent, kIdle, kWaiting, kSending, kReceiving };
  static constexpr int kNobody = -1;

  struct Client {
    Doing doing = Doing::kAbsent;
    int connection = 0;
    int request = kNobody;
    int last = kNobody;         // the request that it had before
    bool has_received = false;  // since it joined
  };
  struct Connection {
    bool is_leaving = false;
    bool is_closed = false;
    bool is_cut = false;
  };
  struct Request {
    bool is_live = false;
    int sender = kNobody;
    int receiver = kNobody;
    int attempt = 0;
    int64_t read_ms = 0;
    int64_t ends_ms = 0;
    int64_t wait_ms = 0;  // until it was handed on
    bool has_ended = false;
    bool is_answered = false;
    int pieces = 0;  // of the request, and of the answer
    int answer_pieces = 0;
    uint64_t cost = 0;
    uint64_t answer_cost = 0;
    uint64_t window = kFirstWindow;
    uint64_t answer_window = kFirstWindow;
    uint64_t kept_window = 0;  // kept back
    std::vector<Told> frames;  // all of the request
  };

  Client& At(int client) { return clients_[static_cast<size_t>(client)]; }
  const Client& At(int client) const { return clients_[static_cast<size_t>(client)]; }
  Request& Of(int request) { return requests_[static_cast<size_t>(request)]; }
  const Request& Of(int request) const { return requests_[static_cast<size_t>(request)]; }
  Connection& On(int connection) { return connections_[static_cast<size_t>(connection)]; }
  const Connection& On(int connection) const { return connections_[static_cast<size_t>(connection)]; }
  Place PlaceOf(int client) const;
  bool IsJoined(int client) const { return At(client).doing != Doing::kAbsent; }
  // A live request that is not this client's, or kNobody.
  int OthersRequest(int client) const;

  bool CanSend(Event event) const;
  bool CanReceive(Event event) const;

  void Tell(int client, Told told) { told_.emplace_back(PlaceOf(client), std::move(told)); }
  void Reset(int client, int request, absl::StatusCode code, std::string_view end, bool may_have_run);
  void RefuseReceive(int client, absl::StatusCode code, std::string_view end);

  std::string Start(int client, Kind kind);
  std::string Answer(int client, Kind kind);
  std::string Chunk(int client);
  std::string End(int client);
  std::string Window(int client);
  std::string Extend(int client);
  std::string StartAgain(int client);
  std::string AnswerForeign(int client);
  std::string WrongSide(int client) const;
  std::string Late(int client) const;
  int Open(std::vector<Input>& inputs);
  void Join(int client, std::vector<Input>& inputs);
  void TakeOver(int client, std::vector<Input>& inputs);

  void HandOut(int request, int receiver);
  // The oldest requests meet those that have waited longest.
  void Match();
  void BeginReceive(int client);
  bool MayMove(const Request& request) const;
  // Where the request can go to nobody else any more, the WINDOW that was kept back comes free.
  void ReleaseWindow(int request);
  void PassRequest(int number, Told told);
  void PassAnswer(int client, Told told, bool is_last);
  // A stream breaks a rule: both sides are told.
  void Fault(int request, absl::StatusCode code, std::string_view end);
  void TimeOver(int request);
  void Finish(int request);
  // The request goes back to its place in the queue if it may, or its sender is told.
  void LoseReceiver(int request, bool may_move, absl::StatusCode code, std::string_view end);
  // These clients go together, without a word to them.
  void Depart(const std::vector<int>& clients);
  void CloseConnection(int connection);
  std::vector<int> ClientsOn(int connection) const;
  void Drain();
  void DrainOver();
  void TellGoaway();

  Rules rules_;
  int64_t now_ms_ = 0;
  int64_t drain_over_ms_ = 0;
  bool is_draining_ = false;
  bool is_stopped_ = false;
  std::array<Client, kClients> clients_;
  std::vector<Connection> connections_;
  std::vector<Request> requests_;
  std::vector<int> queue_;  // oldest first
  std::vector<int> line_;   // the longest wait first
  std::vector<std::pair<Place, Told>> told_;
};

}  // namespace relay::model

#endif  // RELAY_TESTS_MODEL_MODEL_H_

// Peer death at each step of an exchange, in each way in which a peer can die, and what the others are told of it
// (PROTOCOL.md, "Ends that are not END"). What is expected stands in a table.

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "driver.h"

namespace relay::server {
namespace {

using proto::FrameType;
namespace flag = proto::flag;

enum class Who { kSender, kReceiver };
enum class Step { kBeforeStart, kQueued, kAssigned, kMidRequest, kRequestEnded, kMidResponse, kAfterEnd };
// SIGKILL is no case of its own to the core: the kernel sends FIN for the dead process, or RST where bytes to it were
// unread, perhaps in the middle of a frame. kKilled is that: a part of a frame, and RST.
enum class How { kFin, kRst, kBlackHole, kKilled };
enum class Is { kNo, kYes, kAny };

enum class Told {
  kNothing,    // there is no request, or it is over
  kStays,      // the request stays in the queue as it was, or is new: the next receiver gets its attempt 1
  kCancelled,  // the receiver: RESET CANCELLED, end sender_lost
  kLost,       // the sender: RESET UNAVAILABLE, end receiver_lost, may_have_run
  kMoves,      // the sender nothing; the other receiver the whole request, attempt 2
  kWaits,      // the sender nothing; the next receiver the whole request, attempt 2
};

struct Row {
  Who dies;
  Step at;
  Is idempotent;
  Is attempts_left;
  Is another_waits;
  Told told;
};

constexpr Row kTable[] = {
    // dies          at                    idempotent attempts   another
    //                                                left       waits      told
    {Who::kSender, Step::kBeforeStart, Is::kAny, Is::kAny, Is::kAny, Told::kNothing},
    {Who::kSender, Step::kQueued, Is::kAny, Is::kAny, Is::kNo, Told::kNothing},
    {Who::kSender, Step::kAssigned, Is::kAny, Is::kAny, Is::kAny, Told::kCancelled},
    {Who::kSender, Step::kMidRequest, Is::kAny, Is::kAny, Is::kAny, Told::kCancelled},
    {Who::kSender, Step::kRequestEnded, Is::kAny, Is::kAny, Is::kAny, Told::kCancelled},
    {Who::kSender, Step::kMidResponse, Is::kAny, Is::kAny, Is::kAny, Told::kCancelled},
    {Who::kSender, Step::kAfterEnd, Is::kAny, Is::kAny, Is::kAny, Told::kNothing},

    {Who::kReceiver, Step::kBeforeStart, Is::kAny, Is::kAny, Is::kAny, Told::kNothing},
    {Who::kReceiver, Step::kQueued, Is::kAny, Is::kAny, Is::kNo, Told::kStays},

    {Who::kReceiver, Step::kAssigned, Is::kNo, Is::kAny, Is::kAny, Told::kLost},
    {Who::kReceiver, Step::kAssigned, Is::kYes, Is::kNo, Is::kAny, Told::kLost},
    {Who::kReceiver, Step::kAssigned, Is::kYes, Is::kYes, Is::kYes, Told::kMoves},
    {Who::kReceiver, Step::kAssigned, Is::kYes, Is::kYes, Is::kNo, Told::kWaits},

    {Who::kReceiver, Step::kMidRequest, Is::kNo, Is::kAny, Is::kAny, Told::kLost},
    {Who::kReceiver, Step::kMidRequest, Is::kYes, Is::kNo, Is::kAny, Told::kLost},
    {Who::kReceiver, Step::kMidRequest, Is::kYes, Is::kYes, Is::kYes, Told::kMoves},
    {Who::kReceiver, Step::kMidRequest, Is::kYes, Is::kYes, Is::kNo, Told::kWaits},

    {Who::kReceiver, Step::kRequestEnded, Is::kNo, Is::kAny, Is::kAny, Told::kLost},
    {Who::kReceiver, Step::kRequestEnded, Is::kYes, Is::kNo, Is::kAny, Told::kLost},
    {Who::kReceiver, Step::kRequestEnded, Is::kYes, Is::kYes, Is::kYes, Told::kMoves},
    {Who::kReceiver, Step::kRequestEnded, Is::kYes, Is::kYes, Is::kNo, Told::kWaits},

    {Who::kReceiver, Step::kMidResponse, Is::kAny, Is::kAny, Is::kAny, Told::kLost},
    {Who::kReceiver, Step::kAfterEnd, Is::kAny, Is::kAny, Is::kAny, Told::kNothing},
};

struct Cell {
  Who dies;
  Step at;
  How how;
  bool idempotent;
  bool attempts_left;
  bool another_waits;
};

bool Fits(Is is, bool value) { return is == Is::kAny || (is == Is::kYes) == value; }

std::vector<Told> RowsOf(const Cell& cell) {
  std::vector<Told> told;
  for (const Row& row : kTable) {
    if (row.dies == cell.dies && row.at == cell.at && Fits(row.idempotent, cell.idempotent) &&
        Fits(row.attempts_left, cell.attempts_left) && Fits(row.another_waits, cell.another_waits)) {
      told.push_back(row.told);
    }
  }
  return told;
}

constexpr absl::Duration kInterval = absl::Seconds(1);
constexpr uint32_t kMisses = 3;

Limits LimitsOf(bool attempts_left) {
  Limits limits;
  limits.heartbeat_interval = kInterval;
  limits.heartbeat_misses = kMisses;
  limits.attempts = attempts_left ? 2 : 1;
  return limits;
}

// A sender, a receiver and perhaps another receiver, each on slot 1 of a connection, brought to the cell's step.
class Scene {
 public:
  explicit Scene(const Cell& cell) : cell_(cell), driver_(LimitsOf(cell.attempts_left)) {
    if (cell.at != Step::kQueued) receiver_.Send(ReceiveFrame(1));
    if (cell.another_waits) other_.Send(ReceiveFrame(1));
    if (cell.at >= Step::kQueued) sender_.Send(StartFrame(flag::kRequest, 1, Id(9), {.flags = Flags(), .start = "S"}));
    if (cell.at >= Step::kMidRequest) sender_.Send(ChunkFrame(flag::kRequest, 1, Id(9), "one"));
    if (cell.at >= Step::kRequestEnded) sender_.Send(EndFrame(flag::kRequest, 1, Id(9)));
    if (cell.at >= Step::kMidResponse) {
      receiver_.Send(StartFrame(flag::kResponse, 1, Id(9)) + ChunkFrame(flag::kResponse, 1, Id(9), "an"));
    }
    if (cell.at >= Step::kAfterEnd) receiver_.Send(EndFrame(flag::kResponse, 1, Id(9)));
    EXPECT_EQ(receiver_.Take().size(), cell.at < Step::kAssigned ? 0u : std::min<size_t>(3, StepsOfRequest()));
    EXPECT_EQ(sender_.Take().size(), cell.at < Step::kMidResponse ? 0u : cell.at == Step::kMidResponse ? 2u : 3u);
    EXPECT_TRUE(other_.is_quiet());
  }

  void Die() {
    Peer& dying = cell_.dies == Who::kSender ? sender_ : receiver_;
    End end = End::kNone;
    switch (cell_.how) {
      case How::kFin:
        end = End::kPeerClosed;
        dying.CloseInput();
        break;
      case How::kRst:
        end = End::kPeerLost;
        dying.Break();
        break;
      case How::kKilled:
        end = End::kPeerLost;
        dying.Send(PingFrame().substr(0, 30));
        dying.Break();
        break;
      case How::kBlackHole: {
        end = End::kHeartbeat;
        dying.Stall();
        Peer* const living[] = {cell_.dies == Who::kSender ? &receiver_ : &sender_, &other_};
        driver_.AdvanceAlive(kInterval * kMisses - absl::Milliseconds(100), absl::Milliseconds(100), living);
        EXPECT_FALSE(dying.was_closed()) << "dead before its time";
        EXPECT_TRUE(living[0]->is_quiet());
        driver_.AdvanceAlive(kInterval + absl::Milliseconds(100), absl::Milliseconds(100), living);
        break;
      }
    }
    EXPECT_TRUE(dying.was_closed());
    EXPECT_EQ(driver_.count(end), 1u);
  }

  void ExpectTold(Told told) {
    const bool is_over = told == Told::kLost || told == Told::kCancelled || told == Told::kNothing;
    EXPECT_EQ(driver_.metrics().exchanges_live, is_over ? 0u : 1u);
    if (is_over) {
      EXPECT_EQ(driver_.metrics().held_bytes, 0u);
    }
    EXPECT_EQ(driver_.count(End::kReceiverLost), told == Told::kLost ? 1u : 0u);
    EXPECT_EQ(driver_.count(End::kCompleted), cell_.at == Step::kAfterEnd ? 1u : 0u);
    Peer& survivor = cell_.dies == Who::kSender ? receiver_ : sender_;
    switch (told) {
      case Told::kNothing:
        break;
      case Told::kStays:
        ExpectRequest(NextReceiver(), 1);
        break;
      case Told::kCancelled:
        ExpectReset(survivor, "sender_lost", absl::StatusCode::kCancelled);
        break;
      case Told::kLost:
        ExpectReset(survivor, "receiver_lost", absl::StatusCode::kUnavailable);
        break;
      case Told::kMoves:
        ExpectRequest(other_, 2);
        break;
      case Told::kWaits:
        EXPECT_TRUE(other_.is_quiet());
        ExpectRequest(NextReceiver(), 2);
        break;
    }
    EXPECT_TRUE(survivor.is_quiet()) << "more than one end";
    EXPECT_TRUE(other_.is_quiet());
    ExpectRequests(told);
    if (is_over) ExpectSurvivorWorksOn();
    driver_.ExpectNothingLeft();
  }

 private:
  uint8_t Flags() const { return cell_.idempotent ? flag::kIdempotent : uint8_t{0}; }
  // REQUEST frames that have been sent.
  size_t StepsOfRequest() const { return static_cast<size_t>(cell_.at) - static_cast<size_t>(Step::kAssigned) + 1; }

  Peer& NextReceiver() {
    Peer& next = driver_.Joined("c");
    next.Send(ReceiveFrame(1));
    return next;
  }
  static void ExpectReset(Peer& peer, std::string_view end, absl::StatusCode code) {
    const Seen seen = peer.TakeOne();
    EXPECT_EQ(seen.type, FrameType::kReset);
    EXPECT_EQ(seen.id, Id(9));
    EXPECT_EQ(seen.end(), end);
    EXPECT_EQ(seen.code(), code);
    EXPECT_TRUE(seen.status().may_have_run());
  }
  // The whole request as far as it came; then its rest and its answer take their way.
  void ExpectRequest(Peer& receiver, uint16_t attempt) {
    const std::vector<Seen> seen = receiver.Take();
    const size_t expected = cell_.at < Step::kAssigned ? 1 : std::min<size_t>(3, StepsOfRequest());
    ASSERT_EQ(seen.size(), expected);
    EXPECT_EQ(seen[0].type, FrameType::kStart);
    EXPECT_EQ(seen[0].block().attempt(), attempt);
    EXPECT_EQ(seen[0].block().start(), "S");
    EXPECT_EQ(seen[0].block().other_client(), Driver::ClientId(sender_));
    if (expected > 1) {
      EXPECT_EQ(seen[1].payload, "one");
    }
    if (expected > 2) {
      EXPECT_EQ(seen[2].type, FrameType::kEnd);
    }
    if (cell_.at < Step::kRequestEnded) {
      sender_.Send(EndFrame(flag::kRequest, 1, Id(9)));
      EXPECT_EQ(receiver.TakeOne().type, FrameType::kEnd);
    }
    receiver.Send(StartFrame(flag::kResponse, 1, Id(9), {.flags = flag::kFin, .body = "answer"}));
    EXPECT_EQ(sender_.TakeOne().body(), "answer");
    EXPECT_EQ(driver_.metrics().held_bytes, 0u);
  }
  // Every request that was accepted has ended, in one way.
  void ExpectRequests(Told told) {
    const Metrics& metrics = driver_.metrics();
    EXPECT_EQ(metrics.requests_accepted, cell_.at == Step::kBeforeStart ? 0u : 1u);
    EXPECT_EQ(metrics.requests_ended, metrics.requests_accepted);
    EXPECT_EQ(metrics.redeliveries, told == Told::kMoves || told == Told::kWaits ? 1u : 0u);
    EXPECT_EQ(driver_.count(End::kReceiverLost) + driver_.count(End::kSenderLost) + driver_.count(End::kCompleted),
              metrics.requests_ended);
  }
  // Its slot is free for the next operation, and nothing of the old one comes between.
  void ExpectSurvivorWorksOn() {
    Peer& sender = cell_.dies == Who::kSender ? driver_.Joined("c") : sender_;
    Peer* receiver = cell_.another_waits ? &other_ : cell_.dies == Who::kSender ? &receiver_ : &driver_.Joined("c");
    const bool waits = cell_.another_waits || (receiver == &receiver_ && cell_.at == Step::kBeforeStart);
    if (cell_.dies == Who::kSender && cell_.at == Step::kBeforeStart) receiver = &receiver_;  // it is first in line
    if (!waits) receiver->Send(ReceiveFrame(1));
    sender.Send(StartFrame(flag::kRequest, 1, Id(10), {.flags = flag::kFin}));
    const Seen start = receiver->TakeOne();
    EXPECT_EQ(start.id, Id(10));
    EXPECT_EQ(start.block().attempt(), 1);
    receiver->Send(StartFrame(flag::kResponse, 1, Id(10), {.flags = flag::kFin}));
    EXPECT_EQ(sender.TakeOne().id, Id(10));
  }

  const Cell cell_;
  Driver driver_;
  Peer& sender_ = driver_.Joined("c");
  Peer& receiver_ = driver_.Joined("c");
  Peer& other_ = driver_.Joined("c");
};

constexpr Step kSteps[] = {Step::kBeforeStart,  Step::kQueued,      Step::kAssigned, Step::kMidRequest,
                           Step::kRequestEnded, Step::kMidResponse, Step::kAfterEnd};

class Death : public testing::TestWithParam<std::tuple<Who, How>> {};

TEST_P(Death, IsToldAsTheTableSays) {
  int cells = 0;
  for (const Step at : kSteps) {
    for (const bool idempotent : {false, true}) {
      for (const bool attempts_left : {false, true}) {
        for (const bool another_waits : {false, true}) {
          // The queue or the line is empty: nothing is queued while another waits.
          if (at == Step::kQueued && another_waits) continue;
          const Cell cell = {std::get<0>(GetParam()), at,           std::get<1>(GetParam()), idempotent,
                             attempts_left,           another_waits};
          SCOPED_TRACE(testing::Message()
                       << "step " << static_cast<int>(at) << ", idempotent " << idempotent << ", attempts left "
                       << attempts_left << ", another waits " << another_waits);
          const std::vector<Told> told = RowsOf(cell);
          ASSERT_EQ(told.size(), 1u) << "the table says it once";
          Scene scene(cell);
          scene.Die();
          scene.ExpectTold(told[0]);
          ++cells;
        }
      }
    }
  }
  EXPECT_EQ(cells, 7 * 8 - 4);
}

std::string NameOf(const testing::TestParamInfo<std::tuple<Who, How>>& of) {
  const char* const how[] = {"Fin", "Rst", "BlackHole", "Killed"};
  const std::string who = std::get<0>(of.param) == Who::kSender ? "Sender" : "Receiver";
  return who + "By" + how[static_cast<int>(std::get<1>(of.param))];
}

INSTANTIATE_TEST_SUITE_P(Of, Death,
                         testing::Combine(testing::Values(Who::kSender, Who::kReceiver),
                                          testing::Values(How::kFin, How::kRst, How::kBlackHole, How::kKilled)),
                         NameOf);

// ---- In one turn of the loop ---------------------------------------------------------------------------------------

// A request of a sender to a receiver while another one waits.
class DeathInOneTurn : public testing::Test {
 protected:
  void Begin(uint8_t flags) {
    receiver_.Send(ReceiveFrame(1));
    other_.Send(ReceiveFrame(1));
    sender_.Send(StartFrame(flag::kRequest, 1, Id(9), {.flags = flags}));
    EXPECT_EQ(receiver_.TakeOne().type, FrameType::kStart);
  }
  void ExpectReset(const Seen& seen, std::string_view end) {
    EXPECT_EQ(seen.type, FrameType::kReset);
    EXPECT_EQ(seen.end(), end);
    EXPECT_TRUE(seen.status().may_have_run());
  }
  void ExpectOver() {
    EXPECT_EQ(driver_.metrics().requests_ended, driver_.metrics().requests_accepted);
    EXPECT_EQ(driver_.metrics().exchanges_live, 0u);
    EXPECT_EQ(driver_.metrics().held_bytes, 0u);
    EXPECT_TRUE(sender_.is_quiet());
    EXPECT_TRUE(receiver_.is_quiet());
    EXPECT_TRUE(other_.is_quiet());
    driver_.ExpectNothingLeft();
  }

  Driver driver_;
  Peer& sender_ = driver_.Joined("c");
  Peer& receiver_ = driver_.Joined("c");
  Peer& other_ = driver_.Joined("c");
};

TEST_F(DeathInOneTurn, SenderThenReceiverEndItAndItGoesToNobody) {
  Begin(flag::kIdempotent);
  driver_.InOneTurn([&] {
    sender_.Break();
    receiver_.Break();
  });
  receiver_.Take();  // what was on its way to a dead peer
  EXPECT_EQ(driver_.metrics().assignments, 1u);
  ExpectOver();
}

// The sender is not known to be dead when the receiver dies: the request moves, and is cancelled there.
TEST_F(DeathInOneTurn, ReceiverThenSenderCancelsItAtTheSuccessor) {
  Begin(flag::kIdempotent);
  driver_.InOneTurn([&] {
    receiver_.Break();
    sender_.Break();
  });
  const std::vector<Seen> seen = other_.Take();
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[0].block().attempt(), 2);
  ExpectReset(seen[1], "sender_lost");
  ExpectOver();
}

TEST_F(DeathInOneTurn, ReceiverThenSenderOfARequestThatMayNotMoveTellsNobodyElse) {
  Begin(0);
  driver_.InOneTurn([&] {
    receiver_.Break();
    sender_.Break();
  });
  sender_.Take();
  EXPECT_EQ(driver_.metrics().assignments, 1u);
  ExpectOver();
}

TEST_F(DeathInOneTurn, SenderAndReceiverOfOneConnectionEndItAndItGoesToNobody) {
  for (const uint16_t receiving : {uint16_t{1}, uint16_t{2}}) {
    Driver driver;
    const auto sending = static_cast<uint16_t>(3 - receiving);
    Peer& both = driver.Joined("c", 2);
    Peer& other = driver.Joined("c");
    both.Send(ReceiveFrame(receiving));
    other.Send(ReceiveFrame(1));
    both.Send(StartFrame(flag::kRequest, sending, Id(9), {.flags = flag::kIdempotent}));
    EXPECT_EQ(both.TakeOne().slot, receiving);
    both.Break();
    EXPECT_TRUE(other.is_quiet());
    EXPECT_EQ(driver.count(End::kSenderLost), 1u);
    EXPECT_EQ(driver.metrics().assignments, 1u);
    driver.ExpectNothingLeft();
  }
}

TEST_F(DeathInOneTurn, WhatTheSenderSaidLastIsHandedOnBeforeItsEnd) {
  Begin(flag::kIdempotent);
  driver_.InOneTurn([&] {
    sender_.Send(ChunkFrame(flag::kRequest, 1, Id(9), "last"));
    sender_.Break();
  });
  const std::vector<Seen> seen = receiver_.Take();
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[0].payload, "last");
  ExpectReset(seen[1], "sender_lost");
  ExpectOver();
}

TEST_F(DeathInOneTurn, StartOfASenderThatDiesBehindItIsCancelled) {
  receiver_.Send(ReceiveFrame(1));
  driver_.InOneTurn([&] {
    sender_.Send(StartFrame(flag::kRequest, 1, Id(9), {.flags = flag::kFin}));
    sender_.CloseInput();
  });
  const std::vector<Seen> seen = receiver_.Take();
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[0].type, FrameType::kStart);
  ExpectReset(seen[1], "sender_lost");
  ExpectOver();
}

TEST_F(DeathInOneTurn, WholeAnswerOfAReceiverThatDiesBehindItCounts) {
  Begin(flag::kIdempotent | flag::kFin);
  driver_.InOneTurn([&] {
    receiver_.Send(StartFrame(flag::kResponse, 1, Id(9), {.flags = flag::kFin, .body = "answer"}));
    receiver_.Break();
  });
  EXPECT_EQ(sender_.TakeOne().body(), "answer");
  EXPECT_EQ(driver_.count(End::kCompleted), 1u);
  EXPECT_EQ(driver_.metrics().redeliveries, 0u);
  ExpectOver();
}

TEST_F(DeathInOneTurn, PartOfAnAnswerIsHandedOnBeforeTheEndAndTheRequestStays) {
  Begin(flag::kIdempotent | flag::kFin);
  driver_.InOneTurn([&] {
    receiver_.Send(StartFrame(flag::kResponse, 1, Id(9)) + ChunkFrame(flag::kResponse, 1, Id(9), "an"));
    receiver_.Break();
  });
  const std::vector<Seen> seen = sender_.Take();
  ASSERT_EQ(seen.size(), 3u);
  EXPECT_EQ(seen[1].payload, "an");
  ExpectReset(seen[2], "receiver_lost");
  ExpectOver();
}

TEST_F(DeathInOneTurn, WhatTheSenderSaysBehindItsReceiversDeathGoesToTheSuccessorAlone) {
  Begin(flag::kIdempotent);
  driver_.InOneTurn([&] {
    receiver_.Break();
    sender_.Send(EndFrame(flag::kRequest, 1, Id(9)));
  });
  const std::vector<Seen> seen = other_.Take();
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[0].block().attempt(), 2);
  EXPECT_EQ(seen[1].type, FrameType::kEnd);
  other_.Send(StartFrame(flag::kResponse, 1, Id(9), {.flags = flag::kFin}));
  EXPECT_EQ(sender_.TakeOne().block().attempt(), 2);
  ExpectOver();
}

TEST_F(DeathInOneTurn, WhatTheSenderSaysBehindTheEndIsLate) {
  Begin(0);
  driver_.InOneTurn([&] {
    receiver_.Break();
    sender_.Send(EndFrame(flag::kRequest, 1, Id(9)));
  });
  ExpectReset(sender_.TakeOne(), "receiver_lost");
  EXPECT_EQ(driver_.metrics().late_frames, 1u);
  ExpectOver();
}

TEST_F(DeathInOneTurn, AllReceiversDieAndTheRequestIsToldLostOnce) {
  Begin(flag::kIdempotent);
  Peer& third = driver_.Joined("c");
  third.Send(ReceiveFrame(1));
  driver_.InOneTurn([&] {
    receiver_.Break();
    other_.Break();
    third.Break();
  });
  other_.Take();
  third.Take();
  EXPECT_EQ(driver_.metrics().assignments, 3u);  // the default of attempts
  ExpectReset(sender_.TakeOne(), "receiver_lost");
  ExpectOver();
}

}  // namespace
}  // namespace relay::server

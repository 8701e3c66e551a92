// A Roster whose server is leaving: what runs there ends there, and all else is at the next server meanwhile.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/link.h"
#include "client/roster_fixture.h"
#include "proto/endian.h"

namespace relay::client {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::shared_ptr<Participant> NewParticipant() {
  auto participant = std::make_shared<Participant>();
  participant->id = Uuid::New();
  return participant;
}

std::vector<FrameType> Types(const std::vector<SentFrame>& frames) {
  std::vector<FrameType> types;
  types.reserve(frames.size());
  for (const SentFrame& frame : frames) types.push_back(frame.type);
  return types;
}

class LeavingTest : public RosterTest {
 protected:
  // As RosterTest does, before `leaving_` is gone.
  ~LeavingTest() override { roster_.Close(CancelledError("the test is over")); }

  // The server that is connected says GOAWAY; the next one is found.
  void Move() {
    leaving_ = std::move(session_);
    Hear(*leaving_, FrameType::kGoaway, 0, 0, proto::kNilUuid, "");
    Output(*leaving_);
    Connect();
  }
  void HearWindow(Session& session, const SentFrame& start, uint64_t limit) {
    std::string payload(sizeof(limit), '\0');
    proto::StoreBig(payload.data(), limit);
    Hear(session, FrameType::kWindow, flag::kRequest, start.slot, start.id, payload);
  }
  void SendOf(std::shared_ptr<Participant> participant, std::string body, bool idempotent = true) {
    participant_ = std::move(participant);
    Send(std::move(body), idempotent);
  }
  std::shared_ptr<Operation> Receive(std::shared_ptr<Participant> participant) {
    OperationSpec spec;
    spec.kind = Operation::Kind::kReceive;
    spec.name = "Receive";
    auto wait = std::make_shared<Told>(spec, std::move(participant), ends_);
    roster_.Submit(wait, now_);
    return wait;
  }

  std::unique_ptr<Session> leaving_;
  std::shared_ptr<Participant> first_ = participant_;
  std::shared_ptr<Participant> second_ = NewParticipant();
};

TEST_F(LeavingTest, WhatRunsEndsThereAndWhatBeginsGoesToTheNext) {
  Connect();
  SendOf(first_, "runs", false);
  const auto start = Start();
  ASSERT_TRUE(start.has_value());
  Move();
  EXPECT_THAT(Output(), IsEmpty());

  SendOf(second_, "begins");
  EXPECT_THAT(Types(Output()), ElementsAre(FrameType::kJoin, FrameType::kStart));
  // One client does one thing at a time, wherever.
  SendOf(first_, "behind it");
  EXPECT_THAT(Output(), IsEmpty());
  EXPECT_EQ(leaving_->bound, 1u);

  HearResponse(*leaving_, *start, flag::kFin);
  EXPECT_THAT(ends_, ElementsAre(OkStatus()));
  EXPECT_EQ(leaving_->bound, 0u);
  EXPECT_THAT(Types(Output()), ElementsAre(FrameType::kJoin, FrameType::kStart));
  EXPECT_THAT(Output(*leaving_), IsEmpty());
  EXPECT_EQ(session_->bound, 2u);
}

TEST_F(LeavingTest, ClientThatDoesNothingIsNotThereAnyMore) {
  Connect();
  SendOf(first_, "done");
  const auto start = Start();
  ASSERT_TRUE(start.has_value());
  HearResponse(*start, flag::kFin);
  EXPECT_EQ(session_->bound, 1u);
  Move();
  EXPECT_EQ(leaving_->bound, 0u);
  SendOf(first_, "more");
  EXPECT_THAT(Types(Output()), ElementsAre(FrameType::kJoin, FrameType::kStart));
}

TEST_F(LeavingTest, ThoseWhoWaitDoSoAtTheNextAtOnce) {
  Connect();
  Receive(first_);
  Output();
  SendOf(second_, "runs");
  ASSERT_TRUE(Start().has_value());
  Move();
  EXPECT_EQ(leaving_->bound, 1u);
  EXPECT_THAT(Types(Output()), ElementsAre(FrameType::kJoin, FrameType::kReceive));
}

TEST_F(LeavingTest, OneServerAfterTheOtherMayLeave) {
  Connect();
  SendOf(first_, "runs", false);
  const auto start = Start();
  ASSERT_TRUE(start.has_value());
  Move();
  SendOf(second_, "runs too", false);
  const auto other_start = Start();
  ASSERT_TRUE(other_start.has_value());
  const auto longest_left = std::move(leaving_);
  Move();
  EXPECT_EQ(longest_left->bound, 1u);
  EXPECT_EQ(leaving_->bound, 1u);
  HearResponse(*leaving_, *other_start, flag::kFin);
  HearResponse(*longest_left, *start, flag::kFin);
  EXPECT_THAT(ends_, ElementsAre(OkStatus(), OkStatus()));
  EXPECT_EQ(longest_left->bound + leaving_->bound, 0u);
}

TEST_F(LeavingTest, AnAnswerThereAsksForNothingMoreThere) {
  Connect();
  first_->link = std::make_shared<Link>(std::vector<net::Address>(), ConnectionOptions(), *net::Loop::Create());
  const auto serving = Receive(first_);
  Output();
  const std::string request(proto::kStartBlockBytes, '\0');
  Hear(FrameType::kStart, flag::kRequest | flag::kFin, first_->slot, proto::NewUuid(), request);
  Receive(first_);
  Move();
  EXPECT_EQ(serving->Finish("answer"), OkStatus());
  roster_.Look(serving, now_);
  const auto frames = Output(*leaving_);
  ASSERT_THAT(Types(frames), ElementsAre(FrameType::kStart));
  EXPECT_EQ(frames[0].flags, flag::kResponse | flag::kFin);
  EXPECT_THAT(Types(Output()), ElementsAre(FrameType::kJoin, FrameType::kReceive));
  first_->link = nullptr;  // whose mailbox holds what serves
}

TEST_F(LeavingTest, StreamsGoOnThere) {
  Connect();
  const std::string body(1'500'000, 'b');
  SendOf(first_, body, false);
  const auto frames = Output();
  ASSERT_THAT(Types(frames), ElementsAre(FrameType::kJoin, FrameType::kStart, FrameType::kChunk));
  size_t sent = frames[1].body().size() + frames[2].payload.size();
  Move();
  HearWindow(*leaving_, frames[1], 2'000'000);
  // More than is put out at once: the rest follows when that has drained.
  for (int i = 0; i < 10 && sent < body.size(); ++i) {
    const auto more = Output(*leaving_);
    ASSERT_FALSE(more.empty());
    for (const SentFrame& frame : more) sent += frame.payload.size();
    roster_.Unblock(*leaving_, now_);
  }
  EXPECT_EQ(sent, body.size());
  EXPECT_THAT(Output(), IsEmpty());
}

TEST_F(LeavingTest, ItsLossEndsWhatRanThereAlone) {
  Connect();
  SendOf(first_, "safe");
  const auto start = Start();
  ASSERT_TRUE(start.has_value());
  SendOf(second_, "plain", false);
  ASSERT_TRUE(Start().has_value());
  Move();
  const auto third = NewParticipant();
  SendOf(third, "there");
  ASSERT_TRUE(Start().has_value());

  roster_.OnLost(*leaving_, Lost(), leaving_->protocol.taken_bytes(), now_);
  leaving_.reset();
  EXPECT_THAT(ends_, ElementsAre(Lost().set_may_have_run(true)));
  EXPECT_EQ(third->current->phase(), Operation::Phase::kRunning);
  // The one that may goes out again, and who comes now has not to wait.
  Pass(kReconnectMin);
  const auto again = Start();
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->id, start->id);
  SendOf(NewParticipant(), "new");
  EXPECT_TRUE(Start().has_value());
}

TEST_F(LeavingTest, WhoHadHalfARequestThereWaitsAtTheNext) {
  Connect();
  const auto wait = Receive(first_);
  Output();
  const std::string half(proto::kStartBlockBytes, '\0');
  Hear(FrameType::kStart, flag::kRequest, first_->slot, proto::NewUuid(), half);
  ASSERT_EQ(wait->phase(), Operation::Phase::kRunning);
  Move();
  EXPECT_THAT(Output(), IsEmpty());
  roster_.OnLost(*leaving_, Lost(), leaving_->protocol.taken_bytes(), now_);
  leaving_.reset();
  EXPECT_THAT(Types(Output()), ElementsAre(FrameType::kJoin, FrameType::kReceive));
}

TEST_F(LeavingTest, WhatTheDrainCutsShortGoesToTheNext) {
  Connect();
  SendOf(first_, "safe");
  const auto start = Start();
  ASSERT_TRUE(start.has_value());
  Move();
  HearReset(*leaving_, *start, Unavailable("stopping", true));
  EXPECT_EQ(leaving_->bound, 0u);
  Pass(kReconnectMin);
  const auto again = Start();
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->id, start->id);
}

TEST_F(LeavingTest, WithdrawnWaitHearsItsEchoThere) {
  Connect();
  first_->link = std::make_shared<Link>(std::vector<net::Address>(), ConnectionOptions(), *net::Loop::Create());
  const auto wait = Receive(first_);
  wait->Withdraw();
  roster_.Look(wait, now_);
  ASSERT_THAT(Types(Output()), ElementsAre(FrameType::kJoin, FrameType::kReceive, FrameType::kReceive));
  const uint16_t slot = first_->slot;
  Move();
  EXPECT_EQ(leaving_->bound, 1u);
  EXPECT_THAT(ends_, IsEmpty());
  v1::Receive echo;
  echo.set_withdraw(true);
  Hear(*leaving_, FrameType::kReceive, 0, slot, proto::kNilUuid, echo.SerializeAsString());
  EXPECT_THAT(ends_, ElementsAre(CancelledError("the wait was given up")));
  EXPECT_EQ(leaving_->bound, 0u);
  first_->link = nullptr;  // whose mailbox holds the wait
}

// Of a server with several cores one may drain before GOAWAY can be said.
TEST_F(LeavingTest, JoinThatIsRefusedBeforeGoawayIsTriedAgainAfterAPause) {
  Connect();
  const auto wait = Receive(first_);
  Output();
  v1::Status wire;
  ToWireWithEnd(Unavailable("stopping", false), wire);
  Hear(FrameType::kLeave, 0, first_->slot, ToWire(first_->id), wire.SerializeAsString());
  EXPECT_EQ(wait->phase(), Operation::Phase::kTurn);
  EXPECT_THAT(Output(), IsEmpty());
  EXPECT_LE(roster_.next_time(), now_ + kReconnectMin);
  Pass(kReconnectMin);
  EXPECT_THAT(Types(Output()), ElementsAre(FrameType::kJoin, FrameType::kReceive));
}

TEST_F(LeavingTest, CloseTellsBothServers) {
  Connect();
  SendOf(first_, "there");
  Output();
  Move();
  SendOf(second_, "here");
  Output();
  roster_.Close(CancelledError("closed"));
  EXPECT_THAT(Types(Output(*leaving_)), ElementsAre(FrameType::kReset));
  EXPECT_THAT(Types(Output()), ElementsAre(FrameType::kReset));
  EXPECT_EQ(ends_.size(), 2u);
  EXPECT_EQ(leaving_->bound + session_->bound, 0u);
}

}  // namespace
}  // namespace relay::client

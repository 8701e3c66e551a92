// A Roster without I/O and clock in hand: which Sends are sent again, when, and what their ends say.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/link.h"
#include "client/roster_fixture.h"

namespace relay::client {
namespace {

using ResendTest = RosterTest;

TEST_F(ResendTest, IdempotentGoesOutAgainWholeWithTheSameIdAndWhatIsLeftOfItsTime) {
  Connect();
  const std::string body(1000, 'b');
  Send(body, true, absl::Seconds(20));
  const auto first = Start();
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->body(), body);
  EXPECT_EQ(first->timeout_ms(), 20'000u);
  Lose();
  EXPECT_FALSE(has_ended());
  Pass(absl::Seconds(5));
  Connect();
  const auto second = Start();
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(second->id, first->id);
  EXPECT_EQ(second->flags, first->flags);
  EXPECT_EQ(second->body(), body);
  EXPECT_EQ(second->timeout_ms(), 15'000u);
  HearResponse(*second, flag::kFin);
  ASSERT_TRUE(has_ended());
  EXPECT_EQ(end(), OkStatus());
}

TEST_F(ResendTest, OneThatIsNotIdempotentEndsAtOnceAndMayHaveRun) {
  Connect();
  Send("body", /*idempotent=*/false);
  ASSERT_TRUE(Start().has_value());
  Lose();
  ASSERT_TRUE(has_ended());
  EXPECT_EQ(end().code(), StatusCode::kUnavailable);
  EXPECT_EQ(end().end(), "connection_lost");
  EXPECT_TRUE(end().may_have_run());
}

TEST_F(ResendTest, StartThatTheSystemDidNotTakeWholeHasNotRun) {
  for (const uint64_t missing : {uint64_t{1}, uint64_t{100'000}}) {
    ends_.clear();
    Connect();
    Send(std::string(50'000, 'x'), /*idempotent=*/false);
    Lose(session_->protocol.appended_bytes() - std::min(missing, session_->protocol.appended_bytes()));
    ASSERT_TRUE(has_ended());
    EXPECT_EQ(end().code(), StatusCode::kUnavailable);
    EXPECT_FALSE(end().may_have_run()) << missing;
  }
}

TEST_F(ResendTest, StartThatTheSystemTookWithoutTheRestOfItsBodyMayHaveRun) {
  Connect();
  Send(std::string(200'000, 'x'), /*idempotent=*/false);
  // START fills one payload; the CHUNK behind it did not leave.
  Lose(session_->protocol.appended_bytes() - 1000);
  ASSERT_TRUE(has_ended());
  EXPECT_TRUE(end().may_have_run());
}

TEST_F(ResendTest, AfterAResponseHasBegunNothingIsSentAgain) {
  Connect();
  Send("body");
  HearResponse(*Start(), 0);
  Lose();
  ASSERT_TRUE(has_ended());
  EXPECT_TRUE(end().may_have_run());
}

TEST_F(ResendTest, WhatNobodyCarriesAnyMoreSaysThatItMayHaveRun) {
  Connect();
  Send("body");
  ASSERT_TRUE(Start().has_value());
  Lose();
  Pass(kWaitForConnection - absl::Milliseconds(1));
  EXPECT_FALSE(has_ended());
  Pass(absl::Milliseconds(1));
  ASSERT_TRUE(has_ended());
  EXPECT_EQ(end().code(), StatusCode::kUnavailable);
  EXPECT_TRUE(end().may_have_run());
}

TEST_F(ResendTest, ItsTimePassesWhileThereIsNoConnection) {
  Connect();
  Send("body", true, absl::Seconds(2));
  ASSERT_TRUE(Start().has_value());
  Lose();
  Pass(absl::Milliseconds(1999));
  EXPECT_FALSE(has_ended());
  Pass(absl::Milliseconds(1));
  ASSERT_TRUE(has_ended());
  EXPECT_EQ(end().code(), StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(end().may_have_run());
}

TEST_F(ResendTest, TimeAndItsExtensionShrinkFromSendingToSendingAndBoundTheSendersOwnWait) {
  Connect();
  const auto operation = Make(true, absl::Seconds(2), absl::Seconds(10));
  EXPECT_EQ(operation->Finish("body"), OkStatus());
  roster_.Submit(operation, now_);
  const auto first = Start();
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->timeout_ms(), 2'000u);
  EXPECT_EQ(first->max_extension_ms(), 10'000u);
  Lose();
  Pass(absl::Seconds(1));
  Connect();
  const auto second = Start();
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(second->timeout_ms(), 1'000u);
  EXPECT_EQ(second->max_extension_ms(), 9'000u);
  // The server's to end, for a second longer than it may be.
  Pass(absl::Milliseconds(9'999));
  EXPECT_FALSE(has_ended());
  Pass(absl::Milliseconds(1));
  ASSERT_TRUE(has_ended());
  EXPECT_EQ(end().code(), StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(end().may_have_run());
}

TEST_F(ResendTest, WhatMayHaveRunOnceStaysSoWhateverTheNextServerSays) {
  Connect();
  auto operation = Send("body");
  ASSERT_TRUE(Start().has_value());
  Lose();
  Pass(absl::Seconds(1));
  Connect();
  const auto second = Start();
  ASSERT_TRUE(second.has_value());
  HearReset(*second,
            ResourceExhaustedError("full").set_end("queue_count").set_retry_after(std::chrono::milliseconds(70)));
  ASSERT_TRUE(has_ended());
  EXPECT_EQ(end().code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(end().retry_after(), std::chrono::milliseconds(70));
  EXPECT_TRUE(end().may_have_run());
}

TEST_F(ResendTest, RefusalsThatAreSentAgainAndThoseThatAreTheCallers) {
  struct Case {
    Status status;
    bool is_sent_again;
  };
  const std::vector<Case> cases = {
      {Unavailable("stopping", false), true},
      {Unavailable("stopping", true), true},
      {Unavailable("memory", false), true},
      {Unavailable("no_receiver", false), false},
      {Unavailable("receiver_lost", true), false},
      {Unavailable("receiver_reset", true), false},
      {ResourceExhaustedError("").set_end("queue_count"), false},
      {DeadlineExceededError("").set_end("deadline"), false},
      {AlreadyExistsError("").set_end("id_live"), false},  // somebody else's, as nothing was sent before
  };
  for (const auto& [status, is_sent_again] : cases) {
    ends_.clear();
    Connect();
    const auto operation = Send("body");
    HearReset(*Start(), status);
    EXPECT_EQ(has_ended(), !is_sent_again) << status.end() << " " << status.may_have_run();
    Pass(kReconnectMin);
    EXPECT_EQ(Start().has_value(), is_sent_again) << status.end() << " " << status.may_have_run();
    operation->End(CancelledError("the test is over"));
    participant_->current = nullptr;
    Lose();
  }
}

TEST_F(ResendTest, RefusalOfOneThatIsNotIdempotentIsTheCallers) {
  Connect();
  Send("body", /*idempotent=*/false);
  HearReset(*Start(), Unavailable("stopping", false));
  ASSERT_TRUE(has_ended());
  EXPECT_EQ(end().end(), "stopping");
  EXPECT_FALSE(end().may_have_run());
}

TEST_F(ResendTest, IdThatIsLiveFromTheSendingBeforeIsTriedAgain) {
  Connect();
  Send("body");
  ASSERT_TRUE(Start().has_value());
  Lose();
  Pass(absl::Seconds(1));
  Connect();
  HearReset(*Start(), AlreadyExistsError("").set_end("id_live"));
  EXPECT_FALSE(has_ended());
  Pass(absl::Seconds(1));
  EXPECT_TRUE(Start().has_value());
}

TEST_F(ResendTest, PausesGrowAndEndWithTheWaitForAConnection) {
  Connect();
  Send("body");
  auto start = Start();
  int sendings = 1;
  const absl::Time refused_first = now_;
  while (!has_ended()) {
    ASSERT_TRUE(start.has_value());
    HearReset(*start, Unavailable("memory", false));
    start.reset();
    while (!has_ended() && !start.has_value()) {
      EXPECT_FALSE(session_->protocol.output_bytes() > 0);
      const absl::Time next = roster_.next_time();
      ASSERT_LE(next - now_, std::min(kReconnectMax, kReconnectMin * (1 << (sendings - 1))));
      Pass(next - now_);
      start = Start();
    }
    if (start.has_value()) ++sendings;
  }
  EXPECT_GE(now_ - refused_first, kWaitForConnection);
  EXPECT_EQ(end().end(), "memory");
  EXPECT_FALSE(end().may_have_run());
}

TEST_F(ResendTest, PauseIsAtLeastWhatTheServerAskedFor) {
  Connect();
  Send("body");
  HearReset(*Start(), Unavailable("memory", false).set_retry_after(std::chrono::milliseconds(700)));
  Pass(absl::Milliseconds(699));
  EXPECT_FALSE(Start().has_value());
  Pass(absl::Milliseconds(1));
  EXPECT_TRUE(Start().has_value());
}

TEST_F(ResendTest, ServerThatDiesOfTheRequestIsNotStruckAtWireSpeed) {
  Connect();
  Send("body");
  ASSERT_TRUE(Start().has_value());
  // The reconnect takes no time at all here: what is left is the pause.
  const absl::Time began = now_;
  int sendings = 1;
  while (now_ - began < absl::Seconds(60) && sendings < 1000) {
    Lose();
    Connect();
    while (!Start().has_value()) Pass(roster_.next_time() - now_);
    ++sendings;
  }
  EXPECT_LT(sendings, 200);  // 24 of 2.5 s each on average behind the first six
}

TEST_F(ResendTest, DrainingServerIsLeftForTheNextOne) {
  Connect();
  Send("body");
  const auto start = Start();
  Hear(FrameType::kGoaway, 0, 0, proto::kNilUuid, "");
  // It was assigned, and its receiver did not end before the drain's limit.
  now_ += kWaitForConnection * 2;
  HearReset(*start, Unavailable("stopping", true));
  Pass(kReconnectMin);
  EXPECT_FALSE(has_ended());
  EXPECT_FALSE(Start().has_value());
  Lose();
  Connect();
  EXPECT_TRUE(Start().has_value());
}

TEST_F(ResendTest, JoinThatCrossesADrainLosesNeitherSendNorReceive) {
  Connect();
  Send("body");
  const auto start = Start();
  ASSERT_TRUE(start.has_value());
  Hear(FrameType::kGoaway, 0, 0, proto::kNilUuid, "");
  v1::Status wire;
  ToWireWithEnd(Unavailable("stopping", false), wire);
  Hear(FrameType::kLeave, 0, start->slot, ToWire(participant_->id), wire.SerializeAsString());
  EXPECT_FALSE(has_ended());

  const auto waiting = std::make_shared<Participant>();
  waiting->id = Uuid::New();
  OperationSpec spec;
  spec.kind = Operation::Kind::kReceive;
  spec.name = "Receive";
  Pass(kReconnectMin);
  Lose();
  Connect();
  EXPECT_TRUE(Start().has_value());
  roster_.Submit(std::make_shared<Operation>(std::move(spec), waiting), now_);
  EXPECT_FALSE(Output().empty());
  Hear(FrameType::kGoaway, 0, 0, proto::kNilUuid, "");
  Hear(FrameType::kLeave, 0, waiting->slot, ToWire(waiting->id), wire.SerializeAsString());
  ASSERT_NE(waiting->current, nullptr);
  EXPECT_EQ(waiting->current->phase(), Operation::Phase::kTurn);
}

TEST_F(ResendTest, JoinThatIsRefusedHasNotRun) {
  Connect();
  Send("body");
  const auto start = Start();
  v1::Status wire;
  ToWireWithEnd(ResourceExhaustedError("").set_end("channel_limit"), wire);
  Hear(FrameType::kLeave, 0, start->slot, ToWire(participant_->id), wire.SerializeAsString());
  ASSERT_TRUE(has_ended());
  EXPECT_EQ(end().end(), "channel_limit");
  EXPECT_FALSE(end().may_have_run());
}

TEST_F(ResendTest, AnswerThatSaysFailureMayHaveRun) {
  Connect();
  Send("body");
  const auto start = Start();
  HearResponse(*start, 0);
  v1::End wire;
  wire.mutable_status()->set_code(static_cast<uint32_t>(StatusCode::kInternal));
  Hear(FrameType::kEnd, flag::kResponse, start->slot, start->id, wire.SerializeAsString());
  ASSERT_TRUE(has_ended());
  EXPECT_EQ(end().code(), StatusCode::kInternal);
  EXPECT_TRUE(end().may_have_run());
}

// A pool's worker makes its next wait, is stopped, and submits it, while the client is busy with the request before.
TEST_F(ResendTest, WaitThatWasGivenUpBeforeItIsSubmittedEndsThere) {
  Send("body");
  participant_->link = std::make_shared<Link>(std::vector<net::Address>(), ConnectionOptions(), *net::Loop::Create());
  OperationSpec spec;
  spec.kind = Operation::Kind::kReceive;
  const auto wait = std::make_shared<Told>(spec, participant_, ends_);
  wait->Withdraw();
  roster_.Submit(wait, now_);
  EXPECT_THAT(ends_, ::testing::ElementsAre(CancelledError("the wait was given up")));
  participant_->link = nullptr;  // whose mailbox holds the wait
}

}  // namespace
}  // namespace relay::client

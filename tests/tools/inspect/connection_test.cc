// What breaks a rule, what is late, and what neither is; what credit is left.

#include "tools/inspect/connection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "told.h"

namespace relay::inspect {
namespace {

using proto::FrameType;
using server::ChunkFrame;
using server::EndFrame;
using server::FrameOf;
using server::Id;
using server::JoinFrame;
using server::LeaveFrame;
using server::ReceiveFrame;
using server::ResetFrame;
using server::StartFrame;
using server::WindowFrame;
using testing::ElementsAre;
using testing::IsEmpty;
namespace flag = proto::flag;

constexpr uint8_t kReq = flag::kRequest;
constexpr uint8_t kRes = flag::kResponse;

// Slots 1 and 2 are joined, and WELCOME has come.
class ConnectionTest : public ToldTest {
 protected:
  ConnectionTest() {
    told_.Up(std::string(proto::kPreface) + server::HelloFrame() + JoinFrame(1, Id(1), "jobs") +
             JoinFrame(2, Id(2), "jobs"));
    told_.Down(WelcomeFrame());
    told_.Take();
  }
};

TEST_F(ConnectionTest, FindsNothingWrongWithAnExchange) {
  Up(ReceiveFrame(2));
  Up(StartFrame(kReq, 1, Id(5), {.body = "a"}));
  Down(HandedOn(kReq, 2, Id(5), "a"));
  Up(ChunkFrame(kReq | flag::kFin, 1, Id(5), "b"));
  Down(ChunkFrame(kReq | flag::kFin, 2, Id(5), "b"));
  Up(StartFrame(kRes, 2, Id(5)));
  Down(HandedOn(kRes, 1, Id(5)));
  Up(EndFrame(kRes | flag::kReceive, 2, Id(5)));
  Down(EndFrame(kRes, 1, Id(5)));
  told_.EndAll();
  EXPECT_TRUE(told_.totals().is_clean());
  ASSERT_EQ(told_.exchanges().size(), 1u);
  EXPECT_EQ(told_.exchanges()[0].end, "completed");
  EXPECT_EQ(told_.exchanges()[0].request_stream.body_bytes, 2u);
}

TEST_F(ConnectionTest, BreaksChunkWithoutStart) {
  EXPECT_THAT(Up(ChunkFrame(kReq, 1, Id(5), "x")), ElementsAre("CHUNK !not_started"));
  EXPECT_THAT(Up(ChunkFrame(kRes, 1, Id(5), "x")), ElementsAre("CHUNK !not_begun"));
  Up(ReceiveFrame(2));
  Down(HandedOn(kReq, 2, Id(6)));
  EXPECT_THAT(Up(ChunkFrame(kRes, 2, Id(6), "x")), ElementsAre("CHUNK !not_started"));
}

TEST_F(ConnectionTest, BreaksEndTwice) {
  Up(StartFrame(kReq, 1, Id(5)) + EndFrame(kReq, 1, Id(5)));
  EXPECT_THAT(Up(EndFrame(kReq, 1, Id(5))), ElementsAre("END !after_end"));
  Up(ReceiveFrame(2));
  Down(HandedOn(kReq, 2, Id(6)));
  Up(StartFrame(kRes, 2, Id(6)) + EndFrame(kRes, 2, Id(6)));
  EXPECT_THAT(Up(EndFrame(kRes, 2, Id(6))), ElementsAre("END !after_end"));
}

TEST_F(ConnectionTest, BreaksSecondStart) {
  Up(StartFrame(kReq, 1, Id(5)));
  EXPECT_THAT(Up(StartFrame(kReq, 1, Id(5))), ElementsAre("START !second_start"));
  EXPECT_THAT(Up(StartFrame(kReq, 1, Id(6))), ElementsAre("START !slot_busy"));
  EXPECT_THAT(Up(StartFrame(kReq, 2, Id(5))), ElementsAre("START !id_live"));
  EXPECT_THAT(Up(StartFrame(kReq, 9, Id(7))), ElementsAre("START !slot_not_joined"));
}

TEST_F(ConnectionTest, BreaksAFrameToAClientThatWasNotAssigned) {
  EXPECT_THAT(Down(ChunkFrame(kReq, 1, Id(5), "x")), ElementsAre("CHUNK !not_assigned"));
  EXPECT_THAT(Down(HandedOn(kReq, 1, Id(5))), ElementsAre("START !not_waiting"));
  EXPECT_THAT(Down(ChunkFrame(kRes, 2, Id(8), "x")), ElementsAre("CHUNK !not_begun"));
}

TEST_F(ConnectionTest, CountsCredit) {
  Up(StartFrame(kReq, 1, Id(5), {.body = "abc"}));
  EXPECT_EQ(told_.credit().left(), 65536u - 24 - 3);
  Up(ChunkFrame(kReq, 1, Id(5), std::string(1000, 'x')));
  EXPECT_EQ(told_.credit().left(), 65536u - 24 - 3 - 24 - 1000);
  Down(WindowFrame(kReq, 1, Id(5), 100000));
  EXPECT_EQ(told_.credit().left(), 100000u - 24 - 3 - 24 - 1000);
  // A lesser one means nothing.
  Down(WindowFrame(kReq, 1, Id(5), 5));
  EXPECT_EQ(told_.credit().window, 100000u);
}

TEST_F(ConnectionTest, BreaksAnOverrunByOneByte) {
  Up(StartFrame(kReq, 1, Id(5)));
  EXPECT_THAT(Up(ChunkFrame(kReq, 1, Id(5), std::string(65536 - 24, 'x'))), ElementsAre("CHUNK"));
  EXPECT_EQ(told_.credit().left(), 0u);
  Up(ResetFrame(1, Id(5), absl::StatusCode::kCancelled));
  Up(StartFrame(kReq, 1, Id(6)));
  EXPECT_THAT(Up(ChunkFrame(kReq, 1, Id(6), std::string(65536 - 23, 'x'))), ElementsAre("CHUNK !window_overrun"));
  EXPECT_THAT(Up(EndFrame(kReq, 1, Id(6))), ElementsAre("END")) << "it costs nothing";
}

TEST_F(ConnectionTest, BreaksAWindowThatReachesTooFar) {
  Up(ReceiveFrame(2));
  Down(HandedOn(kReq, 2, Id(5), "abc"));
  EXPECT_THAT(Up(WindowFrame(kReq, 2, Id(5), 27 + 4 * 65536)), ElementsAre("WINDOW"));
  EXPECT_THAT(Up(WindowFrame(kReq, 2, Id(5), 28 + 4 * 65536)), ElementsAre("WINDOW !window_too_far"));
}

TEST_F(ConnectionTest, CallsLateWhatCrossesAnEnd) {
  Up(StartFrame(kReq, 1, Id(5)));
  Down(StatusFrame(FrameType::kReset, 1, Id(5), absl::StatusCode::kDeadlineExceeded, "deadline"));
  EXPECT_THAT(Up(ChunkFrame(kReq, 1, Id(5), "x") + EndFrame(kReq, 1, Id(5))), ElementsAre("~CHUNK", "~END"));
  // The client goes on, and what comes for the old one is late still.
  Up(StartFrame(kReq, 1, Id(6)) + ResetFrame(1, Id(6), absl::StatusCode::kCancelled) + StartFrame(kReq, 1, Id(7)));
  EXPECT_THAT(Down(HandedOn(kRes, 1, Id(6)) + WindowFrame(kReq, 1, Id(6), 70000)), ElementsAre("~START", "~WINDOW"));
  EXPECT_EQ(told_.totals().broken_rules, 0u);
}

TEST_F(ConnectionTest, CallsLateWhatCrossesTheEndOfAResponse) {
  Up(ReceiveFrame(2));
  Down(HandedOn(kReq, 2, Id(5)));
  Up(StartFrame(kRes, 2, Id(5), {.flags = flag::kFin | flag::kReceive}));
  EXPECT_THAT(Down(ChunkFrame(kReq, 2, Id(5), "x")), ElementsAre("~CHUNK"));
  // The RECEIVE of a frame that is late counts.
  Down(HandedOn(kReq, 2, Id(6)));
  Down(StatusFrame(FrameType::kReset, 2, Id(6), absl::StatusCode::kCancelled, "sender_lost"));
  EXPECT_THAT(Up(EndFrame(kRes | flag::kReceive, 2, Id(6))), ElementsAre("~END"));
  EXPECT_THAT(Down(HandedOn(kReq, 2, Id(7))), ElementsAre("START"));
  EXPECT_EQ(told_.totals().broken_rules, 0u);
}

TEST_F(ConnectionTest, KnowsTheRacesOfWaiting) {
  // START crosses a withdrawal.
  Up(ReceiveFrame(2));
  Up(server::WithdrawFrame(2));
  EXPECT_THAT(Up(ReceiveFrame(2)), ElementsAre("RECEIVE !before_echo"));
  v1::Receive echo;
  echo.set_withdraw(true);
  EXPECT_THAT(Down(HandedOn(kReq, 2, Id(5)) + FrameOf(FrameType::kReceive, 2, proto::kNilUuid, echo)),
              ElementsAre("START", "RECEIVE"));
  EXPECT_THAT(Down(FrameOf(FrameType::kReceive, 2, proto::kNilUuid, echo)), ElementsAre("RECEIVE !no_withdrawal"));
  EXPECT_THAT(Down(ReceiveFrame(1)), ElementsAre("RECEIVE !not_waiting"));
  EXPECT_THAT(Up(ReceiveFrame(2)), ElementsAre("RECEIVE !slot_busy"));
}

TEST_F(ConnectionTest, DoesNotBlameAClientThatCannotKnowYet) {
  // Taken over: what it sends before it has read so is late.
  Down(StatusFrame(FrameType::kLeave, 1, Id(1), absl::StatusCode::kAborted, "taken_over"));
  EXPECT_THAT(Up(ReceiveFrame(1)), ElementsAre("~RECEIVE"));
  EXPECT_THAT(Up(StartFrame(kReq, 1, Id(5)) + ChunkFrame(kReq, 1, Id(5), "x")), ElementsAre("~START", "~CHUNK"));
  EXPECT_THAT(Up(LeaveFrame(1, Id(1))), ElementsAre("~LEAVE"));
  EXPECT_THAT(Up(JoinFrame(1, Id(3), "jobs")), ElementsAre("JOIN"));
  // The server stops, and RECEIVE crosses it.
  Down(StatusFrame(FrameType::kGoaway, 0, proto::kNilUuid, absl::StatusCode::kUnavailable, "stopping"));
  EXPECT_THAT(Up(ReceiveFrame(2)), ElementsAre("RECEIVE"));
  EXPECT_THAT(Down(StatusFrame(FrameType::kReset, 2, proto::kNilUuid, absl::StatusCode::kUnavailable, "stopping")),
              ElementsAre("RESET"));
  EXPECT_EQ(told_.totals().broken_rules, 0u);
}

TEST_F(ConnectionTest, KnowsLeaving) {
  Up(StartFrame(kReq, 1, Id(5)));
  EXPECT_THAT(Up(LeaveFrame(1, Id(1))), ElementsAre("LEAVE"));
  EXPECT_THAT(Down(WindowFrame(kReq, 1, Id(5), 70000)), ElementsAre("~WINDOW"));
  EXPECT_THAT(Down(StatusFrame(FrameType::kLeave, 1, Id(1), absl::StatusCode::kOk, "left")), ElementsAre("LEAVE"));
  EXPECT_THAT(Up(JoinFrame(1, Id(9), "jobs")), ElementsAre("JOIN"));
  EXPECT_THAT(Up(JoinFrame(1, Id(9), "jobs")), ElementsAre("JOIN !slot_bound"));
  ASSERT_EQ(told_.exchanges().size(), 1u);
  EXPECT_EQ(told_.exchanges()[0].end, "sender_lost");
}

TEST_F(ConnectionTest, BreaksWhatAServerMustNot) {
  EXPECT_THAT(Down(server::HelloFrame()), ElementsAre("HELLO !client_frame"));
  EXPECT_THAT(Down(WelcomeFrame()), ElementsAre("WELCOME !second_welcome"));
  Up(StartFrame(kReq, 1, Id(5)));
  Down(HandedOn(kRes, 1, Id(5)));
  EXPECT_THAT(Down(ChunkFrame(kReq, 1, Id(5), "x")), ElementsAre("CHUNK !wrong_way"));
  EXPECT_THAT(Down(EndFrame(kRes | flag::kReceive, 1, Id(5))), ElementsAre("END !receive_handed_on"));
  Down(StatusFrame(FrameType::kGoaway, 0, proto::kNilUuid, absl::StatusCode::kInvalidArgument, "malformed"));
  EXPECT_THAT(Down(server::PingFrame()), ElementsAre("PING !after_fault"));
  EXPECT_THAT(Up(server::PingFrame()), ElementsAre("~PING"));
}

TEST_F(ConnectionTest, BreaksHeadersAndPayloads) {
  EXPECT_THAT(Up(FrameOf(FrameType::kPing, 0, 0, proto::kNilUuid, "short")), ElementsAre("PING !malformed"));
  EXPECT_THAT(Up(FrameOf(FrameType::kPing, kReq, 0, proto::kNilUuid, "12345678")), ElementsAre("PING !bad_header"));
  EXPECT_THAT(Up(FrameOf(FrameType::kStart, kReq, 1, Id(5), "short")), ElementsAre("START !bad_start"));
  EXPECT_THAT(Up(HandedOn(kReq, 1, Id(5))), ElementsAre("START !bad_start"));
  EXPECT_THAT(Up(FrameOf(FrameType::kReset, 0, 1, proto::kNilUuid)), ElementsAre("RESET !nil_reset"));
  EXPECT_THAT(Up(FrameOf(static_cast<FrameType>(99), 0xff, 1, Id(5), "?")), ElementsAre("type 99"));
}

TEST(Connection, BreaksTheOrderOfTheHandshake) {
  Told told;
  told.Up(std::string(proto::kPreface) + server::PingFrame() + server::HelloFrame() + server::HelloFrame());
  told.Down(server::PingFrame());
  EXPECT_THAT(told.Take(),
              ElementsAre("preface", "PING !before_hello", "HELLO", "HELLO !second_hello", "PING !before_welcome"));
}

// What is not seen may explain everything.
TEST(Connection, BlamesNobodyWhereItCameInTheMiddle) {
  Told told(/*resync=*/false, /*from_start=*/false);
  told.Up(ChunkFrame(kReq, 1, Id(5), "x") + EndFrame(kReq, 1, Id(5)) + ReceiveFrame(1) + ReceiveFrame(1));
  told.Down(HandedOn(kReq, 1, Id(6)) + ChunkFrame(kRes, 1, Id(7), "x") + WindowFrame(kReq, 3, Id(8), 1) +
            StatusFrame(FrameType::kReset, 1, Id(9), absl::StatusCode::kUnavailable));
  told.EndAll();
  EXPECT_EQ(told.totals().broken_rules, 0u);
}

// The last but one is known by its receiver, and told.
TEST(Connection, CountsTheExchangesThatBeganBeforeIt) {
  Told told(/*resync=*/false, /*from_start=*/false);
  told.Up(ChunkFrame(kReq, 1, Id(5), "x") + EndFrame(kReq, 1, Id(5)) + WindowFrame(kReq, 2, Id(6), 70000));
  told.Down(HandedOn(kReq, 3, Id(7)));
  told.Up(StartFrame(kRes, 3, Id(7)) + EndFrame(kRes, 3, Id(7)));
  told.Down(HandedOn(kRes, 4, Id(7)) + EndFrame(kRes, 4, Id(7)) + EndFrame(kRes, 1, Id(5)));
  told.Up(StartFrame(kReq, 5, Id(8)));
  told.EndAll();
  EXPECT_EQ(told.exchanges().size(), 2u);
  EXPECT_EQ(told.totals().left_out_exchanges, 2u);
}

// A client that joined before the trace began: on which channel, the other side says.
TEST(Connection, PutsTheSidesOfARequestTogetherWhicheverJoinedUnseen) {
  for (const uint16_t joins : {uint16_t{1}, uint16_t{2}}) {
    Told told(/*resync=*/false, /*from_start=*/false);
    told.Up(JoinFrame(joins, Id(joins), "jobs") + ReceiveFrame(2) +
            StartFrame(kReq, 1, Id(5), {.flags = flag::kFin, .body = "abc"}));
    told.Down(HandedOn(kReq, 2, Id(5), "abc", flag::kFin));
    told.Up(StartFrame(kRes, 2, Id(5), {.flags = flag::kFin, .body = "answer"}));
    told.Down(HandedOn(kRes, 1, Id(5), "answer", flag::kFin));
    EXPECT_EQ(told.channel_name(), "jobs");
    told.EndAll();
    ASSERT_EQ(told.exchanges().size(), 1u);
    const Exchange& exchange = told.exchanges()[0];
    EXPECT_EQ(exchange.channel_name, "jobs");
    EXPECT_EQ(exchange.end, "completed");
    EXPECT_EQ(exchange.response_stream.body_bytes, 6u);
    EXPECT_EQ(exchange.sender, joins == 1 ? Id(1) : Id(77));
    EXPECT_EQ(exchange.receiver, joins == 2 ? Id(2) : Id(77));
    ASSERT_EQ(exchange.attempts.size(), 1u);
    EXPECT_EQ(exchange.attempts[0].receiver, exchange.receiver);
  }
}

// Both sides of a proxy are in the trace, so every frame is, twice.
TEST(Connection, CountsWhatPassesAProxyOnce) {
  Told told;
  told.Open(2);
  const auto up = [&told](const std::string& bytes) {
    for (const auto leg : {ConnectionId{1}, ConnectionId{2}}) told.Return(leg), told.Up(bytes);
  };
  const auto down = [&told](const std::string& bytes) {
    for (const auto leg : {ConnectionId{2}, ConnectionId{1}}) told.Return(leg), told.Down(bytes);
  };
  up(std::string(proto::kPreface) + server::HelloFrame() + JoinFrame(1, Id(1), "jobs") + JoinFrame(2, Id(2), "jobs"));
  down(WelcomeFrame());
  up(ReceiveFrame(2) + StartFrame(kReq, 1, Id(5), {.flags = flag::kFin, .body = "abc"}));
  down(HandedOn(kReq, 2, Id(5), "abc", flag::kFin));
  up(StartFrame(kRes, 2, Id(5), {.flags = flag::kFin, .body = "answer"}));
  down(HandedOn(kRes, 1, Id(5), "answer", flag::kFin));
  up(StartFrame(kReq, 1, Id(6)));
  told.Return(2);
  told.Close(Direction::kToServer);
  EXPECT_EQ(told.exchanges().size(), 1u) << "that of the client's own connection is still open";
  told.EndAll();
  EXPECT_TRUE(told.totals().is_clean());
  EXPECT_EQ(told.totals().left_out_exchanges, 0u);
  ASSERT_EQ(told.exchanges().size(), 2u);
  const Exchange& exchange = told.exchanges()[0];
  EXPECT_EQ(exchange.end, "completed");
  EXPECT_EQ(exchange.request_stream.body_bytes, 3u);
  EXPECT_EQ(exchange.response_stream.body_bytes, 6u);
  EXPECT_EQ(exchange.attempts.size(), 1u);
  EXPECT_EQ(told.exchanges()[1].end, "open");
}

// What ended an exchange is what the trace says, and nothing else.
class GoneSenderTest : public ConnectionTest {
 protected:
  GoneSenderTest() {
    Up(ReceiveFrame(2) + StartFrame(kReq, 1, Id(5), {.body = "abc"}));
    Down(HandedOn(kReq, 2, Id(5), "abc"));
  }
  const Exchange& Only() {
    if (told_.exchanges().empty()) told_.EndAll();
    EXPECT_EQ(told_.exchanges().size(), 1u);
    return told_.exchanges()[0];
  }
};

TEST_F(GoneSenderTest, LosesItsConnectionWhereTheServerClosedFirst) {
  told_.Close(Direction::kToClient);
  told_.Close(Direction::kToServer);
  EXPECT_EQ(Only().end, "connection_lost");
  EXPECT_EQ(Only().code, static_cast<uint32_t>(absl::StatusCode::kUnavailable));
  EXPECT_FALSE(Only().may_have_run.has_value());
}

TEST_F(GoneSenderTest, IsLostWhereTheClientClosedFirst) {
  told_.Close(Direction::kToServer);
  told_.Close(Direction::kToClient);
  EXPECT_EQ(Only().end, "sender_lost");
  EXPECT_FALSE(Only().may_have_run.has_value());
}

TEST_F(GoneSenderTest, EndsAsTheServerTellsTheReceiverThen) {
  Up(LeaveFrame(1, Id(1)));
  EXPECT_THAT(told_.exchanges(), IsEmpty());
  v1::Reset reset;
  reset.mutable_status()->set_code(static_cast<uint32_t>(absl::StatusCode::kCancelled));
  reset.mutable_status()->set_end("sender_lost");
  reset.mutable_status()->set_message("gone");
  reset.mutable_status()->set_may_have_run(true);
  Down(FrameOf(FrameType::kReset, 2, Id(5), reset));
  ASSERT_EQ(told_.exchanges().size(), 1u);
  EXPECT_EQ(Only().end, "sender_lost");
  EXPECT_EQ(Only().message, "gone");
  EXPECT_EQ(Only().may_have_run, true);
}

TEST_F(GoneSenderTest, LeavesOpenWhatHadItsEndPerhapsInWhatWasLost) {
  told_.Lose(3);
  Up(LeaveFrame(1, Id(1)));
  EXPECT_EQ(Only().end, "open");
  EXPECT_TRUE(Only().has_missed);
}

// Nobody knows what the frames that were cut have said.
TEST_F(ConnectionTest, BlamesNobodyForWhatWasCut) {
  told_.Cut(Direction::kToServer, JoinFrame(3, Id(3), "jobs"));
  EXPECT_THAT(Up(StartFrame(kReq, 3, Id(5)) + EndFrame(kReq, 3, Id(5))), ElementsAre("JOIN", "START", "END"));
  EXPECT_THAT(Up(StartFrame(kReq, 4, Id(5))), ElementsAre("START !slot_not_joined")) << "what was cut joined one slot";
  EXPECT_THAT(Up(LeaveFrame(3, Id(3)) + ReceiveFrame(3)), ElementsAre("LEAVE", "RECEIVE !slot_not_joined"));
  told_.Cut(Direction::kToServer, ReceiveFrame(2, 1000));
  EXPECT_THAT(Down(HandedOn(kReq, 2, Id(6))), ElementsAre("RECEIVE", "START"));
}

TEST_F(ConnectionTest, BlamesNobodyForAWindowThatWasCut) {
  Up(StartFrame(kReq, 1, Id(5)));
  told_.Cut(Direction::kToClient, WindowFrame(kReq, 1, Id(5), 100000));
  EXPECT_THAT(Up(ChunkFrame(kReq, 1, Id(5), std::string(65000, 'x')) + ChunkFrame(kReq, 1, Id(5), "abc")),
              ElementsAre("WINDOW", "CHUNK", "CHUNK"));
  told_.EndAll();
  EXPECT_FALSE(told_.exchanges()[0].has_missed) << "the sizes of bodies are known";
}

TEST_F(ConnectionTest, DoesNotCountABodyOfWhichNobodySaidHowLongItIs) {
  told_.Cut(Direction::kToServer, StartFrame(kReq, 1, Id(5), {.body = "abc"}));
  told_.EndAll();
  ASSERT_EQ(told_.exchanges().size(), 1u);
  EXPECT_TRUE(told_.exchanges()[0].has_missed);
  EXPECT_FALSE(told_.exchanges()[0].knows_method);
  EXPECT_FALSE(told_.exchanges()[0].timeout_ms.has_value());
}

TEST_F(ConnectionTest, DoesNotSayHowItEndedWhereThatWasCut) {
  Up(StartFrame(kReq, 1, Id(5)));
  told_.Cut(Direction::kToClient, StatusFrame(FrameType::kReset, 1, Id(5), absl::StatusCode::kAborted, "taken_over"));
  Up(StartFrame(kReq, 2, Id(6)));
  Down(HandedOn(kRes, 2, Id(6)));
  told_.Cut(Direction::kToClient, EndFrame(kRes, 2, Id(6), "a status"));
  ASSERT_EQ(told_.exchanges().size(), 2u);
  for (const Exchange& exchange : told_.exchanges()) {
    EXPECT_FALSE(exchange.code.has_value());
    EXPECT_FALSE(exchange.may_have_run.has_value());
  }
  EXPECT_EQ(told_.exchanges()[0].end, "reset");
  EXPECT_EQ(told_.exchanges()[1].end, "completed");
}

std::string HandedOnAs(uint16_t attempt, uint32_t since_us, uint8_t direction, uint16_t slot) {
  std::string frame = HandedOn(direction, slot, Id(5));
  proto::StartBlock block(
      {reinterpret_cast<uint8_t*>(frame.data()) + proto::kHeaderBytes, frame.size() - proto::kHeaderBytes});
  block.set_attempt(attempt);
  block.set_queue_wait_us(since_us);
  return frame;
}

// Its sender alone was seen, whom the server told of a second attempt: it was given back before it ran.
TEST_F(ConnectionTest, CountsNotAllOfItsTimeAsQueuedWhereAnAttemptOfItWasToldAndNoneSeen) {
  Up(StartFrame(kReq, 1, Id(5)));
  Down(HandedOnAs(2, 1500, kRes, 1));
  Down(StatusFrame(FrameType::kReset, 1, Id(5), absl::StatusCode::kDeadlineExceeded, "deadline"));
  ASSERT_EQ(told_.exchanges().size(), 1u);
  EXPECT_EQ(told_.exchanges()[0].may_have_run, false);
  EXPECT_EQ(told_.exchanges()[0].queue_wait, std::nullopt);
}

TEST_F(ConnectionTest, CountsAsQueuedNoTimeOfAnEarlierAttempt) {
  Up(JoinFrame(3, Id(3), "jobs") + ReceiveFrame(2) + ReceiveFrame(3) + StartFrame(kReq, 1, Id(5)));
  Down(HandedOnAs(1, 0, kReq, 2));
  Up(LeaveFrame(2, Id(2)));  // 1 ms later, as each call
  Down(HandedOnAs(2, 1500, kReq, 3));
  Up(StartFrame(kRes, 3, Id(5)) + EndFrame(kRes, 3, Id(5)));
  Down(HandedOnAs(2, 1500, kRes, 1) + EndFrame(kRes, 1, Id(5)));
  ASSERT_EQ(told_.exchanges().size(), 1u);
  EXPECT_EQ(told_.exchanges()[0].queue_wait, absl::Microseconds(500));
}

TEST_F(ConnectionTest, KnowsWhichExchangesMayHaveMissedFrames) {
  Up(StartFrame(kReq, 1, Id(5)));
  told_.Gap(Direction::kToServer, 100);
  Up(LeaveFrame(1, Id(1)) + StartFrame(kReq, 2, Id(6)));
  told_.EndAll();
  ASSERT_EQ(told_.exchanges().size(), 2u);
  EXPECT_TRUE(told_.exchanges()[0].has_missed);
  EXPECT_FALSE(told_.exchanges()[1].has_missed);
}

TEST_F(ConnectionTest, BlamesNobodyBehindWhatWasLost) {
  Up(StartFrame(kReq, 1, Id(5)));
  told_.Lose(3);
  EXPECT_THAT(Up(ChunkFrame(kReq, 1, Id(5), std::string(65536, 'x'))), ElementsAre("CHUNK"));
  EXPECT_THAT(Up(StartFrame(kReq, 1, Id(6))), ElementsAre("START"));
  EXPECT_FALSE(told_.totals().is_clean());
}

}  // namespace
}  // namespace relay::inspect

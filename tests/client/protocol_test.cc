// What the client says: commands, credit, slots and heartbeats.

#include <gtest/gtest.h>

#include <span>
#include <string>
#include <vector>

#include "client/protocol_fixture.h"

namespace relay::client {
namespace {

TEST(Protocol, BeginsWithPrefaceAndHello) {
  Protocol protocol("a", absl::UnixEpoch());
  std::string output;
  protocol.TakeOutput(output, absl::UnixEpoch());
  const std::string expected(
      "RELAY/1\n"
      "\x00\x00\x00\x05"                  // payload bytes
      "\x01\x00\x00\x00"                  // HELLO, no flags, slot 0
      "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"  // nil id
      "\x08\x01\x12\x01"                  // version 1, agent of 1 byte
      "a",
      8 + 24 + 5);
  EXPECT_EQ(output, expected);
}

TEST_F(ProtocolTest, SmallRequestIsOneFrame) {
  Welcome();
  const uint16_t slot = Joined(1);
  RequestStart start;
  start.is_idempotent = true;
  start.timeout = absl::Milliseconds(258);
  EXPECT_EQ(protocol_.Start(slot, Id(5), start, "body", true), 4u);
  const std::string expected(
      "\x00\x00\x00\x2c"                  // 40 + 4
      "\x06\x0d\x00\x01"                  // START, REQUEST FIN IDEMPOTENT, slot 1
      "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\5"  // request
      "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"  // the server's: the other client
      "\x00\x00\x01\x02"                  // timeout
      "\0\0\0\0\0\0"                      // the server's: queue wait, attempt
      "\0\0"                              // an empty Start
      "\0\0\0\0"                          // no extension
      "\0\0\0\0\0\0\0\0"                  // kept
      "body",
      24 + 40 + 4);
  EXPECT_EQ(Output(), expected);
}

TEST_F(ProtocolTest, CountsOnTheSmallestLimitsBeforeWelcome) {
  const uint16_t slot = Joined(1);
  const std::string body(200'000, 'b');
  // START's body costs 24 more than its bytes; the payload of 64 KiB has the block in it.
  EXPECT_EQ(protocol_.Start(slot, Id(5), {}, body, true), 65536u - 40u);
  EXPECT_EQ(protocol_.credit(slot), 0u);
  EXPECT_EQ(protocol_.Write(slot, Id(5), "more", true, false), 0u);
  Welcome();
  EXPECT_EQ(protocol_.credit(slot), kWindow - (65536 - 40 + 24) - 24);
}

TEST_F(ProtocolTest, WritersSplitToTheCreditTheyHave) {
  const uint16_t slot = Sending();
  const uint64_t credit = protocol_.credit(slot);
  EXPECT_EQ(credit, kWindow - 25 - 24);
  const std::string body(kWindow, 'b');
  const size_t first = protocol_.Write(slot, Id(5), body, true, false);
  auto frames = Frames();
  ASSERT_EQ(frames.size(), 2u);
  EXPECT_EQ(frames[0].size(), 24 + 65536u);
  EXPECT_EQ(first, kWindow - 25 - 24 - 24);
  EXPECT_FALSE(View(frames[1]).has(flag::kFin));

  EXPECT_EQ(Hear(Window(flag::kRequest, slot, Id(5), kWindow + 25)).kind, Kind::kCredit);
  EXPECT_EQ(protocol_.Write(slot, Id(5), body.substr(first), true, false), 1u);
  // Not greater than before: it means nothing.
  EXPECT_EQ(Hear(Window(flag::kRequest, slot, Id(5), kWindow + 25)).kind, Kind::kNone);
  EXPECT_EQ(Hear(Window(flag::kRequest, slot, Id(5), 2 * kWindow)).kind, Kind::kCredit);
  Output();
  EXPECT_EQ(protocol_.Write(slot, Id(5), "end", true, false), 3u);
  frames = Frames();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_TRUE(View(frames[0]).has(flag::kFin));
}

TEST_F(ProtocolTest, ResponseInOneFrameEndsTheExchange) {
  const uint16_t slot = Sending();
  const Event event = Hear(Start(flag::kResponse | flag::kFin, slot, Id(5), "answer"));
  EXPECT_EQ(event.kind, Kind::kResponse);
  EXPECT_EQ(event.body, "answer");
  EXPECT_TRUE(event.is_last);
  EXPECT_EQ(event.head.method(), "m");
  EXPECT_EQ(event.other_client, Id(77));
  EXPECT_EQ(event.queue_wait, absl::Microseconds(1500));
  EXPECT_FALSE(protocol_.IsLive(slot, Id(5)));
  // The rest of the request is not sent, and what still comes for it is late.
  EXPECT_EQ(protocol_.Write(slot, Id(5), "rest", true, false), 0u);
  EXPECT_EQ(Hear(Window(flag::kRequest, slot, Id(5), 1 << 20)).kind, Kind::kNone);
  EXPECT_EQ(Hear(Reset(slot, Id(5), StatusCode::kUnavailable)).kind, Kind::kNone);
  EXPECT_EQ(protocol_.late_frames(), 2u);
  EXPECT_EQ(Output(), "");
  EXPECT_TRUE(protocol_.Start(slot, Id(6), {}, "", true).has_value());
}

TEST_F(ProtocolTest, ReceiverThatGoesOnWaitingSaysSoOnItsLastFrame) {
  const uint16_t slot = Serving();
  EXPECT_EQ(protocol_.Respond(slot, Id(5), {}, "done", true, true), 4u);
  auto frames = Frames();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(View(frames[0]).flags(), flag::kResponse | flag::kFin | flag::kReceive);
  EXPECT_TRUE(protocol_.IsWaiting(slot));
  EXPECT_EQ(Hear(Start(flag::kRequest, slot, Id(6), "")).kind, Kind::kRequest);
}

TEST_F(ProtocolTest, EndCarriesTheStatusBehindAnOpenResponse) {
  const uint16_t slot = Serving();
  protocol_.Respond(slot, Id(5), {}, "part", false, false);
  v1::End end;
  end.mutable_status()->set_code(5);
  protocol_.End(slot, Id(5), end, false);
  auto frames = Frames();
  ASSERT_EQ(frames.size(), 2u);
  EXPECT_EQ(View(frames[1]).type(), FrameType::kEnd);
  EXPECT_FALSE(protocol_.IsLive(slot, Id(5)));
}

TEST_F(ProtocolTest, WindowGoesOutByTheHalf) {
  Welcome();
  const uint16_t slot = Joined(1);
  protocol_.Receive(slot, std::nullopt);
  const std::string body(60'000, 'b');
  EXPECT_EQ(Hear(Start(flag::kRequest, slot, Id(5), body)).cost, 60'024u);
  Output();
  protocol_.Consumed(slot, Id(5), 60'024);
  EXPECT_EQ(Output(), "");
  EXPECT_EQ(Hear(Frame(FrameType::kChunk, flag::kRequest, slot, Id(5), body)).cost, 60'024u);
  protocol_.Consumed(slot, Id(5), kWindow / 2 - 60'024 - 1);
  EXPECT_EQ(Output(), "");
  protocol_.Consumed(slot, Id(5), 1);
  EXPECT_EQ(Output(), Window(flag::kRequest, slot, Id(5), kWindow + kWindow / 2));
}

TEST_F(ProtocolTest, WithdrawalIsOverWithItsEcho) {
  Welcome();
  const uint16_t slot = Joined(1);
  EXPECT_FALSE(protocol_.Withdraw(slot));
  protocol_.Receive(slot, absl::Milliseconds(50));
  EXPECT_FALSE(protocol_.Receive(slot, std::nullopt));
  EXPECT_TRUE(protocol_.Withdraw(slot));
  EXPECT_FALSE(protocol_.Withdraw(slot));
  // The wait ran out meanwhile: the slot is still not free for the next operation.
  EXPECT_EQ(Hear(Receive(slot, false)).kind, Kind::kNothingCame);
  EXPECT_FALSE(protocol_.Receive(slot, std::nullopt));
  EXPECT_EQ(Hear(Receive(slot, true)).kind, Kind::kWithdrawn);
  EXPECT_TRUE(protocol_.Receive(slot, std::nullopt));
}

TEST_F(ProtocolTest, RequestThatCrossesAWithdrawalIsServed) {
  Welcome();
  const uint16_t slot = Joined(1);
  protocol_.Receive(slot, std::nullopt);
  protocol_.Withdraw(slot);
  const Event event = Hear(Start(flag::kRequest | flag::kFin | flag::kIdempotent, slot, Id(5), "b", 40));
  EXPECT_EQ(event.kind, Kind::kRequest);
  EXPECT_TRUE(event.is_idempotent);
  EXPECT_EQ(event.remaining, absl::Milliseconds(40));
  EXPECT_EQ(Hear(Receive(slot, true)).kind, Kind::kWithdrawn);
  EXPECT_TRUE(protocol_.IsLive(slot, Id(5)));
}

TEST_F(ProtocolTest, NobodyGoesOnWaitingBeforeTheEchoOfAWithdrawal) {
  for (const bool in_one_frame : {true, false}) {
    for (const bool by_end : {true, false}) {
      if (in_one_frame && by_end) continue;
      Protocol protocol("test", absl::UnixEpoch());
      std::string bytes = Message(FrameType::kWelcome, 0, proto::kNilUuid, Limits());
      std::span<uint8_t> welcome(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size());
      ASSERT_EQ(protocol.Next(welcome).kind, Kind::kWelcome);
      const uint16_t slot = protocol.Join(Id(1), Id(200), "channel", "key");
      protocol.Receive(slot, std::nullopt);
      protocol.Withdraw(slot);
      std::string request = Start(flag::kRequest | flag::kFin, slot, Id(5), "");
      std::span<uint8_t> input(reinterpret_cast<uint8_t*>(request.data()), request.size());
      ASSERT_EQ(protocol.Next(input).kind, Kind::kRequest);
      std::string output;
      protocol.TakeOutput(output, now_);
      if (in_one_frame) {
        protocol.Respond(slot, Id(5), {}, "done", true, true);
      } else {
        protocol.Respond(slot, Id(5), {}, "", false, true);
        if (by_end) protocol.End(slot, Id(5), {}, true);
        if (!by_end) protocol.Write(slot, Id(5), "done", true, true);
      }
      output.clear();
      protocol.TakeOutput(output, now_);
      while (!output.empty()) {
        EXPECT_FALSE(View(output).has(flag::kReceive));
        output.erase(0, proto::kHeaderBytes + proto::LoadBig<uint32_t>(output.data()));
      }
      EXPECT_FALSE(protocol.IsLive(slot, Id(5)));
      EXPECT_FALSE(protocol.IsWaiting(slot));
      EXPECT_FALSE(protocol.Receive(slot, std::nullopt)) << "the echo has not come";
      std::string echo = Receive(slot, true);
      input = std::span<uint8_t>(reinterpret_cast<uint8_t*>(echo.data()), echo.size());
      EXPECT_EQ(protocol.Next(input).kind, Kind::kWithdrawn);
      EXPECT_TRUE(protocol.Receive(slot, std::nullopt));
    }
  }
}

TEST_F(ProtocolTest, SenderDoesNotGoOnWaiting) {
  const uint16_t slot = Sending();
  EXPECT_EQ(protocol_.Write(slot, Id(5), "rest", true, true), 4u);
  auto frames = Frames();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(View(frames[0]).flags(), flag::kRequest | flag::kFin);
}

TEST_F(ProtocolTest, SlotIsBoundAgainOnlyBehindTheEcho) {
  Welcome();
  const uint16_t first = Joined(1);
  const uint16_t second = Joined(2);
  EXPECT_EQ(Joined(3), 0) << "WELCOME allows two";
  protocol_.Leave(first);
  const uint16_t third = Joined(3);  // who leaves counts no more, but its slot is not free
  EXPECT_NE(third, 0);
  EXPECT_NE(third, first);
  EXPECT_EQ(Joined(4), 0);
  EXPECT_EQ(Hear(Frame(FrameType::kLeave, 0, first, Id(1))).kind, Kind::kLeft);
  EXPECT_EQ(Joined(4), 0);
  protocol_.Leave(third);
  EXPECT_EQ(Joined(4), first);
  // The server's own LEAVE says why; its later echo of ours finds another client.
  v1::Status taken_over;
  taken_over.set_code(10);
  const Event event = Hear(Message(FrameType::kLeave, second, Id(2), taken_over));
  EXPECT_EQ(event.kind, Kind::kLeft);
  EXPECT_EQ(event.status.code(), StatusCode::kAborted);
  EXPECT_EQ(Hear(Frame(FrameType::kLeave, 0, second, Id(2))).kind, Kind::kNone);
}

// Of a server with several cores, of which one hears later than another that they drain.
TEST_F(ProtocolTest, ExtendAsksAndItsAnswerSaysWhatRemains) {
  const uint16_t slot = Serving();
  protocol_.Extend(slot, Id(5), absl::Milliseconds(258));
  protocol_.Extend(slot, Id(6), absl::Milliseconds(1));  // not live
  const std::string expected(
      "\x00\x00\x00\x04"                  // payload bytes
      "\x0e\x00\x00\x01"                  // EXTEND, no flags, slot 1
      "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\5"  // request
      "\x00\x00\x01\x02",
      24 + 4);
  EXPECT_EQ(Output(), expected);
  Event event = Hear(Frame(FrameType::kExtend, 0, slot, Id(5), std::string_view("\x00\x00\x01\x00", 4)));
  EXPECT_EQ(event.kind, Kind::kExtended);
  EXPECT_EQ(event.remaining, absl::Milliseconds(256));
  event = Hear(Frame(FrameType::kExtend, 0, slot, Id(5), std::string_view("\0\0\0\0", 4)));
  EXPECT_EQ(event.kind, Kind::kExtended);
  EXPECT_FALSE(event.remaining.has_value());
  EXPECT_EQ(Hear(Frame(FrameType::kExtend, 0, slot, Id(6), "\1\1\1\1")).kind, Kind::kNone);
  EXPECT_EQ(protocol_.late_frames(), 1u);
  EXPECT_EQ(Hear(Frame(FrameType::kExtend, 0, slot, Id(5), "\1\1\1")).kind, Kind::kFault);
}

TEST_F(ProtocolTest, SenderSaysHowFarItsTimeoutMayBeMovedAndAsksForNothing) {
  Welcome();
  const uint16_t slot = Joined(1);
  RequestStart start;
  start.timeout = absl::Milliseconds(100);
  start.max_extension = absl::Milliseconds(258);
  ASSERT_TRUE(protocol_.Start(slot, Id(5), start, "", true).has_value());
  auto frames = Frames();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(proto::StartBlock(View(frames[0]).payload()).max_extension_ms(), 258u);
  protocol_.Extend(slot, Id(5), absl::Milliseconds(1));
  EXPECT_EQ(Output(), "");
}

TEST_F(ProtocolTest, SaysPingAfterAnIntervalOfSilence) {
  Welcome();
  now_ += absl::Milliseconds(999);
  EXPECT_TRUE(protocol_.OnTime(now_));
  EXPECT_EQ(Output(), "");
  EXPECT_EQ(protocol_.next_time(), absl::UnixEpoch() + absl::Seconds(1));
  now_ += absl::Milliseconds(1);
  EXPECT_TRUE(protocol_.OnTime(now_));
  auto frames = Frames();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(View(frames[0]).type(), FrameType::kPing);
}

TEST_F(ProtocolTest, ServerIsDeadOnlyWhenReadingWasPossibleSinceItsTimeHadPassed) {
  Welcome();
  now_ += absl::Seconds(60);  // this process was stopped, say
  EXPECT_TRUE(protocol_.OnTime(now_));
  EXPECT_LE(protocol_.next_time(), now_);
  protocol_.OnRead(now_);  // and what had come meanwhile is read
  EXPECT_TRUE(protocol_.OnTime(now_));
  now_ += absl::Seconds(3);
  EXPECT_TRUE(protocol_.OnTime(now_));
  EXPECT_FALSE(protocol_.OnTime(now_));
}

}  // namespace
}  // namespace relay::client

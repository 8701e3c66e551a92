// What a server may say and may not, and what becomes of it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <span>
#include <string>
#include <vector>

#include "client/protocol_fixture.h"

namespace relay::client {
namespace {

TEST_F(ProtocolTest, ServerThatOverrunsItsWindowIsAtFault) {
  const uint16_t slot = Sending();
  std::string all = Start(flag::kResponse, slot, Id(5), "");
  const std::string chunk(65536, 'b');
  all += Frame(FrameType::kChunk, flag::kResponse, slot, Id(5), chunk);
  std::span<uint8_t> input(reinterpret_cast<uint8_t*>(all.data()), all.size());
  EXPECT_EQ(protocol_.Next(input).kind, Kind::kResponse);
  EXPECT_EQ(protocol_.Next(input).kind, Kind::kBody);
  EXPECT_EQ(Hear(Frame(FrameType::kChunk, flag::kResponse, slot, Id(5), chunk)).kind, Kind::kFault);
  auto frames = Frames();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(View(frames[0]).type(), FrameType::kGoaway);
}

TEST_F(ProtocolTest, ResetOfAnEndedRequestLeavesTheNextOneAlone) {
  const uint16_t slot = Sending();
  protocol_.Reset(slot, Id(5), CancelledError("no"), false);
  protocol_.Start(slot, Id(6), {}, "x", false);
  EXPECT_EQ(Hear(Reset(slot, Id(5), StatusCode::kDeadlineExceeded)).kind, Kind::kNone);
  const Event event = Hear(Reset(slot, Id(6), StatusCode::kResourceExhausted));
  EXPECT_EQ(event.kind, Kind::kReset);
  EXPECT_EQ(event.status.code(), StatusCode::kResourceExhausted);
}

TEST_F(ProtocolTest, EndDoesNotSpeakForTheServer) {
  const uint16_t slot = Sending();
  std::string bytes = Start(flag::kResponse, slot, Id(5), "");
  v1::End end;
  end.mutable_status()->set_code(9);
  end.mutable_status()->set_end("queue_full");
  end.mutable_status()->set_may_have_run(true);
  bytes += Frame(FrameType::kEnd, flag::kResponse, slot, Id(5), end.SerializeAsString());
  std::span<uint8_t> input(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size());
  EXPECT_EQ(protocol_.Next(input).kind, Kind::kResponse);
  const Event event = protocol_.Next(input);
  EXPECT_EQ(event.kind, Kind::kEnd);
  EXPECT_EQ(event.status.code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(event.status.end(), "");
  EXPECT_FALSE(event.status.may_have_run());
}

TEST_F(ProtocolTest, UnreadableHeadOfARequestIsResetAndTheSlotIsIdle) {
  Welcome();
  const uint16_t slot = Joined(1);
  protocol_.Receive(slot, std::nullopt);
  Output();
  std::string payload(proto::kStartBlockBytes, '\0');
  payload[27] = 1;    // one byte of Start,
  payload += "\x0a";  // which is a field without its value
  EXPECT_EQ(Hear(Frame(FrameType::kStart, flag::kRequest, slot, Id(5), payload)).kind, Kind::kDiscarded);
  auto frames = Frames();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(View(frames[0]).type(), FrameType::kReset);
  EXPECT_TRUE(protocol_.Receive(slot, std::nullopt));
}

TEST_F(ProtocolTest, RequestWhoseResponseCannotBeReadMayHaveRun) {
  std::string unreadable(proto::kStartBlockBytes, '\0');
  unreadable[27] = 1;
  unreadable += "\x0a";
  const uint16_t slot = Sending();
  const Event head = Hear(Frame(FrameType::kStart, flag::kResponse, slot, Id(5), unreadable));
  EXPECT_EQ(head.kind, Kind::kReset);
  EXPECT_TRUE(head.status.may_have_run());

  protocol_.Start(slot, Id(6), {}, "", true);
  Hear(Start(flag::kResponse, slot, Id(6), ""));
  const Event end = Hear(Frame(FrameType::kEnd, flag::kResponse, slot, Id(6), "\x0a"));
  EXPECT_EQ(end.kind, Kind::kReset);
  EXPECT_TRUE(end.status.may_have_run());
}

TEST_F(ProtocolTest, SameEventsHoweverTheBytesAreSplit) {
  const uint16_t slot = Sending();
  std::string bytes = Start(flag::kResponse, slot, Id(5), "ab") +
                      Frame(FrameType::kPing, 0, 0, proto::kNilUuid, "12345678") +
                      Frame(FrameType::kChunk, flag::kResponse, slot, Id(5), "cd") +
                      Frame(FrameType::kEnd, flag::kResponse, slot, Id(5));
  std::string body;
  std::vector<Kind> kinds;
  size_t from = 0;
  for (size_t to = 1; to <= bytes.size(); ++to) {
    std::span<uint8_t> input(reinterpret_cast<uint8_t*>(bytes.data()) + from, to - from);
    while (true) {
      const Event event = protocol_.Next(input);
      if (event.kind == Kind::kNone) break;
      kinds.push_back(event.kind);
      body += event.body;
    }
    from = to - input.size();
  }
  EXPECT_EQ(body, "abcd");
  EXPECT_THAT(kinds, ::testing::ElementsAre(Kind::kResponse, Kind::kBody, Kind::kEnd));
  EXPECT_EQ(Output(), Frame(FrameType::kPong, 0, 0, proto::kNilUuid, "12345678"));
}

TEST_F(ProtocolTest, UnknownTypesAreDroppedAndCounted) {
  Welcome();
  EXPECT_EQ(Hear(Frame(static_cast<FrameType>(99), 0xff, 7, Id(1), "whatever")).kind, Kind::kNone);
  EXPECT_EQ(protocol_.unknown_frames(), 1u);
}

TEST_F(ProtocolTest, GoawayBeforeWelcomeIsARefusal) {
  v1::Status status;
  status.set_code(8);
  status.set_message("too many connections");
  const Event event = Hear(Message(FrameType::kGoaway, 0, proto::kNilUuid, status));
  EXPECT_EQ(event.kind, Kind::kGoaway);
  EXPECT_EQ(event.status.code(), StatusCode::kResourceExhausted);
  EXPECT_FALSE(protocol_.is_welcome());
}

TEST_F(ProtocolTest, WhatAServerMayNotSayIsAFault) {
  const std::string welcome = Message(FrameType::kWelcome, 0, proto::kNilUuid, Limits());
  v1::Welcome small = Limits();
  small.set_initial_window_bytes(proto::kSmallestWindowBytes - 1);
  const std::vector<std::string> faults = {
      Frame(FrameType::kPing, 0, 0, proto::kNilUuid, "12345678"),  // before WELCOME
      Message(FrameType::kWelcome, 0, proto::kNilUuid, small),
      welcome + welcome,
      welcome + Frame(FrameType::kHello, 0, 0, proto::kNilUuid),
      welcome + Frame(FrameType::kPing, 0, 0, proto::kNilUuid, "short"),
      welcome + Frame(FrameType::kPing, flag::kFin, 0, proto::kNilUuid, "12345678"),
      welcome + Frame(FrameType::kGoaway, 0, 0, proto::kNilUuid, "\xff"),
      welcome + Frame(FrameType::kStart, flag::kResponse, 1, Id(5), "short"),
      welcome + Start(flag::kRequest, 1, Id(5), ""),  // on a slot that does not wait
      welcome + Receive(1, false),
      welcome + Frame(FrameType::kChunk, flag::kResponse, 1, Id(5), std::string(65537, 'x')),
  };
  for (size_t i = 0; i < faults.size(); ++i) {
    Protocol protocol("test", absl::UnixEpoch());
    protocol.Join(Id(1), Id(200), "", "");
    std::string bytes = faults[i];
    std::span<uint8_t> input(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size());
    Event event = protocol.Next(input);
    if (event.kind == Kind::kWelcome) event = protocol.Next(input);
    EXPECT_EQ(event.kind, Kind::kFault) << "fault " << i;
    EXPECT_EQ(protocol.Next(input).kind, Kind::kNone);
    EXPECT_TRUE(input.empty());
  }
}

}  // namespace
}  // namespace relay::client

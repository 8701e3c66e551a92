#include "client/protocol.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <span>
#include <string>
#include <vector>

#include "proto/endian.h"
#include "proto/frame.h"
#include "proto/messages.h"
#include "proto/start_block.h"

namespace relay::client {
namespace {

using proto::FrameType;
using Kind = Event::Kind;
namespace flag = proto::flag;

constexpr uint64_t kWindow = 128 * 1024;

proto::Uuid Id(uint8_t last) {
  proto::Uuid id = proto::kNilUuid;
  id.data[15] = last;
  return id;
}

// What the server writes: frames as the spec has them.
std::string Frame(FrameType type, uint8_t flags, uint16_t slot, const proto::Uuid& id, std::string_view payload = {}) {
  std::string bytes;
  proto::AppendFrame(bytes, type, flags, slot, id, payload);
  return bytes;
}

std::string Message(FrameType type, uint16_t slot, const proto::Uuid& id,
                    const google::protobuf::MessageLite& message) {
  return Frame(type, 0, slot, id, message.SerializeAsString());
}

v1::Welcome Limits() {
  v1::Welcome welcome;
  welcome.set_max_payload_bytes(64 * 1024);
  welcome.set_initial_window_bytes(kWindow);
  welcome.set_max_window_bytes(1 << 20);
  welcome.set_max_clients_per_connection(2);
  welcome.set_max_start_bytes(4096);
  welcome.set_heartbeat_interval_ms(1000);
  welcome.set_heartbeat_misses(3);
  welcome.set_max_attempts(3);
  return welcome;
}

std::string Start(uint8_t flags, uint16_t slot, const proto::Uuid& id, std::string_view body, uint32_t timeout_ms = 0) {
  std::string payload(proto::kStartBlockBytes, '\0');
  proto::StartBlock block(std::span(reinterpret_cast<uint8_t*>(payload.data()), payload.size()));
  block.set_other_client(Id(77));
  block.set_timeout_ms(timeout_ms);
  block.set_queue_wait_us(1500);
  block.set_attempt(1);
  v1::Start head;
  head.set_method("m");
  block.set_start_bytes(static_cast<uint16_t>(head.ByteSizeLong()));
  return Frame(FrameType::kStart, flags, slot, id, payload + head.SerializeAsString() + std::string(body));
}

std::string Window(uint8_t flags, uint16_t slot, const proto::Uuid& id, uint64_t limit) {
  std::string payload(8, '\0');
  proto::StoreBig(payload.data(), limit);
  return Frame(FrameType::kWindow, flags, slot, id, payload);
}

std::string Receive(uint16_t slot, bool withdraw) {
  v1::Receive receive;
  receive.set_withdraw(withdraw);
  return Message(FrameType::kReceive, slot, proto::kNilUuid, receive);
}

std::string Reset(uint16_t slot, const proto::Uuid& id, StatusCode code) {
  v1::Reset reset;
  reset.mutable_status()->set_code(static_cast<uint32_t>(code));
  return Message(FrameType::kReset, slot, id, reset);
}

class ProtocolTest : public ::testing::Test {
 protected:
  ProtocolTest() { Output(); }

  // What was said since the last call, and the frames of it.
  std::string Output() {
    std::string output;
    protocol_.TakeOutput(output, now_);
    return output;
  }
  std::vector<std::string> Frames() {
    std::string output = Output();
    std::vector<std::string> frames;
    while (!output.empty()) {
      const size_t bytes = proto::kHeaderBytes + proto::LoadBig<uint32_t>(output.data());
      frames.push_back(output.substr(0, bytes));
      output.erase(0, bytes);
    }
    return frames;
  }
  static proto::Frame View(std::string& bytes) {
    return proto::Frame(std::span(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()));
  }

  // The first event of `bytes`, which must be the only one.
  Event Hear(std::string bytes) {
    heard_ = std::move(bytes);
    std::span<uint8_t> input(reinterpret_cast<uint8_t*>(heard_.data()), heard_.size());
    Event event = protocol_.Next(input);
    if (event.kind != Kind::kFault) {
      EXPECT_EQ(protocol_.Next(input).kind, Kind::kNone);
    }
    EXPECT_TRUE(input.empty());
    return event;
  }

  void Welcome() { ASSERT_EQ(Hear(Message(FrameType::kWelcome, 0, proto::kNilUuid, Limits())).kind, Kind::kWelcome); }
  uint16_t Joined(uint8_t client) {
    const uint16_t slot = protocol_.Join(Id(client), Id(200), "channel", "key");
    Output();
    return slot;
  }
  // A slot that serves request 5.
  uint16_t Serving() {
    Welcome();
    const uint16_t slot = Joined(1);
    EXPECT_TRUE(protocol_.Receive(slot, std::nullopt));
    EXPECT_EQ(Hear(Start(flag::kRequest | flag::kFin, slot, Id(5), "")).kind, Kind::kRequest);
    Output();
    return slot;
  }
  // A slot that sends request 5, which is open.
  uint16_t Sending() {
    Welcome();
    const uint16_t slot = Joined(1);
    EXPECT_TRUE(protocol_.Start(slot, Id(5), {}, "x", false).has_value());
    Output();
    return slot;
  }

  absl::Time now_ = absl::UnixEpoch();
  Protocol protocol_{"test", absl::UnixEpoch()};
  std::string heard_;
};

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

// Of a server with several cores, of which one hears later than another that they drain.
TEST_F(ProtocolTest, WhatWasUnderWayAtGoawayIsGivenBack) {
  Welcome();
  const uint16_t slot = Joined(1);
  EXPECT_TRUE(protocol_.Receive(slot, std::nullopt));
  EXPECT_EQ(Hear(Message(FrameType::kGoaway, 0, proto::kNilUuid, v1::Status())).kind, Kind::kGoaway);
  Output();
  EXPECT_EQ(Hear(Receive(slot, false)).kind, Kind::kNone);
  EXPECT_EQ(Hear(Start(flag::kRequest, slot, Id(5), "late")).kind, Kind::kNone);
  auto frames = Frames();
  ASSERT_EQ(frames.size(), 1u);
  v1::Reset reset;
  EXPECT_EQ(View(frames[0]).type(), FrameType::kReset);
  EXPECT_TRUE(proto::ParseMessage(View(frames[0]).payload_text(), reset));
  EXPECT_TRUE(reset.requeue());
  EXPECT_EQ(Hear(Frame(FrameType::kChunk, flag::kRequest, slot, Id(5), "later")).kind, Kind::kNone);
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

#include "proto/messages.h"

#include <gtest/gtest.h>

#include <string>

namespace relay::proto {
namespace {

TEST(Messages, AreFramedAsTheProtocolSays) {
  v1::Receive receive;
  receive.set_wait_ms(300);
  std::string out = "before";
  AppendMessage(out, FrameType::kReceive, 0, 9, kNilUuid, receive);
  const std::string expected(
      "before"
      "\x00\x00\x00\x03"  // 3 bytes of payload
      "\x05\x00\x00\x09"  // RECEIVE, no flags, slot 9
      "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
      "\x08\xac\x02",  // field 1, varint 300
      6 + 24 + 3);
  EXPECT_EQ(out, expected);
}

TEST(Messages, ReceiveTellsAWaitOfNothingFromNoWait) {
  v1::Receive receive;
  ASSERT_TRUE(ParseMessage("", receive));
  EXPECT_FALSE(receive.has_wait_ms());
  ASSERT_TRUE(ParseMessage(std::string_view("\x08\x00", 2), receive));
  EXPECT_TRUE(receive.has_wait_ms());
  EXPECT_EQ(receive.wait_ms(), 0u);
}

TEST(Messages, ThatDoNotParseAreRefused) {
  SilenceProtobuf();
  v1::Hello hello;
  EXPECT_TRUE(ParseMessage("", hello));
  EXPECT_FALSE(ParseMessage("\xff", hello));
  EXPECT_FALSE(
      ParseMessage("\x12\x05"
                   "ab",
                   hello));                               // agent of 5 bytes, 2 are there
  EXPECT_FALSE(ParseMessage("\x12\x02\xc3\x28", hello));  // agent that is not UTF-8
  EXPECT_TRUE(ParseMessage("\x12\x02\xc3\xb6", hello));   // and one that is
  EXPECT_TRUE(ParseMessage("\x7a\x02zz", hello));         // field 15, which this version does not know
}

TEST(Messages, NumbersAreThoseOfTheProtocol) {
  v1::Welcome welcome;
  welcome.set_server_id("S");
  welcome.set_agent("A");
  welcome.set_max_payload_bytes(3);
  welcome.set_initial_window_bytes(4);
  welcome.set_max_window_bytes(5);
  welcome.set_max_clients_per_connection(6);
  welcome.set_max_start_bytes(7);
  welcome.set_heartbeat_interval_ms(8);
  welcome.set_heartbeat_misses(9);
  welcome.set_max_attempts(10);
  EXPECT_EQ(welcome.SerializeAsString(),
            "\x0a\x01S\x12\x01"
            "A\x18\x03\x20\x04\x28\x05\x30\x06\x38\x07\x40\x08\x48\x09\x50\x0a");
  v1::Join join;
  join.set_client_id("c");
  join.set_channel_id("d");
  join.set_channel_name("e");
  join.set_key("f");
  EXPECT_EQ(join.SerializeAsString(),
            "\x0a\x01"
            "c\x12\x01"
            "d\x1a\x01"
            "e\x22\x01"
            "f");
  v1::Reset reset;
  reset.mutable_status()->set_code(14);
  reset.mutable_status()->set_message("m");
  reset.mutable_status()->set_end("e");
  reset.mutable_status()->set_may_have_run(true);
  reset.mutable_status()->set_retry_after_ms(5);
  reset.set_requeue(true);
  EXPECT_EQ(reset.SerializeAsString(),
            "\x0a\x0c\x08\x0e\x12\x01m\x1a\x01"
            "e\x20\x01\x28\x05\x10\x01");
}

TEST(Messages, CodesFromTheWireAreCanonicalOrUnknown) {
  EXPECT_EQ(CodeFromWire(0), absl::StatusCode::kOk);
  EXPECT_EQ(CodeFromWire(4), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(CodeFromWire(16), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(CodeFromWire(17), absl::StatusCode::kUnknown);
  EXPECT_EQ(CodeFromWire(0xffffffff), absl::StatusCode::kUnknown);
}

}  // namespace
}  // namespace relay::proto

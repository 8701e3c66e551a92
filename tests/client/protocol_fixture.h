// What the tests of Protocol share: one that has a server's frames to hear, clock in hand.

#ifndef RELAY_TESTS_CLIENT_PROTOCOL_FIXTURE_H_
#define RELAY_TESTS_CLIENT_PROTOCOL_FIXTURE_H_

#include <gtest/gtest.h>

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "client/protocol.h"
#include "proto/endian.h"
#include "proto/frame.h"
#include "proto/messages.h"
#include "proto/start_block.h"

namespace relay::client {

using proto::FrameType;
namespace flag = proto::flag;

class ProtocolTest : public ::testing::Test {
 protected:
  using Kind = Event::Kind;

  static constexpr uint64_t kWindow = 128 * 1024;

  static proto::Uuid Id(uint8_t last) {
    proto::Uuid id = proto::kNilUuid;
    id.data[15] = last;
    return id;
  }

  // What the server writes: frames as the spec has them.
  static std::string Frame(FrameType type, uint8_t flags, uint16_t slot, const proto::Uuid& id,
                           std::string_view payload = {}) {
    std::string bytes;
    proto::AppendFrame(bytes, type, flags, slot, id, payload);
    return bytes;
  }

  static std::string Message(FrameType type, uint16_t slot, const proto::Uuid& id,
                             const google::protobuf::MessageLite& message) {
    return Frame(type, 0, slot, id, message.SerializeAsString());
  }

  static v1::Welcome Limits() {
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

  static std::string Start(uint8_t flags, uint16_t slot, const proto::Uuid& id, std::string_view body,
                           uint32_t timeout_ms = 0) {
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

  static std::string Window(uint8_t flags, uint16_t slot, const proto::Uuid& id, uint64_t limit) {
    std::string payload(8, '\0');
    proto::StoreBig(payload.data(), limit);
    return Frame(FrameType::kWindow, flags, slot, id, payload);
  }

  static std::string Receive(uint16_t slot, bool withdraw) {
    v1::Receive receive;
    receive.set_withdraw(withdraw);
    return Message(FrameType::kReceive, slot, proto::kNilUuid, receive);
  }

  static std::string Reset(uint16_t slot, const proto::Uuid& id, StatusCode code) {
    v1::Reset reset;
    reset.mutable_status()->set_code(static_cast<uint32_t>(code));
    return Message(FrameType::kReset, slot, id, reset);
  }

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

}  // namespace relay::client

#endif  // RELAY_TESTS_CLIENT_PROTOCOL_FIXTURE_H_

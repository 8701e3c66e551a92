// A Roster and its sessions, without I/O and clock in hand: what the server hears and says is the test's.

#ifndef RELAY_TESTS_CLIENT_ROSTER_FIXTURE_H_
#define RELAY_TESTS_CLIENT_ROSTER_FIXTURE_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "client/operation.h"
#include "client/protocol.h"
#include "client/roster.h"
#include "client/wire.h"
#include "proto/endian.h"
#include "proto/messages.h"
#include "proto/start_block.h"

namespace relay::client {

using proto::FrameType;
namespace flag = proto::flag;

inline constexpr absl::Duration kWaitForConnection = absl::Seconds(10);
inline constexpr absl::Duration kReconnectMin = absl::Milliseconds(100);
inline constexpr absl::Duration kReconnectMax = absl::Seconds(5);

inline Status Lost() { return UnavailableError("the connection was lost").set_end(kConnectionLost); }

struct SentFrame {
  FrameType type;
  uint8_t flags;
  uint16_t slot;
  proto::Uuid id;
  std::string payload;

  std::string body() const {
    std::string bytes = payload;
    const proto::StartBlock block = Block(bytes);
    return bytes.substr(proto::kStartBlockBytes + block.start_bytes());
  }
  uint32_t max_extension_ms() const {
    std::string bytes = payload;
    return Block(bytes).max_extension_ms();
  }
  uint32_t timeout_ms() const {
    std::string bytes = payload;
    return Block(bytes).timeout_ms();
  }
  static proto::StartBlock Block(std::string& bytes) {
    return proto::StartBlock(std::span(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()));
  }
};

// Leaves how it has ended.
class Told : public Operation {
 public:
  Told(OperationSpec spec, std::shared_ptr<Participant> participant, std::vector<Status>& ends)
      : Operation(std::move(spec), std::move(participant)), ends_(ends) {
    OweDone();
  }

 private:
  void OnDone() override { ends_.push_back(status()); }

  std::vector<Status>& ends_;
};

class RosterTest : public ::testing::Test {
 protected:
  RosterTest() { participant_->id = Uuid::New(); }
  // What still runs holds its client, which holds it.
  ~RosterTest() override { roster_.Close(CancelledError("the test is over")); }

  void Connect() {
    session_ = std::make_unique<Session>("test", now_);
    v1::Welcome welcome;
    welcome.set_max_payload_bytes(128 * 1024);
    welcome.set_initial_window_bytes(256 * 1024);
    welcome.set_max_window_bytes(1 << 20);
    welcome.set_max_clients_per_connection(10);
    welcome.set_max_start_bytes(4096);
    welcome.set_heartbeat_interval_ms(1000);
    welcome.set_heartbeat_misses(3);
    welcome.set_max_attempts(3);
    Output();
    Hear(FrameType::kWelcome, 0, 0, proto::kNilUuid, welcome.SerializeAsString());
    roster_.OnConnected(*session_, now_);
  }

  // The connection is lost when the system had taken all of its output, or so much.
  void Lose(std::optional<uint64_t> sent_bytes = std::nullopt) {
    if (!sent_bytes.has_value()) Output();
    roster_.OnLost(*session_, Lost(), sent_bytes.value_or(session_->protocol.taken_bytes()), now_);
    session_.reset();
  }

  std::shared_ptr<Operation> Send(std::string body, bool idempotent = true,
                                  std::optional<absl::Duration> timeout = std::nullopt) {
    auto operation = Make(idempotent, timeout);
    EXPECT_EQ(operation->Finish(std::move(body)), OkStatus());
    roster_.Submit(operation, now_);
    return operation;
  }
  std::shared_ptr<Operation> Make(bool idempotent, std::optional<absl::Duration> timeout = std::nullopt,
                                  absl::Duration max_extension = absl::ZeroDuration()) {
    OperationSpec spec;
    spec.max_extension = max_extension;
    spec.name = "Send";
    spec.limit = timeout;
    spec.start.is_idempotent = idempotent;
    return std::make_shared<Told>(std::move(spec), participant_, ends_);
  }

  std::vector<SentFrame> Output() { return Output(*session_); }
  std::vector<SentFrame> Output(Session& session) {
    std::string output;
    session.protocol.TakeOutput(output, now_);
    std::vector<SentFrame> frames;
    if (output.starts_with(proto::kPreface)) output.erase(0, proto::kPreface.size());
    while (!output.empty()) {
      const size_t bytes = proto::kHeaderBytes + proto::LoadBig<uint32_t>(output.data());
      const proto::Frame frame(std::span(reinterpret_cast<uint8_t*>(output.data()), bytes));
      frames.push_back({frame.type(), frame.flags(), frame.slot(), frame.id(), std::string(frame.payload_text())});
      output.erase(0, bytes);
    }
    return frames;
  }
  // The START that was said since the last Output.
  std::optional<SentFrame> Start() {
    for (SentFrame& frame : Output()) {
      if (frame.type == FrameType::kStart) return std::move(frame);
    }
    return std::nullopt;
  }

  void Hear(FrameType type, uint8_t flags, uint16_t slot, const proto::Uuid& id, std::string_view payload) {
    Hear(*session_, type, flags, slot, id, payload);
  }
  void Hear(Session& session, FrameType type, uint8_t flags, uint16_t slot, const proto::Uuid& id,
            std::string_view payload) {
    std::string bytes;
    proto::AppendFrame(bytes, type, flags, slot, id, payload);
    std::span<uint8_t> input(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size());
    const Event event = session.protocol.Next(input);
    if (event.kind == Event::Kind::kWelcome) return;
    if (event.kind == Event::Kind::kGoaway) return roster_.OnGoaway(session, now_);
    roster_.OnEvent(session, event, now_);
  }
  void HearReset(const SentFrame& start, const Status& status) { HearReset(*session_, start, status); }
  void HearReset(Session& session, const SentFrame& start, const Status& status) {
    v1::Reset reset;
    ToWireWithEnd(status, *reset.mutable_status());
    Hear(session, FrameType::kReset, 0, start.slot, start.id, reset.SerializeAsString());
  }
  void HearResponse(const SentFrame& start, uint8_t flags) { HearResponse(*session_, start, flags); }
  void HearResponse(Session& session, const SentFrame& start, uint8_t flags) {
    std::string payload(proto::kStartBlockBytes, '\0');
    Hear(session, FrameType::kStart, static_cast<uint8_t>(flag::kResponse | flags), start.slot, start.id, payload);
  }
  static void ToWireWithEnd(const Status& status, v1::Status& wire) {
    wire.set_code(static_cast<uint32_t>(status.code()));
    wire.set_message(status.message());
    wire.set_end(status.end());
    wire.set_may_have_run(status.may_have_run());
    wire.set_retry_after_ms(static_cast<uint32_t>(status.retry_after().count()));
  }

  void Pass(absl::Duration duration) {
    now_ += duration;
    roster_.OnTime(now_);
  }
  bool has_ended() const { return !ends_.empty(); }
  const Status& end() const { return ends_.front(); }

  absl::Time now_ = absl::UnixEpoch() + absl::Hours(1);
  Roster roster_{kWaitForConnection, kReconnectMin, kReconnectMax};
  std::unique_ptr<Session> session_;
  std::shared_ptr<Participant> participant_ = std::make_shared<Participant>();
  std::vector<Status> ends_;
};

inline Status Unavailable(std::string_view end, bool may_have_run) {
  return UnavailableError("").set_end(end).set_may_have_run(may_have_run);
}

}  // namespace relay::client

#endif  // RELAY_TESTS_CLIENT_ROSTER_FIXTURE_H_

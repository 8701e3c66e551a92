// What the decoder says of bytes that a test makes, as words: a frame's name, '~' before one that is late, and behind
// it the rule that it breaks.

#ifndef RELAY_TESTS_TOOLS_INSPECT_TOLD_H_
#define RELAY_TESTS_TOOLS_INSPECT_TOLD_H_

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "driver.h"
#include "tools/inspect/decoder.h"
#include "tools/inspect/words.h"

namespace relay::inspect {

// One connection, both directions, in order, until another one is opened. Thread-compatible.
class Told : public Sink {
 public:
  explicit Told(bool resync = false, bool from_start = true, bool in_order = true) : decoder_(*this, resync) {
    Open(1, from_start, in_order);
  }

  // What follows is of this connection.
  void Open(ConnectionId connection, bool from_start = true, bool in_order = true) {
    Opening opening;
    opening.connection = connection_ = connection;
    opening.from_start = from_start;
    opening.in_order = in_order;
    opening.at = at_;
    decoder_.OnOpen(opening);
  }
  void Return(ConnectionId connection) { connection_ = connection; }

  void Up(std::string_view bytes) { Tell(Direction::kToServer, bytes); }
  void Down(std::string_view bytes) { Tell(Direction::kToClient, bytes); }
  void Gap(Direction direction, uint64_t bytes) { decoder_.OnGap(connection_, direction, at_, bytes); }
  // A frame of which no more than the header was captured.
  void Cut(Direction direction, std::string_view frame) {
    Tell(direction, frame.substr(0, proto::kHeaderBytes));
    Gap(direction, frame.size() - proto::kHeaderBytes);
  }
  void Close(Direction direction) { decoder_.OnClose(connection_, direction, at_); }
  void EndAll() { EXPECT_TRUE(decoder_.Finish().ok()); }
  void Lose(uint64_t frames) { decoder_.OnLost(frames, at_); }

  // Said since the last call.
  std::vector<std::string> Take() { return std::move(words_); }
  const Totals& totals() const { return decoder_.totals(); }
  // Of the last frame that had any.
  const Credit& credit() const { return credit_; }
  // Of the last frame.
  const std::string& channel_name() const { return channel_name_; }
  const std::vector<Exchange>& exchanges() const { return exchanges_; }

  void OnFrame(const SeenFrame& frame) override {
    std::string words = absl::StrCat(frame.is_late ? "~" : "", TypeName(frame));
    if (frame.rule != Rule::kNone) absl::StrAppend(&words, " !", std::string(InfoOf(frame.rule).name));
    words_.push_back(words);
    channel_name_ = frame.channel_name;
    if (frame.credit.has_value()) credit_ = *frame.credit;
  }
  void OnPreface(const Place&) override { words_.push_back("preface"); }
  void OnDamage(const Place&, const Damage& damage) override {
    words_.push_back(absl::StrCat("damage@", damage.offset, " !", std::string(InfoOf(damage.rule).name)));
  }
  void OnSkipped(const Place&, const Skipped& skipped) override {
    words_.push_back(absl::StrCat("skipped ", skipped.offset, "+", skipped.bytes));
  }
  void OnGap(const Place&, uint64_t offset, uint64_t bytes) override {
    words_.push_back(absl::StrCat("gap ", offset, "+", bytes));
  }
  void OnExchange(const Exchange& exchange) override { exchanges_.push_back(exchange); }

 private:
  void Tell(Direction direction, std::string_view bytes) {
    at_ += absl::Milliseconds(1);
    const auto* const data = reinterpret_cast<const uint8_t*>(bytes.data());
    decoder_.OnBytes({connection_, direction, at_, std::span(data, bytes.size())});
  }

  ConnectionId connection_ = 1;
  absl::Time at_ = absl::UnixEpoch() + absl::Hours(1);
  std::vector<std::string> words_;
  Credit credit_;
  std::string channel_name_;
  std::vector<Exchange> exchanges_;
  Decoder decoder_;
};

class ToldTest : public testing::Test {
 protected:
  explicit ToldTest(bool in_order = true) : told_(/*resync=*/false, /*from_start=*/true, in_order) {}

  std::vector<std::string> Up(const std::string& bytes) {
    told_.Up(bytes);
    return told_.Take();
  }
  std::vector<std::string> Down(const std::string& bytes) {
    told_.Down(bytes);
    return told_.Take();
  }

  Told told_;
};

inline std::string WelcomeFrame(uint32_t window = 65536, uint32_t max_payload = 65536) {
  v1::Welcome welcome;
  welcome.set_max_payload_bytes(max_payload);
  welcome.set_initial_window_bytes(window);
  welcome.set_max_window_bytes(4 * window);
  welcome.set_max_clients_per_connection(10);
  welcome.set_max_start_bytes(4096);
  welcome.set_heartbeat_interval_ms(5000);
  welcome.set_heartbeat_misses(3);
  welcome.set_max_attempts(3);
  return server::FrameOf(proto::FrameType::kWelcome, 0, proto::kNilUuid, welcome);
}

// A START as the server hands it on.
inline std::string HandedOn(uint8_t direction, uint16_t slot, const proto::Uuid& id, std::string_view body = "",
                            uint8_t flags = 0) {
  std::string frame = server::StartFrame(direction, slot, id, {.flags = flags, .body = std::string(body)});
  proto::StartBlock block(
      {reinterpret_cast<uint8_t*>(frame.data()) + proto::kHeaderBytes, frame.size() - proto::kHeaderBytes});
  block.set_other_client(server::Id(77));
  block.set_attempt(1);
  return frame;
}

inline std::string StatusFrame(proto::FrameType type, uint16_t slot, const proto::Uuid& id, absl::StatusCode code,
                               std::string_view end = "") {
  v1::Status status;
  status.set_code(static_cast<uint32_t>(code));
  status.set_end(std::string(end));
  if (type != proto::FrameType::kReset) return server::FrameOf(type, slot, id, status);
  v1::Reset reset;
  *reset.mutable_status() = status;
  return server::FrameOf(type, slot, id, reset);
}

}  // namespace relay::inspect

#endif  // RELAY_TESTS_TOOLS_INSPECT_TOLD_H_

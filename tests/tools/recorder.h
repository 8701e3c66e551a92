// A tap that writes down what it is told, for tests of what tells it.

#ifndef RELAY_TESTS_TOOLS_RECORDER_H_
#define RELAY_TESTS_TOOLS_RECORDER_H_

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "proto/frame.h"
#include "tools/inspect/tap.h"

namespace relay::inspect {

inline std::span<const uint8_t> AsBytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// Writes down what it is told, each direction by itself and all in order.
class Recorder : public Tap {
 public:
  struct Connection {
    Opening opening;
    std::string to_server;
    std::string to_client;
    std::vector<absl::Time> times;
  };

  void OnOpen(const Opening& opening) override {
    EXPECT_TRUE(connections.emplace(opening.connection, Connection{opening, "", "", {}}).second) << "opened twice";
  }
  void OnBytes(const Piece& piece) override {
    Text(piece.connection, piece.direction).append(piece.bytes.begin(), piece.bytes.end());
    connections[piece.connection].times.push_back(piece.at);
    Tell(piece.connection, piece.direction, std::string(piece.bytes.begin(), piece.bytes.end()), piece.at);
  }
  void OnGap(ConnectionId id, Direction direction, absl::Time at, uint64_t bytes) override {
    const std::string gap = "[gap " + std::to_string(bytes) + "]";
    Text(id, direction) += gap;
    Tell(id, direction, gap, at);
  }
  void OnFrame(const CutFrame&) override { FAIL() << "a capture knows no frames"; }
  void OnLost(uint64_t frames, absl::Time at) override {
    lost += frames;
    story += "[lost " + std::to_string(frames) + "]@" + std::to_string(absl::ToUnixSeconds(at)) + " ";
  }
  void OnClose(ConnectionId id, Direction direction, absl::Time) override { Text(id, direction) += "[end]"; }
  void OnTick(absl::Time) override {}
  absl::Status Finish() override { return absl::OkStatus(); }

  const Connection& only() const {
    EXPECT_EQ(connections.size(), 1u);
    return connections.begin()->second;
  }

  std::map<ConnectionId, Connection> connections;
  uint64_t lost = 0;
  std::string story;  // bytes, gaps and losses in their order, as "1>said by the client@second "

 private:
  void Tell(ConnectionId id, Direction direction, const std::string& text, absl::Time at) {
    story += std::to_string(id) + (direction == Direction::kToServer ? ">" : "<") + text + "@" +
             std::to_string(absl::ToUnixSeconds(at)) + " ";
  }
  std::string& Text(ConnectionId id, Direction direction) {
    EXPECT_TRUE(connections.contains(id)) << "told before it was opened";
    Connection& connection = connections[id];
    return direction == Direction::kToServer ? connection.to_server : connection.to_client;
  }
};

inline std::string FrameOf(proto::FrameType type, std::string_view payload) {
  std::string frame;
  proto::Uuid id = {};
  id.data[0] = 7;
  proto::AppendFrame(frame, type, type == proto::FrameType::kChunk ? proto::flag::kRequest : 0,
                     type == proto::FrameType::kChunk ? uint16_t{1} : uint16_t{0},
                     type == proto::FrameType::kChunk ? id : proto::kNilUuid, payload);
  return frame;
}

}  // namespace relay::inspect

#endif  // RELAY_TESTS_TOOLS_RECORDER_H_

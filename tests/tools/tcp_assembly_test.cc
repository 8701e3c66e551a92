// TCP is put together, whatever the network and the capture did to it, in bounded memory.

#include "tools/inspect/tcp_assembly.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "proto/frame.h"
#include "recorder.h"
#include "tools/inspect/packet.h"
#include "tools/inspect/pcapng_writer.h"

namespace relay::inspect {
namespace {

using proto::FrameType;

// A connection whose segments the tests make; positions are offsets into what each side says.
class Wire {
 public:
  explicit Wire(uint16_t client_port = 50000, uint16_t server_port = 7420) {
    client_ = *ParseEndpoint("tcp://10.0.0.9:" + std::to_string(client_port));
    server_ = *ParseEndpoint("tcp://10.0.0.1:" + std::to_string(server_port));
  }

  Segment Make(Direction direction, uint32_t offset, std::string_view payload, uint8_t flags = tcp::kAck) const {
    const bool to_server = direction == Direction::kToServer;
    Segment segment;
    segment.source = to_server ? client_ : server_;
    segment.target = to_server ? server_ : client_;
    segment.number = (to_server ? kClientFirst : kServerFirst) + offset;
    segment.acknowledged =
        (to_server ? kServerFirst : kClientFirst) + (to_server ? acked_to_client_ : acked_to_server_);
    segment.flags = flags;
    segment.payload = AsBytes(payload);
    segment.payload_bytes = static_cast<uint32_t>(payload.size());
    return segment;
  }
  std::vector<Segment> Handshake() const {
    return {Make(Direction::kToServer, static_cast<uint32_t>(-1), "", tcp::kSyn),
            Make(Direction::kToClient, static_cast<uint32_t>(-1), "", tcp::kSyn | tcp::kAck),
            Make(Direction::kToServer, 0, "")};
  }
  void set_acked(uint32_t to_server, uint32_t to_client) {
    acked_to_server_ = to_server;
    acked_to_client_ = to_client;
  }

 private:
  static constexpr uint32_t kClientFirst = 0xfffffff0;  // numbers wrap soon
  static constexpr uint32_t kServerFirst = 77;

  Endpoint client_;
  Endpoint server_;
  uint32_t acked_to_server_ = 0;
  uint32_t acked_to_client_ = 0;
};

class AssemblyTest : public testing::Test {
 protected:
  AssemblyTest() : assembly_(recorder_) {}

  void Take(const std::vector<Segment>& segments) {
    for (const Segment& segment : segments) assembly_.Take(segment);
  }
  void Say(uint32_t offset, std::string_view payload) {
    assembly_.Take(wire_.Make(Direction::kToServer, offset, payload));
  }
  // Packets that have nothing to do with the hole.
  void PassPackets(uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) assembly_.Take(wire_.Make(Direction::kToServer, 0, ""));
  }

  Wire wire_;
  Recorder recorder_;
  TcpAssembly assembly_;
};

TEST_F(AssemblyTest, PutsShuffledRepeatedAndOverlappingSegmentsInOrder) {
  std::mt19937 random(static_cast<unsigned>(testing::UnitTest::GetInstance()->random_seed()));
  for (int round = 0; round < 50; ++round) {
    Wire wire(static_cast<uint16_t>(50001 + round));
    std::string said[2] = {std::string(proto::kPreface), ""};
    for (std::string& text : said) {
      for (int i = 0; i < 3000; ++i) text += static_cast<char>('a' + random() % 26);
    }
    std::vector<Segment> segments;
    for (const Direction direction : {Direction::kToServer, Direction::kToClient}) {
      const std::string& text = said[direction == Direction::kToServer ? 0 : 1];
      for (uint32_t at = 0; at < text.size();) {
        const uint32_t bytes = 1 + static_cast<uint32_t>(random() % 100);
        segments.push_back(wire.Make(direction, at, std::string_view(text).substr(at, bytes)));
        const uint32_t back = std::min<uint32_t>(at, static_cast<uint32_t>(random() % 30));
        if (random() % 4 == 0) {  // again, with what stood before and behind
          segments.push_back(wire.Make(direction, at - back, std::string_view(text).substr(at - back, bytes + 50)));
        }
        at += bytes;
      }
    }
    for (size_t i = 0; i + 1 < segments.size(); ++i) {
      std::swap(segments[i], segments[i + random() % std::min<size_t>(40, segments.size() - i)]);
    }
    Take(wire.Handshake());
    Take(segments);
    Take({wire.Make(Direction::kToServer, static_cast<uint32_t>(said[0].size()), "", tcp::kFin | tcp::kAck),
          wire.Make(Direction::kToClient, static_cast<uint32_t>(said[1].size()), "", tcp::kFin | tcp::kAck)});
    const Recorder::Connection& connection = recorder_.connections[static_cast<ConnectionId>(round + 1)];
    ASSERT_EQ(connection.to_server, said[0] + "[end]");
    ASSERT_EQ(connection.to_client, said[1] + "[end]");
    EXPECT_TRUE(connection.opening.from_start);
  }
  EXPECT_EQ(assembly_.held_bytes(), 0u);
}

TEST_F(AssemblyTest, AHoleThatWasReadIsAGapAfterReorderPackets) {
  for (const uint64_t packets :
       {TcpAssembly::kReorderPackets - 1, TcpAssembly::kReorderPackets, TcpAssembly::kReorderPackets + 1}) {
    Recorder recorder;
    TcpAssembly assembly(recorder);
    Wire wire;
    for (const Segment& segment : wire.Handshake()) assembly.Take(segment);
    assembly.Take(wire.Make(Direction::kToServer, 0, proto::kPreface));
    assembly.Take(wire.Make(Direction::kToServer, 18, "behind"));
    wire.set_acked(24, 0);
    for (uint64_t i = 0; i < packets; ++i) assembly.Take(wire.Make(Direction::kToClient, 0, ""));
    EXPECT_EQ(recorder.only().to_server,
              std::string(proto::kPreface) + (packets < TcpAssembly::kReorderPackets ? "" : "[gap 10]behind"));
  }
}

TEST_F(AssemblyTest, AHoleThatWasNotReadIsWaitedForLonger) {
  Take(wire_.Handshake());
  Say(0, proto::kPreface);
  Say(18, "behind");
  PassPackets(TcpAssembly::kPatiencePackets - 1);
  Say(8, "in between");
  EXPECT_EQ(recorder_.only().to_server, std::string(proto::kPreface) + "in betweenbehind");
  Say(100, "behind");
  PassPackets(TcpAssembly::kPatiencePackets);
  EXPECT_TRUE(recorder_.only().to_server.ends_with("[gap 76]behind"));
}

// Who watches a capture as it is written does not wait for 256 packets of a quiet connection.
TEST_F(AssemblyTest, AHoleIsAGapAfterSoMuchTimeToo) {
  for (const bool was_read : {true, false}) {
    Recorder recorder;
    TcpAssembly assembly(recorder);
    Wire wire;
    for (const Segment& segment : wire.Handshake()) assembly.Take(segment);
    assembly.Take(wire.Make(Direction::kToServer, 0, proto::kPreface));
    Segment behind = wire.Make(Direction::kToServer, 18, "behind");
    assembly.Take(behind);
    if (was_read) wire.set_acked(24, 0);
    const absl::Duration bound = was_read ? TcpAssembly::kReorderTime : TcpAssembly::kPatienceTime;
    for (const bool is_over : {false, true}) {
      Segment other = wire.Make(Direction::kToClient, 0, "");
      other.at = behind.at + bound - absl::Nanoseconds(is_over ? 0 : 1);
      assembly.Take(other);
      EXPECT_EQ(recorder.only().to_server, std::string(proto::kPreface) + (is_over ? "[gap 10]behind" : ""));
    }
  }
}

TEST_F(AssemblyTest, AHoleHoldsWhatComesAfterItOnAnyConnectionAndAGapStandsInItsPlace) {
  Wire second(50001);
  const auto pass = [this](Wire& wire, Direction direction, uint32_t offset, std::string_view text, int64_t at) {
    Segment segment = wire.Make(direction, offset, text);
    segment.at = absl::FromUnixSeconds(at);
    assembly_.Take(segment);
  };
  for (const Wire& wire : {wire_, second}) {
    Take(wire.Handshake());
    Take({wire.Make(Direction::kToServer, 0, proto::kPreface)});
  }
  recorder_.story.clear();
  wire_.set_acked(8, 0);
  pass(wire_, Direction::kToServer, 10, "behind", 1);
  assembly_.TakeLost(3, absl::FromUnixSeconds(2));
  pass(wire_, Direction::kToClient, 0, "answer", 3);
  pass(second, Direction::kToServer, 8, "beside", 4);
  pass(wire_, Direction::kToServer, 16, "further", 5);
  EXPECT_EQ(recorder_.story, "");
  assembly_.Finish();
  EXPECT_EQ(recorder_.story, "1>[gap 2]@1 1>behind@1 [lost 3]@2 1<answer@3 2>beside@4 1>further@5 ");
}

TEST_F(AssemblyTest, WhatWasAcknowledgedAndNotSeenIsMissingBeforeThatWasSaid) {
  Take(wire_.Handshake());
  Say(0, proto::kPreface);
  recorder_.story.clear();
  wire_.set_acked(20, 0);
  Take({wire_.Make(Direction::kToClient, 0, "answer")});
  wire_.set_acked(20, 6);
  EXPECT_EQ(recorder_.only().to_client, "") << "captured late, perhaps";
  for (uint64_t i = 0; i < TcpAssembly::kReorderPackets; ++i) Take({wire_.Make(Direction::kToClient, 6, "")});
  Say(20, "next");
  EXPECT_EQ(recorder_.only().to_server, std::string(proto::kPreface) + "[gap 12]next");
  EXPECT_LT(recorder_.story.find("[gap 12]"), recorder_.story.find("answer"));
}

TEST_F(AssemblyTest, WhatWasCapturedLateStandsBeforeItsAcknowledgement) {
  Take(wire_.Handshake());
  Say(0, proto::kPreface);
  recorder_.story.clear();
  wire_.set_acked(17, 0);
  Take({wire_.Make(Direction::kToClient, 0, "answer")});
  wire_.set_acked(17, 6);
  Say(14, "ion");
  Say(8, "quest");
  EXPECT_EQ(recorder_.story, "1>quest@0 ") << "a byte is missing yet";
  Say(13, "t");
  EXPECT_EQ(recorder_.story, "1>quest@0 1>t@0 1>ion@0 1<answer@0 ");
  EXPECT_EQ(assembly_.held_bytes(), 0u);
}

TEST_F(AssemblyTest, WhatWasSentAgainIsReadWhenItCame) {
  Take(wire_.Handshake());
  Say(0, proto::kPreface);
  recorder_.story.clear();
  wire_.set_acked(8, 0);
  Say(12, "behind");
  Take({wire_.Make(Direction::kToClient, 0, "beside")});
  Say(8, "lost");
  EXPECT_EQ(recorder_.story, "1<beside@0 1>lost@0 1>behind@0 ");
}

TEST_F(AssemblyTest, AnEndBehindAHoleIsToldWithIt) {
  Take(wire_.Handshake());
  Say(0, proto::kPreface);
  Take({wire_.Make(Direction::kToServer, 20, "", tcp::kFin | tcp::kAck)});
  EXPECT_EQ(recorder_.only().to_server, proto::kPreface);
  assembly_.Finish();
  EXPECT_EQ(recorder_.only().to_server, std::string(proto::kPreface) + "[gap 12][end]");
}

TEST_F(AssemblyTest, NothingIsSkippedBehindAnEndThatWasHeld) {
  Take(wire_.Handshake());
  Say(0, proto::kPreface);
  Take({wire_.Make(Direction::kToServer, 20, "", tcp::kFin | tcp::kAck)});
  Take({wire_.Make(Direction::kToServer, 500000000, "", tcp::kSyn)});  // the ports are used again
  EXPECT_EQ(recorder_.connections[1].to_server, std::string(proto::kPreface) + "[gap 12][end]");
}

TEST_F(AssemblyTest, HoldsMostHeldBytesOfADirection) {
  Take(wire_.Handshake());
  Say(0, proto::kPreface);
  const std::string megabyte(size_t{1} << 20, 'x');
  for (uint32_t i = 0; i < 40; ++i) {
    Say(100 + i * static_cast<uint32_t>(megabyte.size()), megabyte);
    EXPECT_LE(assembly_.held_bytes(), TcpAssembly::kMostHeldBytes);
  }
  EXPECT_EQ(recorder_.only().to_server.substr(8, 8), "[gap 92]");
  EXPECT_EQ(recorder_.only().to_server.size(), 8 + 8 + 40 * megabyte.size());
}

TEST_F(AssemblyTest, HoldsMostHeldBytesInAll) {
  const std::string megabyte(size_t{1} << 20, 'x');
  for (uint16_t port = 1; port <= 8; ++port) {
    Wire wire(port);
    Take(wire.Handshake());
    Take({wire.Make(Direction::kToServer, 0, proto::kPreface)});
    for (uint32_t i = 0; i < 15; ++i) {
      Take({wire.Make(Direction::kToServer, 100 + i * static_cast<uint32_t>(megabyte.size()), megabyte)});
      EXPECT_LE(assembly_.held_bytes(), TcpAssembly::kMostHeldBytesInAll);
    }
  }
  assembly_.Finish();
  EXPECT_EQ(assembly_.held_bytes(), 0u);
  for (const auto& [id, connection] : recorder_.connections) {
    EXPECT_EQ(connection.to_server.size(), 8 + 8 + 15 * megabyte.size());
  }
}

TEST_F(AssemblyTest, FollowsMostConnections) {
  for (size_t i = 0; i < TcpAssembly::kMostConnections + 1; ++i) {
    Wire wire(static_cast<uint16_t>(i), static_cast<uint16_t>(7420));
    Take({wire.Make(Direction::kToServer, 0, proto::kPreface)});
    EXPECT_LE(assembly_.connections(), TcpAssembly::kMostConnections);
  }
  EXPECT_EQ(recorder_.connections[1].to_server, std::string(proto::kPreface) + "[gap 0][end]") << "silent for longest";
  EXPECT_EQ(recorder_.connections[2].to_server, proto::kPreface);
}

TEST_F(AssemblyTest, WhatIsMissingAtTheEndIsAGap) {
  Take(wire_.Handshake());
  Say(0, proto::kPreface);
  Say(10, "late");
  assembly_.Finish();
  EXPECT_EQ(recorder_.only().to_server, std::string(proto::kPreface) + "[gap 2]late");
}

TEST_F(AssemblyTest, AConnectionThatWasOpenAtTheStartIsTakenFromWhereItIs) {
  const std::string chunk = FrameOf(FrameType::kChunk, "body");
  Say(500, chunk);
  Take({wire_.Make(Direction::kToClient, 900, chunk)});
  assembly_.Finish();
  EXPECT_FALSE(recorder_.only().opening.from_start);
  EXPECT_EQ(recorder_.only().opening.server, "tcp://10.0.0.1:7420");
  EXPECT_EQ(recorder_.only().to_server, chunk);
  EXPECT_EQ(recorder_.only().to_client, "[gap 900]" + chunk);  // 0 was acknowledged: what followed is missing
}

TEST_F(AssemblyTest, NothingComesBehindTheEnd) {
  Take(wire_.Handshake());
  Say(0, proto::kPreface);
  Say(20, "no stream has this");
  Take({wire_.Make(Direction::kToServer, 8, "", tcp::kFin | tcp::kAck)});
  Say(12, "nor this");
  assembly_.Finish();
  EXPECT_EQ(recorder_.only().to_server, std::string(proto::kPreface) + "[end]");
  EXPECT_EQ(assembly_.held_bytes(), 0u);
}

TEST_F(AssemblyTest, AnEndBehindMoreThanAnyWindowIsAnEnd) {
  Take(wire_.Handshake());
  Say(0, proto::kPreface);
  Take({wire_.Make(Direction::kToServer, 8 + kUnknownGapBytes, "", tcp::kFin | tcp::kAck)});
  EXPECT_EQ(recorder_.only().to_server, std::string(proto::kPreface) + "[gap 0][end]");
}

TEST_F(AssemblyTest, NobodyAcknowledgesWhatStandsBehindAnEnd) {
  Take(wire_.Handshake());
  Say(0, proto::kPreface);
  Take({wire_.Make(Direction::kToServer, 8, "", tcp::kFin | tcp::kAck)});
  Segment ack = wire_.Make(Direction::kToClient, 0, "");
  ack.acknowledged += kUnknownGapBytes + 100;
  Take({ack});
  EXPECT_EQ(recorder_.only().to_server, std::string(proto::kPreface) + "[end]");
}

TEST_F(AssemblyTest, AResetEndsBothSides) {
  Take(wire_.Handshake());
  Say(0, proto::kPreface);
  Say(10, "held");
  Take({wire_.Make(Direction::kToClient, 0, "", tcp::kReset)});
  EXPECT_EQ(recorder_.only().to_server, std::string(proto::kPreface) + "[gap 2]held[end]");
  EXPECT_EQ(recorder_.only().to_client, "[end]");
  Say(14, "too late");
  EXPECT_EQ(recorder_.connections.size(), 1u);
}

TEST_F(AssemblyTest, PortsThatAreUsedAgainAreAnotherConnection) {
  Take(wire_.Handshake());
  Say(0, proto::kPreface);
  Take(wire_.Handshake());  // the same numbers: sent again
  Say(8, "x");
  EXPECT_EQ(recorder_.connections.size(), 1u);
  Segment syn = wire_.Make(Direction::kToServer, 500000000, "", tcp::kSyn);
  Take({syn});
  Say(500000001, proto::kPreface);
  EXPECT_EQ(recorder_.connections.size(), 2u);
  EXPECT_EQ(recorder_.connections[1].to_server, std::string(proto::kPreface) + "x[gap 0][end]");
  EXPECT_EQ(recorder_.connections[2].to_server, proto::kPreface);
}

// It begins in the middle of a frame: by its first bytes nobody would know it.
TEST(Assembly, KnowsARelayByAConnectionThatBeganAndByItsPort) {
  const auto told_of_middle = [](uint16_t port, bool has_other) {
    Recorder recorder;
    TcpAssembly assembly(recorder, port);
    Wire other(50000, 9999);
    if (has_other) {
      for (const Segment& segment : other.Handshake()) assembly.Take(segment);
      assembly.Take(other.Make(Direction::kToServer, 0, proto::kPreface));
    }
    Wire wire(50001, 9999);
    assembly.Take(wire.Make(Direction::kToClient, 0, "the rest of a body"));
    assembly.Finish();
    for (const auto& [id, connection] : recorder.connections) {
      if (connection.to_client == "the rest of a body") return connection.opening.server;
    }
    return std::string();
  };
  EXPECT_EQ(told_of_middle(kRelayPort, false), "");
  EXPECT_EQ(told_of_middle(9999, false), "tcp://10.0.0.1:9999");
  EXPECT_EQ(told_of_middle(kRelayPort, true), "tcp://10.0.0.1:9999");
}

TEST_F(AssemblyTest, OtherProtocolsAreSkippedAndCounted) {
  Wire http(50000, 80);
  Take(http.Handshake());
  Take({http.Make(Direction::kToServer, 0, "GET / HTTP/1.1\r\n"),
        http.Make(Direction::kToClient, 0, "HTTP/1.1 200 OK\r\n")});
  EXPECT_TRUE(recorder_.connections.empty());
  EXPECT_EQ(assembly_.other_connections(), 1u);
  Wire relay(50000, 33000);
  Take(relay.Handshake());
  Take({relay.Make(Direction::kToServer, 0, proto::kPreface)});
  EXPECT_EQ(recorder_.only().opening.server, "tcp://10.0.0.1:33000");
}

TEST_F(AssemblyTest, NumbersConnectionsByTheirFirstPackets) {
  Wire second(50001);
  Wire third(50002, 80);
  Wire fourth(50003);
  for (const Wire& wire : {wire_, second, third}) Take(wire.Handshake());
  Take({fourth.Make(Direction::kToServer, 0, "")});  // it began before the capture did
  for (const Wire& wire : {fourth, second, third}) Take({wire.Make(Direction::kToServer, 0, "GET / HTTP/1.1\r\n")});
  EXPECT_EQ(recorder_.connections.size(), 2u);
  EXPECT_EQ(recorder_.connections[2].opening.client, "tcp://10.0.0.9:50001");
  EXPECT_EQ(recorder_.connections[4].opening.client, "tcp://10.0.0.9:50003");
}

TEST_F(AssemblyTest, AWrongPrefaceOnRelaysPortIsShown) {
  Take(wire_.Handshake());
  Say(0, "GET / HTTP/1.1\r\n");
  EXPECT_EQ(recorder_.only().to_server, "GET / HTTP/1.1\r\n");
}

TEST_F(AssemblyTest, WhoseHandshakeIsMissingIsKnownByThePreface) {
  Wire wire(1000, 50000);  // the client's port is the lesser
  Take({wire.Make(Direction::kToServer, 0, proto::kPreface)});
  EXPECT_EQ(recorder_.only().opening.client, "tcp://10.0.0.9:1000");
  EXPECT_TRUE(recorder_.only().opening.from_start);
}

}  // namespace
}  // namespace relay::inspect

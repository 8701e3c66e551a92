// Captures: what is written is read again, and segments are found in packets of every known link.

#include "tools/inspect/capture.h"

#include <gtest/gtest.h>
#include <pcap/dlt.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <vector>

#include "proto/frame.h"
#include "recorder.h"
#include "tools/inspect/packet.h"
#include "tools/inspect/pcapng_writer.h"

namespace relay::inspect {
namespace {

using proto::FrameType;

std::string Path(const std::string& name) {
  return testing::TempDir() + "relay-capture-" + std::to_string(getpid()) + "-" + name;
}

absl::Status Read(const std::string& path, Tap& tap, uint64_t* skipped = nullptr) {
  auto input = ByteInput::Open(path);
  if (!input.ok()) return input.status();
  auto source = OpenCapture(*std::move(input), kRelayPort, [skipped](uint64_t connections) {
    ASSERT_NE(skipped, nullptr) << "connections were skipped";
    *skipped = connections;
  });
  return source.ok() ? (*source)->Run(tap) : source.status();
}

// ---- What is written is read again ---------------------------------------------------------------------------------

TEST(Pcapng, WhatIsWrittenIsReadAgain) {
  const std::string path = Path("written");
  const absl::Time begin = absl::FromUnixNanos(1700000000123456789);
  const std::string hello = std::string(proto::kPreface) + FrameOf(FrameType::kHello, "hello");
  const std::string large(200000, 'x');
  {
    auto writer = CreatePcapng(path, [](const absl::Status&) {});
    ASSERT_TRUE(writer.ok());
    (*writer)->OnOpen({1, begin, "tcp://10.1.2.3:50123", "tcp://10.0.0.1:7000"});
    (*writer)->OnOpen({2, begin, "tcp://[2001:db8::1]:50124", "tcp://[::1]:7001"});
    (*writer)->OnOpen({3, begin, "unix:/run/relay.sock", "unix:/run/relay.sock"});
    for (const ConnectionId id : {1u, 2u, 3u}) {
      const absl::Time at = begin + absl::Nanoseconds(id);
      (*writer)->OnBytes({id, Direction::kToServer, at, AsBytes(hello)});
      (*writer)->OnBytes({id, Direction::kToClient, at, AsBytes(FrameOf(FrameType::kWelcome, std::string(1, 'a')))});
      (*writer)->OnBytes({id, Direction::kToServer, at, AsBytes(large)});
    }
    (*writer)->OnClose(1, Direction::kToServer, begin);
    (*writer)->OnClose(1, Direction::kToClient, begin);
    ASSERT_TRUE((*writer)->Finish().ok());
  }
  Recorder recorder;
  ASSERT_TRUE(Read(path, recorder).ok());
  ASSERT_EQ(recorder.connections.size(), 3u);
  for (const ConnectionId id : {1u, 2u, 3u}) {
    const Recorder::Connection& connection = recorder.connections[id];
    EXPECT_EQ(connection.to_server, hello + large + (id == 1 ? "[end]" : ""));
    EXPECT_EQ(connection.to_client, FrameOf(FrameType::kWelcome, "a") + (id == 1 ? "[end]" : ""));
    EXPECT_TRUE(connection.opening.from_start);
    EXPECT_EQ(connection.times.front(), begin + absl::Nanoseconds(id));
  }
  EXPECT_EQ(recorder.connections[1].opening.client, "tcp://10.1.2.3:50123");
  EXPECT_EQ(recorder.connections[1].opening.server, "tcp://10.0.0.1:7000");
  EXPECT_EQ(recorder.connections[2].opening.client, "tcp://[2001:db8::1]:50124");
  EXPECT_EQ(recorder.connections[3].opening.server, "tcp://127.0.0.1:7420");
  unlink(path.c_str());
}

TEST(Pcapng, KeepsWhatNobodyKnowsUnknown) {
  const std::string path = Path("unknown");
  const std::string chunk = FrameOf(FrameType::kChunk, std::string(100, 'c'));
  const std::string large = FrameOf(FrameType::kChunk, std::string(100000, 'd'));
  {
    auto writer = CreatePcapng(path, [](const absl::Status&) {});
    ASSERT_TRUE(writer.ok());
    Opening opening;
    opening.connection = 5;
    opening.from_start = false;
    (*writer)->OnOpen(opening);
    const auto cut = [&](const std::string& frame, size_t known) {
      CutFrame told;
      told.connection = 5;
      told.header = AsBytes(frame).first(proto::kHeaderBytes);
      told.payload = AsBytes(frame).subspan(proto::kHeaderBytes, known);
      (*writer)->OnFrame(told);
    };
    cut(chunk, 10);
    cut(chunk, 100);
    cut(large, 10);
    (*writer)->OnGap(5, Direction::kToServer, absl::UnixEpoch(), 1234);
    cut(chunk, 100);
    (*writer)->OnGap(5, Direction::kToServer, absl::UnixEpoch(), 0);
    cut(chunk, 100);
    (*writer)->OnLost(3, absl::UnixEpoch());
    cut(chunk, 100);
    ASSERT_TRUE((*writer)->Finish().ok());
  }
  Recorder recorder;
  ASSERT_TRUE(Read(path, recorder).ok());
  EXPECT_EQ(recorder.lost, 3u);
  EXPECT_FALSE(recorder.only().opening.from_start);
  EXPECT_EQ(recorder.only().to_server,
            chunk.substr(0, 34) + "[gap 90]" + chunk + large.substr(0, 34) +
                // A gap for each of the packets that the large frame was cut into, and the missing bytes behind it.
                "[gap 64966][gap 35024][gap 1234]" + chunk + "[gap 0]" + chunk + "[gap 0]" + chunk);
  unlink(path.c_str());
}

TEST(Pcapng, ADiskThatIsFullIsTold) {
  std::vector<absl::Status> told;
  auto writer = CreatePcapng("/dev/full", [&told](const absl::Status& status) { told.push_back(status); });
  ASSERT_TRUE(writer.ok());
  for (const ConnectionId id : {ConnectionId{1}, ConnectionId{2}}) {
    (*writer)->OnOpen({id, absl::UnixEpoch(), "", ""});
    (*writer)->OnTick(absl::UnixEpoch());
    ASSERT_EQ(told.size(), 1);  // at once, and once
    EXPECT_EQ(told[0].message(), "write /dev/full: No space left on device");
  }
  EXPECT_EQ((*writer)->Finish().code(), absl::StatusCode::kDataLoss);
  EXPECT_FALSE(CreatePcapng("/no/such/folder/file", [](const absl::Status&) {}).ok());
}

TEST(Capture, TellsHowManyConnectionsAreNotRelays) {
  const std::string path = Path("others");
  {
    auto writer = CreatePcapng(path, [](const absl::Status&) {});
    ASSERT_TRUE(writer.ok());
    for (const ConnectionId id : {1u, 2u, 3u}) {
      const std::string client = "tcp://10.0.0.1:" + std::to_string(1000 + id);
      (*writer)->OnOpen({id, absl::UnixEpoch(), client, "tcp://10.0.0.2:80"});
      (*writer)->OnBytes({id, Direction::kToServer, absl::UnixEpoch(),
                          AsBytes(id == 2 ? proto::kPreface : std::string_view("GET / HTTP/1.1\r\n"))});
    }
    ASSERT_TRUE((*writer)->Finish().ok());
  }
  Recorder recorder;
  uint64_t skipped = 0;
  ASSERT_TRUE(Read(path, recorder, &skipped).ok());
  EXPECT_EQ(skipped, 2u);
  EXPECT_EQ(recorder.only().to_server, proto::kPreface);
  unlink(path.c_str());
}

TEST(Capture, IsKnownByItsFirstBytes) {
  using namespace std::string_view_literals;
  EXPECT_TRUE(IsCapture("\x0a\x0d\x0d\x0a rest"sv));
  EXPECT_TRUE(IsCapture("\xd4\xc3\xb2\xa1"sv));
  EXPECT_TRUE(IsCapture("\xa1\xb2\x3c\x4d"sv));
  EXPECT_FALSE(IsCapture("RELAY/1\n"sv));
  EXPECT_TRUE(IsCapture("\xa1\xb2\xc3"sv));
  EXPECT_FALSE(IsCapture("\xa1\xb3"sv));
  EXPECT_FALSE(IsCapture(""sv));
}

TEST(Capture, ThatBreaksOffIsToldAsFarAsItGoes) {
  const std::string path = Path("cut");
  {
    auto writer = CreatePcapng(path, [](const absl::Status&) {});
    ASSERT_TRUE(writer.ok());
    (*writer)->OnOpen({1, absl::UnixEpoch(), "", ""});
    for (int i = 0; i < 2; ++i) {
      (*writer)->OnBytes(
          {1, Direction::kToServer, absl::UnixEpoch(), AsBytes(std::string(proto::kPreface) + "12345678")});
    }
    ASSERT_TRUE((*writer)->Finish().ok());
  }
  ASSERT_EQ(truncate(path.c_str(), 400), 0);
  Recorder recorder;
  EXPECT_EQ(Read(path, recorder).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(recorder.only().to_server, std::string(proto::kPreface) + "12345678");
  std::ofstream(path) << "\x0a\x0d\x0d\x0a and no more of a pcapng";
  EXPECT_EQ(Read(path, recorder).code(), absl::StatusCode::kInvalidArgument);
  unlink(path.c_str());
}

// ---- Packets -------------------------------------------------------------------------------------------------------

std::string Tcp(std::string_view payload) {
  std::string segment(20, '\0');
  segment[1] = 80;
  segment[3] = 90;
  segment[7] = 5;
  segment[12] = 0x50;
  segment[13] = tcp::kAck;
  return segment + std::string(payload);
}

std::string Ipv4(std::string_view behind, std::string_view options = {}) {
  std::string packet(20, '\0');
  packet[0] = static_cast<char>(0x45 + options.size() / 4);
  proto::StoreBig<uint16_t>(packet.data() + 2, static_cast<uint16_t>(20 + options.size() + behind.size()));
  packet[9] = 6;
  packet[15] = 1;
  packet[19] = 2;
  return packet + std::string(options) + std::string(behind);
}

std::string Ipv6(std::string_view behind, char next = 6) {
  std::string packet(40, '\0');
  packet[0] = 0x60;
  proto::StoreBig<uint16_t>(packet.data() + 4, static_cast<uint16_t>(behind.size()));
  packet[6] = next;
  packet[23] = 1;
  packet[39] = 2;
  return packet + std::string(behind);
}

std::string PayloadOf(int link, const std::string& packet) {
  const auto segment = FindSegment(link, AsBytes(packet));
  if (!segment.has_value()) return "nothing";
  EXPECT_EQ(segment->source.port, 80);
  EXPECT_EQ(segment->target.port, 90);
  EXPECT_EQ(segment->number, 5u);
  return std::string(segment->payload.begin(), segment->payload.end());
}

TEST(Packet, IsFoundBehindEveryKnownLink) {
  using namespace std::string_literals;
  const std::string v4 = Ipv4(Tcp("four"));
  const std::string v6 = Ipv6(Tcp("six"));
  const std::string addresses(12, 'a');
  EXPECT_EQ(PayloadOf(DLT_EN10MB, addresses + "\x08\x00"s + v4), "four");
  EXPECT_EQ(PayloadOf(DLT_EN10MB, addresses + "\x86\xdd"s + v6), "six");
  EXPECT_EQ(PayloadOf(DLT_EN10MB, addresses + "\x88\xa8\x00\x01\x81\x00\x00\x02\x08\x00"s + v4), "four");
  EXPECT_EQ(PayloadOf(DLT_EN10MB, addresses + "\x08\x06"s + v4), "nothing");
  EXPECT_EQ(PayloadOf(DLT_NULL, "\x02\0\0\0"s + v4), "four");
  EXPECT_EQ(PayloadOf(DLT_LOOP, "\0\0\0\x1e"s + v6), "six");
  EXPECT_EQ(PayloadOf(DLT_LINUX_SLL, std::string(14, 's') + "\x08\x00"s + v4), "four");
  EXPECT_EQ(PayloadOf(DLT_LINUX_SLL2, "\x86\xdd"s + std::string(18, 's') + v6), "six");
  EXPECT_EQ(PayloadOf(DLT_RAW, v4), "four");
  EXPECT_EQ(PayloadOf(DLT_RAW, v6), "six");
  EXPECT_EQ(PayloadOf(DLT_IEEE802_11, v4), "nothing");
}

TEST(Packet, PaddingAndOptionsAreNoPayload) {
  EXPECT_EQ(PayloadOf(DLT_RAW, Ipv4(Tcp("x")) + "padding"), "x");
  EXPECT_EQ(PayloadOf(DLT_RAW, Ipv4(Tcp("x"), "8 bytes.")), "x");
  EXPECT_EQ(PayloadOf(DLT_RAW, Ipv6(std::string("\6\0\1\4\0\0\0\0", 8) + Tcp("x"), 0)), "x");
}

TEST(Packet, AnyCutIsSurvived) {
  for (const std::string& packet :
       {Ipv4(Tcp("four"), "8 bytes."), Ipv6(std::string("\6\0\1\4\0\0\0\0", 8) + Tcp("x"), 0)}) {
    for (size_t size = 0; size < packet.size(); ++size) {
      const std::string cut = packet.substr(0, size);
      const auto segment = FindSegment(DLT_RAW, AsBytes(cut));
      EXPECT_TRUE(!segment.has_value() || segment->payload.size() < segment->payload_bytes);
    }
  }
}

TEST(Packet, WhatWasLostIsCountedInWords) {
  const auto lost = [](std::string_view words, uint8_t protocol = kLostProtocol) {
    std::string packet = Ipv4(words);
    packet[9] = static_cast<char>(protocol);
    return FindLost(DLT_RAW, AsBytes(packet));
  };
  EXPECT_EQ(lost("relay frames lost: 12345678901"), 12345678901u);
  EXPECT_EQ(lost("relay frames lost: many"), std::nullopt);
  EXPECT_EQ(lost("relay frames lost: "), std::nullopt);
  EXPECT_EQ(lost("another experiment"), std::nullopt);
  EXPECT_EQ(lost("relay frames lost: 7", 6), std::nullopt);
  EXPECT_EQ(lost(""), std::nullopt);
}

TEST(Packet, EndpointsAreSpelledAsUrls) {
  for (const std::string url : {"tcp://10.0.0.1:7420", "tcp://[::1]:1", "tcp://[2001:db8::5]:65535"}) {
    EXPECT_EQ(ToString(*ParseEndpoint(url)), url);
  }
  for (const std::string url : {"unix:/x", "tcp://host:1", "tcp://1.2.3.4", "tcp://1.2.3.4:65536", ""}) {
    EXPECT_FALSE(ParseEndpoint(url).has_value()) << url;
  }
}

}  // namespace
}  // namespace relay::inspect

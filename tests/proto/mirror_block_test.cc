#include "proto/mirror_block.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "proto/frame.h"

namespace relay::proto {
namespace {

Uuid Filled(uint8_t with) {
  Uuid id;
  std::fill(id.begin(), id.end(), with);
  return id;
}

TEST(MirrorBlock, StandsAsTheProtocolSays) {
  std::vector<uint8_t> payload(kMirrorBlockBytes, 0xff);
  MirrorBlock(payload).Write(0x0102030405060708, 0x1112131415161718, 0x21222324, MirrorKind::kWritten, Filled(0xc1),
                             Filled(0xc2));
  std::vector<uint8_t> expected = {1,    2,    3,    4,    5,    6,    7,    8,    0x11, 0x12, 0x13, 0x14,
                                   0x15, 0x16, 0x17, 0x18, 0x21, 0x22, 0x23, 0x24, 2,    0,    0,    0};
  expected.insert(expected.end(), 16, 0xc1);
  expected.insert(expected.end(), 16, 0xc2);
  EXPECT_EQ(payload, expected);
  const MirrorBlock block(payload);
  EXPECT_EQ(block.connection(), 0x0102030405060708u);
  EXPECT_EQ(block.time_us(), 0x1112131415161718u);
  EXPECT_EQ(block.lost(), 0x21222324u);
  EXPECT_EQ(block.kind(), MirrorKind::kWritten);
  EXPECT_EQ(block.channel(), Filled(0xc1));
  EXPECT_EQ(block.client(), Filled(0xc2));
  EXPECT_TRUE(block.shown().empty());
}

std::string WithKind(int kind, std::string_view behind) {
  std::string payload(kMirrorBlockBytes, '\0');
  payload[20] = static_cast<char>(kind);
  return payload + std::string(behind);
}

bool Passes(const std::string& payload) {
  return CheckMirror({reinterpret_cast<const uint8_t*>(payload.data()), payload.size()});
}

TEST(MirrorBlock, IsCheckedBeforeItIsRead) {
  std::string frame;
  AppendFrame(frame, FrameType::kChunk, flag::kRequest, 1, Filled(1), "four");
  for (const int kind : {1, 2}) {
    EXPECT_TRUE(Passes(WithKind(kind, frame)));
    EXPECT_TRUE(Passes(WithKind(kind, frame.substr(0, kHeaderBytes))));
    EXPECT_FALSE(Passes(WithKind(kind, frame.substr(0, kHeaderBytes - 1))));
    EXPECT_FALSE(Passes(WithKind(kind, frame + "x"))) << "more than was declared";
  }
  for (const int kind : {3, 4, 5}) EXPECT_TRUE(Passes(WithKind(kind, "")));
  for (const int kind : {0, 6, 255}) EXPECT_FALSE(Passes(WithKind(kind, frame)));
  EXPECT_FALSE(Passes(WithKind(3, "").substr(1)));
}

TEST(MirrorBlock, KindsHaveNamesOfTheirOwn) {
  std::set<std::string_view> names;
  for (uint8_t kind = 1; kind <= kLastMirrorKind; ++kind) names.insert(NameOf(static_cast<MirrorKind>(kind)));
  EXPECT_EQ(names.size(), kLastMirrorKind);
  EXPECT_FALSE(names.contains("?"));
}

}  // namespace
}  // namespace relay::proto

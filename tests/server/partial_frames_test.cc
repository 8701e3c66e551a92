// Peers in the middle of a frame: what has come of it is held, and of all together no more than the bound.

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "driver.h"

namespace relay::server {
namespace {

namespace flag = proto::flag;

Limits Holding(size_t bytes) {
  Limits limits;
  limits.partial_frame_bytes_total = bytes;
  return limits;
}

const std::string& Chunk() {
  static const std::string chunk = ChunkFrame(flag::kRequest, 1, Id(9), std::string(50000, 'x'));
  return chunk;
}

std::string_view Part(size_t bytes) { return std::string_view(Chunk()).substr(0, bytes); }

TEST(PartialFrames, AllTogetherHoldTheBoundAndNotOneByteMore) {
  for (const size_t bytes : {3999u, 4000u, 4001u}) {
    Driver driver(Holding(10000));
    Peer& first = driver.Joined("c");
    Peer& second = driver.Joined("c");
    first.Send(Part(6000));
    second.Send(Part(bytes));
    EXPECT_EQ(first.was_closed(), bytes > 4000);
    EXPECT_FALSE(second.was_closed());
    EXPECT_EQ(driver.count(End::kPartialFrameBytesTotal), bytes > 4000 ? 1u : 0u);
    EXPECT_EQ(driver.relay().partial_frame_bytes(), bytes > 4000 ? bytes : 6000 + bytes);
    driver.ExpectNothingLeft();
    EXPECT_EQ(driver.relay().partial_frame_bytes(), 0u);
  }
}

// Neither who holds most nor who came last, but who makes no headway, however often a byte comes.
TEST(PartialFrames, WhoHasBeenAtOneFrameForTheLongestIsCut) {
  Driver driver(Holding(60000));
  Peer& busy = driver.Joined("c");
  Peer& idle = driver.Joined("c");
  Peer& late = driver.Joined("c");
  busy.Send(Part(40000));
  idle.Send(Part(100));
  // The frame is whole, and the next one has begun.
  busy.Send(Chunk().substr(40000) + std::string(Part(40000)));
  idle.Send(Chunk().substr(100, 1));
  EXPECT_EQ(driver.relay().partial_frame_bytes(), 40101u);
  late.Send(Part(19899));
  EXPECT_FALSE(idle.was_closed());
  late.Send(Chunk().substr(19899, 1));
  EXPECT_TRUE(idle.was_closed());
  EXPECT_FALSE(busy.was_closed());
  EXPECT_FALSE(late.was_closed());
  late.Send(Chunk().substr(19900, 101));
  EXPECT_TRUE(busy.was_closed());
  driver.ExpectNothingLeft();
}

TEST(PartialFrames, OneThatIsOverTheBoundByItselfIsCut) {
  Driver driver(Holding(10000));
  Peer& peer = driver.Joined("c");
  peer.Send(Part(10000));
  EXPECT_FALSE(peer.was_closed());
  peer.Send(Chunk().substr(10000, 1));
  EXPECT_TRUE(peer.was_closed());
  driver.ExpectNothingLeft();
}

TEST(PartialFrames, WholeOnesAndThoseWhoAreGoneCountForNothing) {
  Driver driver(Holding(10000));
  Peer& whole = driver.Joined("c");
  whole.Send(Chunk());
  EXPECT_EQ(driver.relay().partial_frame_bytes(), 0u);
  Peer& gone = driver.Joined("c");
  gone.Send(Part(9000));
  gone.Break();
  EXPECT_EQ(driver.relay().partial_frame_bytes(), 0u);
  Peer& refused = driver.Joined("c");
  refused.Send(std::string(Part(9000)));
  refused.Send(Chunk().substr(9000) + HelloFrame());
  EXPECT_EQ(driver.relay().partial_frame_bytes(), 0u);
  Peer& other = driver.Joined("c");
  other.Send(Part(10000));
  EXPECT_FALSE(other.was_closed());
  driver.ExpectNothingLeft();
}

TEST(PartialFrames, AnUnfinishedHelloCountsToo) {
  Driver driver(Holding(300));
  Peer& stranger = driver.Connect();
  const std::string hello = std::string(proto::kPreface) + HelloFrame();
  stranger.Send(hello.substr(0, hello.size() - 1));
  EXPECT_EQ(driver.relay().partial_frame_bytes(), HelloFrame().size() - 1);
  stranger.Send(hello.substr(hello.size() - 1));
  EXPECT_EQ(driver.relay().partial_frame_bytes(), 0u);
  driver.ExpectNothingLeft();
}

}  // namespace
}  // namespace relay::server

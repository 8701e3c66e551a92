#include "net/input.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "net/read_buffers.h"
#include "testing.h"

namespace relay::net {
namespace {

// Reads `bytes` as a connection would, in as many reads as the room asks for; the last is what is given.
std::span<uint8_t> Read(Input& input, std::string_view bytes) {
  const std::span<uint8_t> room = input.Room(bytes.size());
  EXPECT_EQ(room.size(), bytes.size());
  std::copy(bytes.begin(), bytes.end(), room.begin());
  return input.Received(bytes.size());
}

TEST(ReadBuffersTest, GivesFourSlabsATurnAndThenNothingUntilTheTurnEnds) {
  ReadBuffers buffers;
  const uint8_t* first = nullptr;
  for (size_t i = 0; i < ReadBuffers::kSlabsPerTurn; ++i) {
    const auto room = buffers.Room(1);
    ASSERT_EQ(room.size(), ReadBuffers::kSlabBytes);
    if (i == 0) first = room.data();
    buffers.Commit(room.size());
  }
  EXPECT_TRUE(buffers.Room(1).empty());
  EXPECT_TRUE(buffers.Room(1).empty());
  buffers.EndTurn();
  EXPECT_EQ(buffers.Room(1).data(), first);
}

TEST(ReadBuffersTest, LeavesASlabThatHasTooLittleRoom) {
  ReadBuffers buffers;
  buffers.Commit(buffers.Room(1).first(ReadBuffers::kSlabBytes - 10).size());
  EXPECT_EQ(buffers.Room(10).size(), 10u);
  EXPECT_EQ(buffers.Room(11).size(), ReadBuffers::kSlabBytes);
}

TEST(InputTest, HoldsNothingWhenAllIsConsumed) {
  ReadBuffers buffers;
  Input input(buffers);
  EXPECT_EQ(TextOf(Read(input, "hello")), "hello");
  input.Consumed(5);
  EXPECT_EQ(input.kept_bytes(), 0u);
  EXPECT_EQ(input.held_memory_bytes(), 0u);
}

TEST(InputTest, PutsASmallRestInFrontOfTheNextRead) {
  ReadBuffers buffers;
  Input input(buffers);
  Read(input, "hello");
  input.Consumed(2);
  EXPECT_EQ(input.kept_bytes(), 3u);
  EXPECT_EQ(input.held_memory_bytes(), 3u);
  buffers.EndTurn();
  EXPECT_EQ(TextOf(Read(input, ", you")), "llo, you");
  input.Consumed(8);
  EXPECT_EQ(input.held_memory_bytes(), 0u);
}

TEST(InputTest, KeepsRestsOfEverySizeAroundTheLimit) {
  for (const size_t rest : {Input::kLargeBytes - 1, Input::kLargeBytes, Input::kLargeBytes + 1}) {
    ReadBuffers buffers;
    Input input(buffers);
    const std::string text = Pattern(rest + 7);
    Read(input, text);
    input.Consumed(7);
    EXPECT_EQ(input.kept_bytes(), rest);
    EXPECT_LE(input.held_memory_bytes(), 2 * rest);
    buffers.EndTurn();
    EXPECT_EQ(TextOf(Read(input, "!")), text.substr(7) + "!");
    input.Consumed(rest + 1);
    EXPECT_EQ(input.held_memory_bytes(), 0u);
  }
}

TEST(InputTest, MemoryFollowsWhatHasArrivedByteByByte) {
  ReadBuffers buffers;
  Input input(buffers);
  const std::string text = Pattern(100'000);
  size_t moves = 0;
  const uint8_t* at = nullptr;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto given = Read(input, std::string_view(text).substr(i, 1));
    ASSERT_EQ(given.size(), i + 1);
    if (i + 1 > Input::kLargeBytes && given.data() != at) ++moves;
    at = given.data();
    if (i + 1 == text.size()) {
      EXPECT_EQ(TextOf(given), text);
    }
    input.Consumed(0);
    ASSERT_LE(input.held_memory_bytes(), std::max(2 * (i + 1), size_t{64}));
    buffers.EndTurn();
  }
  EXPECT_LE(moves, 6u);  // 4 KiB doubled until it holds 100,000 bytes.
}

TEST(InputTest, WhatWasGivenStaysInPlaceUntilTheTurnEnds) {
  ReadBuffers buffers;
  Input input(buffers);
  const std::string text = Pattern(6000);
  Read(input, text);
  input.Consumed(0);
  Read(input, "a");
  input.Consumed(0);
  const auto given = Read(input, "bc");  // Behind the rest, since the last read brought far less than that.
  const std::string before(TextOf(given));
  input.Consumed(6001);  // Retires it: two bytes are kept elsewhere.
  EXPECT_EQ(input.held_memory_bytes(), 2u);
  Read(input, Pattern(5000));
  input.Consumed(0);
  EXPECT_EQ(TextOf(given), before);
}

TEST(InputTest, ALargeRestIsReadBehindInOneGoWhereReadsAreAsLarge) {
  ReadBuffers buffers;
  Input input(buffers);
  const std::string text = Pattern(100'000);
  Read(input, text);
  input.Consumed(40'000);
  EXPECT_EQ(input.held_memory_bytes(), 60'000u);
  buffers.EndTurn();
  EXPECT_EQ(input.Room(ReadBuffers::kSlabBytes).size(), ReadBuffers::kSlabBytes - 60'000);
  EXPECT_EQ(TextOf(Read(input, text)), text.substr(40'000) + text);
  EXPECT_EQ(input.held_memory_bytes(), 0u);
  // All of it waits, and has become more than half a slab.
  input.Consumed(0);
  buffers.EndTurn();
  EXPECT_EQ(input.Room(ReadBuffers::kSlabBytes).size(), 160'000u);
}

TEST(InputTest, ConsumingInSmallStepsGivesBackTheMemory) {
  ReadBuffers buffers;
  Input input(buffers);
  const std::string text = Pattern(200'000);
  Read(input, text);
  input.Consumed(0);
  for (size_t done = 0; done < text.size(); done += 1000) {
    buffers.EndTurn();
    const auto given = input.Again();
    ASSERT_EQ(TextOf(given), std::string_view(text).substr(done));
    input.Consumed(1000);
    ASSERT_LE(input.held_memory_bytes(), 4 * input.kept_bytes());
  }
  EXPECT_EQ(input.held_memory_bytes(), 0u);
}

TEST(InputTest, HasNoRoomWhenTheTurnHasUsedUpItsSlabs) {
  ReadBuffers buffers;
  Input input(buffers);
  for (size_t i = 0; i < ReadBuffers::kSlabsPerTurn; ++i) buffers.Commit(buffers.Room(1).size());
  EXPECT_TRUE(input.Room(100).empty());
  buffers.EndTurn();
  EXPECT_EQ(input.Room(100).size(), 100u);
}

TEST(ReadBuffers, GiveNoRoomInATurnThatWasClosed) {
  ReadBuffers buffers;
  EXPECT_FALSE(buffers.Room(1).empty());
  EXPECT_FALSE(buffers.was_short());
  buffers.Close();
  EXPECT_TRUE(buffers.Room(1).empty());
  EXPECT_TRUE(buffers.was_short());
  buffers.EndTurn();
  EXPECT_FALSE(buffers.was_short());
  EXPECT_FALSE(buffers.Room(1).empty());
}

}  // namespace
}  // namespace relay::net

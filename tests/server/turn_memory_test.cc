#include "server/turn_memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

namespace relay::server {
namespace {

TEST(TurnMemory, WhatItGaveStaysWhereItIsUntilTheTurnIsOver) {
  std::minstd_rand random(1);
  TurnMemory memory;
  for (int turn = 0; turn < 20; ++turn) {
    std::vector<std::span<uint8_t>> given;
    // Within a block, over its end, larger than a block, and nothing.
    for (const size_t bytes : {24u, 0u, 16u * 1024 - 24, 1u, 100u, 40u * 1024, 3u, 16u * 1024, 16u * 1024 + 1, 7u}) {
      given.push_back(memory.Take(random() % 4 == 0 ? bytes / 2 : bytes));
      std::fill(given.back().begin(), given.back().end(), static_cast<uint8_t>(given.size()));
    }
    given.push_back(memory.Keep(Bytes(50'000, static_cast<uint8_t>(given.size() + 1))));
    for (size_t i = 0; i < given.size(); ++i) {
      EXPECT_TRUE(std::all_of(given[i].begin(), given[i].end(), [i](uint8_t byte) { return byte == i + 1; })) << i;
    }
    memory.Rewind();
  }
}

TEST(TurnMemory, ATurnThatTookLittleLeavesItsBlockToTheNext) {
  TurnMemory memory;
  const uint8_t* const first = memory.Take(24).data();
  memory.Rewind();
  EXPECT_EQ(memory.Take(24).data(), first);
}

}  // namespace
}  // namespace relay::server

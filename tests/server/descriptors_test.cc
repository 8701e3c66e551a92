#include "server/descriptors.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <string>

namespace relay::server {
namespace {

TEST(Descriptors, LeaveAnEighthAndWhatTheProcessNeeds) {
  EXPECT_EQ(ConnectionsThatFit(64, 1), 42u);
  EXPECT_EQ(ConnectionsThatFit(128, 2), 97u);
  EXPECT_EQ(ConnectionsThatFit(20000, 1), 17486u);
}

TEST(Descriptors, AllowAtLeastOneConnection) {
  EXPECT_EQ(ConnectionsThatFit(0, 1), 1u);
  EXPECT_EQ(ConnectionsThatFit(17, 1), 1u);
  EXPECT_EQ(ConnectionsThatFit(18, 1), 1u);
  EXPECT_EQ(ConnectionsThatFit(19, 1), 2u);
}

TEST(Descriptors, AreAsManyAsTheConnectionsThatFitTake) {
  for (const uint64_t connections : {1u, 2u, 7u, 8u, 100u, 16384u}) {
    const uint64_t descriptors = DescriptorsFor(connections, 1);
    EXPECT_EQ(ConnectionsThatFit(descriptors, 1), connections);
    if (connections > 1) {
      EXPECT_LT(ConnectionsThatFit(descriptors - 1, 1), connections);
    }
  }
}

// What the system has made room for, of this process.
uint64_t RoomForDescriptors() {
  std::ifstream status("/proc/self/status");
  std::string word;
  uint64_t room = 0;
  while (status >> word) {
    if (word == "FDSize:") status >> room;
  }
  return room;
}

TEST(Descriptors, AreReservedAndNoneStaysOpen) {
  const uint64_t limit = RaiseDescriptorLimit();
  ASSERT_GE(limit, 1500u);
  const int free = dup(0);
  close(free);
  ReserveDescriptors(1500);
  const uint64_t room = RoomForDescriptors();
  EXPECT_GE(room, 1500u);
  ReserveDescriptors(static_cast<uint32_t>(limit + 1));
  ReserveDescriptors(0);
  EXPECT_EQ(RoomForDescriptors(), room);
  const int still_free = dup(0);
  close(still_free);
  EXPECT_EQ(still_free, free);
  EXPECT_EQ(fcntl(1499, F_GETFD), -1);
}

TEST(Descriptors, TheSoftLimitIsRaisedToTheHardOne) {
  rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit lower = before;
  lower.rlim_cur = 100;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &lower), 0);
  EXPECT_EQ(RaiseDescriptorLimit(), before.rlim_max);
  rlimit after = {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &after), 0);
  EXPECT_EQ(after.rlim_cur, before.rlim_max);
  setrlimit(RLIMIT_NOFILE, &before);
}

}  // namespace
}  // namespace relay::server

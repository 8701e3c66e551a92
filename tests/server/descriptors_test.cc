#include "server/descriptors.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

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

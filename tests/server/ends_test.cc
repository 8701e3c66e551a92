#include "server/ends.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace relay::server {
namespace {

TEST(Ends, EachHasANameOfItsOwnAndWordsThatFit) {
  std::set<std::string_view> names;
  for (size_t i = 0; i < kEndCount; ++i) {
    const EndInfo& info = InfoOf(static_cast<End>(i));
    EXPECT_FALSE(info.name.empty()) << i;
    EXPECT_TRUE(names.insert(info.name).second) << info.name;
    EXPECT_LE(info.words.size(), 100u) << info.name;
    EXPECT_EQ(info.words.empty(), i == 0) << info.name;
    EXPECT_EQ(info.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz_"), std::string_view::npos) << info.name;
  }
}

// A table that shifted by one line would still pass above.
TEST(Ends, NamesStandAtTheirEnds) {
  const struct {
    End end;
    absl::StatusCode code;
    std::string_view name;
  } kCases[] = {
      {End::kNone, absl::StatusCode::kOk, "none"},
      {End::kDeadline, absl::StatusCode::kDeadlineExceeded, "deadline"},
      {End::kNoReceiver, absl::StatusCode::kUnavailable, "no_receiver"},
      {End::kStopping, absl::StatusCode::kUnavailable, "stopping"},
      {End::kSlotNotJoined, absl::StatusCode::kFailedPrecondition, "slot_not_joined"},
      {End::kIdLive, absl::StatusCode::kAlreadyExists, "id_live"},
      {End::kLeft, absl::StatusCode::kOk, "left"},
      {End::kTakenOver, absl::StatusCode::kAborted, "taken_over"},
      {End::kChannelLimit, absl::StatusCode::kResourceExhausted, "channel_limit"},
      {End::kPeerClosed, absl::StatusCode::kOk, "peer_closed"},
      {End::kBadVersion, absl::StatusCode::kUnimplemented, "bad_version"},
      {End::kHelloTimeout, absl::StatusCode::kDeadlineExceeded, "hello_timeout"},
      {End::kResetsPerSecond, absl::StatusCode::kResourceExhausted, "resets_per_second"},
  };
  for (const auto& test : kCases) {
    EXPECT_EQ(InfoOf(test.end).name, test.name);
    EXPECT_EQ(InfoOf(test.end).code, test.code) << test.name;
  }
}

}  // namespace
}  // namespace relay::server

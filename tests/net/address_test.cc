#include "net/address.h"

#include <gtest/gtest.h>

#include <string>

namespace relay::net {
namespace {

TEST(AddressTest, SpellingsSurviveTheRoundTrip) {
  for (const std::string text : {"tcp://127.0.0.1:7420", "tcp://relay.example.org:1", "tcp://[::1]:65535",
                                 "tcp://0.0.0.0:0", "unix:/run/relay.sock", "unix:relative"}) {
    const auto address = ParseAddress(text);
    ASSERT_TRUE(address.ok()) << address.status();
    EXPECT_EQ(ToString(*address), text);
  }
}

TEST(AddressTest, TakesBracketsOffTheHost) {
  const auto address = ParseAddress("tcp://[fe80::1]:80");
  ASSERT_TRUE(address.ok()) << address.status();
  EXPECT_EQ(address->host, "fe80::1");
  EXPECT_EQ(address->port, 80);
}

TEST(AddressTest, PortsEndAt65535) {
  EXPECT_TRUE(ParseAddress("tcp://h:65534").ok());
  EXPECT_TRUE(ParseAddress("tcp://h:65535").ok());
  EXPECT_FALSE(ParseAddress("tcp://h:65536").ok());
}

TEST(AddressTest, UnixPathsEndWhereTheSystemEndsThem) {
  EXPECT_TRUE(ParseAddress("unix:" + std::string(106, 'p')).ok());
  EXPECT_TRUE(ParseAddress("unix:" + std::string(107, 'p')).ok());
  EXPECT_FALSE(ParseAddress("unix:" + std::string(108, 'p')).ok());
}

TEST(AddressTest, RefusesWhatIsNoAddressAndNamesIt) {
  for (const std::string text :
       {"",           "localhost:80", "http://h:80", "tcp://",      "tcp://h",      "tcp://h:",
        "tcp://:80",  "tcp://h:-1",   "tcp://h: 1",  "tcp://h:1x",  "tcp://::1:80", "tcp://[::1]",
        "tcp://[::1", "tcp://[]:1",   "tcp://[h]:1", "tcp://a b:1", "tcp://u@h:1",  "tcp://h/x:1",
        "unix:",      "TCP://h:1"}) {
    const auto address = ParseAddress(text);
    ASSERT_FALSE(address.ok()) << text;
    EXPECT_EQ(address.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_NE(std::string(address.status().message()).find("\"" + text + "\""), std::string::npos) << address.status();
  }
}

}  // namespace
}  // namespace relay::net

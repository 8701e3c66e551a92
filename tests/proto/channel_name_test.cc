#include "proto/channel_name.h"

#include <gtest/gtest.h>

#include <string>

namespace relay::proto {
namespace {

using std::string_literals::operator""s;

// Made by Python's uuid module:
//   ns = uuid5(NAMESPACE_URL, "relay:channel")   8a833ae1-428a-5474-8fb8-bf61c4f7a88c
//   uuid5(ns, name)
TEST(ChannelId, IsVersionFiveOverTheNamespaceOfRelay) {
  EXPECT_EQ(ToString(ChannelId("thumbnails")), "3c8acc16-91a3-58eb-9819-bab9050bf706");
  EXPECT_EQ(ToString(ChannelId("a")), "b028216d-c050-5a0b-8d29-ab6bd68bdb96");
  EXPECT_EQ(ToString(ChannelId("jobs/eu-west-1")), "ed9404cc-1a0b-52e0-b63e-cad1de7ba1ab");
  EXPECT_EQ(ToString(ChannelId(" ")), "4c9c748d-ca3e-54a6-bc97-55dd0164a89c");
  EXPECT_EQ(ToString(ChannelId(std::string(255, 'x'))), "d8af085c-c0e9-5522-9920-557cb019360a");
  EXPECT_EQ(ToString(ChannelId("gr\xc3\xb6\xc3\x9f"s + "e")), "bb0741fd-bbe8-59d2-85c9-2e0dd115ff6a");
  EXPECT_EQ(ToString(ChannelId("\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e")), "cf1d7193-ef90-5abe-b266-e38a4352c15c");
  EXPECT_EQ(ToString(ChannelId("\xf0\x9f\x98\x80")), "22002efa-bf9c-5876-bceb-fa06e73b7685");
}

TEST(ChannelId, TakesATextThatParsesAsUuidForOne) {
  EXPECT_EQ(ToString(ChannelId("00112233-4455-6677-8899-AABBCCDDEEFF")), "00112233-4455-6677-8899-aabbccddeeff");
  EXPECT_EQ(ChannelId("00000000-0000-0000-0000-000000000000"), kNilUuid);
  EXPECT_NE(ToString(ChannelId("00112233445566778899aabbccddeeff")), "00112233-4455-6677-8899-aabbccddeeff");
}

TEST(ChannelName, HasOneTo255Bytes) {
  EXPECT_FALSE(CheckChannelName("").ok());
  EXPECT_TRUE(CheckChannelName("x").ok());
  EXPECT_TRUE(CheckChannelName(std::string(254, 'x')).ok());
  EXPECT_TRUE(CheckChannelName(std::string(255, 'x')).ok());
  const absl::Status status = CheckChannelName(std::string(256, 'x'));
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
}

TEST(ChannelName, CountsBytesNotCharacters) {
  std::string name;
  for (int i = 0; i < 127; ++i) name += "\xc3\xb6";  // 254 bytes
  EXPECT_TRUE(CheckChannelName(name).ok());
  EXPECT_FALSE(CheckChannelName(name + "\xc3\xb6").ok());
}

TEST(ChannelName, HasNoControlCharacters) {
  for (int c = 0; c < 0x80; ++c) {
    const std::string name = std::string("a") + static_cast<char>(c) + "b";
    EXPECT_EQ(CheckChannelName(name).ok(), c >= 0x20 && c != 0x7f) << c;
  }
}

TEST(ChannelName, HasNoControlCharactersOfTwoBytes) {
  for (int c = 0x80; c < 0xc0; ++c) {  // U+0080 to U+00BF
    const std::string name = "a\xc2"s + static_cast<char>(c) + "b";
    EXPECT_EQ(CheckChannelName(name).ok(), c >= 0xa0) << c;
  }
}

TEST(ChannelName, TakesEveryKindOfUtf8) {
  for (const std::string& name : {
           "\x7e"s, "\xc2\xa0"s,          // the first of two bytes that is no control character
           "\xdf\xbf"s,                   // the last of two
           "\xe0\xa0\x80"s,               // the first of three
           "\xed\x9f\xbf"s,               // the last before the surrogates
           "\xee\x80\x80"s,               // the first behind them
           "\xef\xbf\xbf"s,               // the last of three
           "\xf0\x90\x80\x80"s,           // the first of four
           "\xf4\x8f\xbf\xbf"s,           // U+10FFFF, the last of all
           "a\xc3\xa9\xf0\x9f\x98\x80z"s  // mixed
       }) {
    EXPECT_TRUE(CheckChannelName(name).ok()) << testing::PrintToString(name);
  }
}

TEST(ChannelName, RefusesEveryKindOfFalseUtf8) {
  for (const std::string& name : {
           "\x80"s,
           "\xbf"s,  // a continuation without its beginning
           "\xc0\x80"s,
           "\xc1\xbf"s,          // overlong, two bytes
           "\xe0\x80\x80"s,      // overlong, three
           "\xe0\x9f\xbf"s,      //
           "\xf0\x80\x80\x80"s,  // overlong, four
           "\xf0\x8f\xbf\xbf"s,  //
           "\xed\xa0\x80"s,      // surrogates
           "\xed\xbf\xbf"s,      //
           "\xf4\x90\x80\x80"s,  // past U+10FFFF
           "\xf5\x80\x80\x80"s,  //
           "\xfe"s,
           "\xff"s,  // never
           "\xc3"s,
           "\xe6\x97"s,      // cut short at the end
           "\xf0\x9f\x98"s,  //
           "\xc3z"s,
           "\xe6\x97z"s,      // cut short in the middle
           "\xf0\x9f\x98z"s,  //
           "\xc3\xc3"s,
           "ok then \x80"s  //
       }) {
    EXPECT_FALSE(CheckChannelName(name).ok()) << testing::PrintToString(name);
    EXPECT_FALSE(CheckChannelName("a" + name).ok()) << testing::PrintToString(name);
  }
}

}  // namespace
}  // namespace relay::proto

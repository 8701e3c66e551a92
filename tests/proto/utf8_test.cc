#include "proto/utf8.h"

#include <gtest/gtest.h>

#include <iterator>
#include <string>
#include <string_view>

namespace relay::proto {
namespace {

TEST(Utf8, TakesTheShortestFormOfEachCharacterAlone) {
  struct Case {
    std::string_view bytes;
    size_t length;
  };
  const Case cases[] = {
      {"a", 1},
      {"\x7f", 1},
      {"\xc2\x80", 2},          // U+0080, the first of two bytes
      {"\xc1\xbf", 0},          // U+007F in two
      {"\xe0\xa0\x80", 3},      // U+0800
      {"\xe0\x9f\xbf", 0},      // U+07FF in three
      {"\xed\x9f\xbf", 3},      // U+D7FF, before the surrogates
      {"\xed\xa0\x80", 0},      // U+D800, a surrogate
      {"\xf0\x90\x80\x80", 4},  // U+10000
      {"\xf0\x8f\xbf\xbf", 0},  // U+FFFF in four
      {"\xf4\x8f\xbf\xbf", 4},  // U+10FFFF, the last
      {"\xf4\x90\x80\x80", 0},  // U+110000
      {"\xf5\x80\x80\x80", 0},
      {"\x80", 0},      // in the middle of a character
      {"\xe2\x82", 0},  // cut off
      {"\xff", 0},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(CharacterBytes(c.bytes), c.length) << testing::PrintToString(c.bytes);
    EXPECT_EQ(IsUtf8(c.bytes), c.length == c.bytes.size()) << testing::PrintToString(c.bytes);
  }
}

TEST(Utf8, ReplacesWhatIsNone) {
  EXPECT_EQ(AsUtf8("gr\xc3\xbc\xc3"), "gr\xc3\xbc?");
  EXPECT_EQ(AsUtf8("\xff\xfe"), "??");
  EXPECT_EQ(AsUtf8(""), "");
}

TEST(Shortened, NeverCutsThroughACharacter) {
  const std::string text = "a\xc3\xb6\xf0\x9f\x98\x80z";  // 1, 2, 4 and 1 bytes
  const size_t kept[] = {0, 1, 1, 3, 3, 3, 3, 7, 8, 8};
  for (size_t most = 0; most < std::size(kept); ++most) {
    EXPECT_EQ(Shortened(text, most), text.substr(0, kept[most])) << most;
  }
}

}  // namespace
}  // namespace relay::proto

#include "tools/relay/text.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

namespace relay::tools {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

TEST(ParseDuration, TakesANumberAndItsUnit) {
  EXPECT_EQ(ParseDuration("250ms"), milliseconds(250));
  EXPECT_EQ(ParseDuration("30s"), seconds(30));
  EXPECT_EQ(ParseDuration("5m"), seconds(300));
  EXPECT_EQ(ParseDuration("2h"), seconds(7200));
  EXPECT_EQ(ParseDuration("1.5s"), milliseconds(1500));
  EXPECT_EQ(ParseDuration("0"), milliseconds(0));
  EXPECT_EQ(ParseDuration("0s"), milliseconds(0));
}

TEST(Counted, OneIsSingular) {
  EXPECT_EQ(Counted(0, "request"), "0 requests");
  EXPECT_EQ(Counted(1, "request"), "1 request");
  EXPECT_EQ(Counted(2, "request"), "2 requests");
}

TEST(ParseDuration, RefusesWhatIsNoTime) {
  for (const char* text :
       {"", "5", "s", "-1s", "+1s", " 1s", "1s ", "1 s", "1d", "1h30m", "1e3s", "nans", "infs", "0x1s"}) {
    EXPECT_EQ(ParseDuration(text), std::nullopt) << text;
  }
}

TEST(ParseDuration, TakesAsMuchAsTheWireHolds) {
  EXPECT_EQ(ParseDuration("4294967294ms"), milliseconds(4294967294));
  EXPECT_EQ(ParseDuration("4294967296ms"), std::nullopt);
  EXPECT_EQ(ParseDuration("99999999999999999999h"), std::nullopt);
}

TEST(FormatBytes, KeepsToTenCharacters) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(1023), "1023 B");
  EXPECT_EQ(FormatBytes(1024), "1.0 KiB");
  EXPECT_EQ(FormatBytes((1 << 20) - 1), "1.0 MiB");
  EXPECT_EQ(FormatBytes(uint64_t{2} << 30), "2.0 GiB");
  for (uint64_t bytes = 1; bytes != 0; bytes <<= 1) {
    EXPECT_LE(FormatBytes(bytes).size(), 10u) << bytes;
    EXPECT_LE(FormatBytes(bytes - 1).size(), 10u) << bytes;
  }
  EXPECT_EQ(FormatBytes(std::numeric_limits<uint64_t>::max()), "16.0 EiB");
}

TEST(FormatDuration, KeepsToNineCharacters) {
  EXPECT_EQ(FormatDuration(microseconds(123)), "0.12 ms");
  EXPECT_EQ(FormatDuration(microseconds(12345)), "12.3 ms");
  EXPECT_EQ(FormatDuration(microseconds(999'499)), "999.5 ms");
  EXPECT_EQ(FormatDuration(microseconds(999'501)), "1.0 s");
  EXPECT_EQ(FormatDuration(milliseconds(99'949)), "99.9 s");
  EXPECT_EQ(FormatDuration(milliseconds(99'951)), "1:39");
  EXPECT_EQ(FormatDuration(seconds(3599)), "59:59");
  EXPECT_EQ(FormatDuration(seconds(3600)), "1:00:00");
  EXPECT_EQ(FormatDuration(seconds(49 * 24 * 3600)), "1176:00:00");
}

TEST(Pad, AddsSpacesAndCutsNothing) {
  EXPECT_EQ(PadLeft("ab", 4), "  ab");
  EXPECT_EQ(PadRight("ab", 4), "ab  ");
  EXPECT_EQ(PadRight("\u00fc\u4e00", 4), "\u00fc\u4e00  ");
  EXPECT_EQ(PadLeft("abcdef", 4), "abcdef");
  EXPECT_EQ(PadRight("abcdef", 4), "abcdef");
}

TEST(Printable, LeavesTextAndTakesControlCharactersAndForeignBytesOut) {
  EXPECT_EQ(Printable("plain, gr\xc3\xbc\xc3\x9f, \xe2\x82\xac, \xf0\x9f\x99\x82", 100),
            "plain, gr\xc3\xbc\xc3\x9f, \xe2\x82\xac, \xf0\x9f\x99\x82");
  EXPECT_EQ(Printable("\x1b[31m\t\x7f\xc2\x9b", 100), "?[31m???");
  EXPECT_EQ(Printable("a\u202eb\u2066c\u200fd\u061c", 100), "a?b?c?d?");
  EXPECT_EQ(Printable("\u200d\u2030\u2070\u061d", 100), "\u200d\u2030\u2070\u061d");
  EXPECT_EQ(Printable("\xff\xc3", 100), "??");
  EXPECT_EQ(Printable("\xc0\xaf", 100), "??");            // overlong
  EXPECT_EQ(Printable("\xe0\x80\xaf", 100), "???");       // overlong
  EXPECT_EQ(Printable("\xed\xa0\x80", 100), "???");       // half of a surrogate pair
  EXPECT_EQ(Printable("\xf4\x90\x80\x80", 100), "????");  // beyond U+10FFFF
  EXPECT_EQ(Printable("\xe2\x82", 100), "??");            // cut short
}

TEST(Printable, CutsAtACharacter) {
  EXPECT_EQ(Printable("ab\xe2\x82\xac", 4), "ab");
  EXPECT_EQ(Printable("ab\xe2\x82\xac", 5), "ab\xe2\x82\xac");
  EXPECT_EQ(Printable("ab\xe2\x82\xac.", 5), "ab\xe2\x82\xac");
}

}  // namespace
}  // namespace relay::tools

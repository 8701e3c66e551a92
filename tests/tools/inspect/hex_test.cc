#include "tools/inspect/hex.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"

namespace relay::inspect {
namespace {

const std::string kSome("RELAY/1\n\x00\x00\x00\x02\x01", 13);

std::string Bytes(std::string_view text) {
  const auto dump = ParseHexDump(text);
  if (!dump.ok()) return dump.status().ToString();
  EXPECT_TRUE(dump->holes.empty());
  return dump->bytes;
}

TEST(Hex, TakesDigitsAlone) {
  EXPECT_EQ(Bytes("52454c41592f310a0000000201"), kSome);
  EXPECT_EQ(Bytes("52 45 4c 41 59 2f 31 0A\n  00 00 00 02 01\n"), kSome);
  EXPECT_EQ(Bytes(""), "");
}

TEST(Hex, TakesWhatXxdWrites) {
  EXPECT_EQ(Bytes("00000000: 5245 4c41 592f 310a 0000 0002 01         RELAY/1......\n"), kSome);
}

TEST(Hex, TakesWhatHexdumpWrites) {
  EXPECT_EQ(Bytes("00000000  52 45 4c 41 59 2f 31 0a  00 00 00 02 01           |RELAY/1......|\n0000000d\n"), kSome);
}

TEST(Hex, TakesWhatOdWrites) { EXPECT_EQ(Bytes("0000000 52 45 4c 41 59 2f 31 0a 00 00 00 02 01\n0000015\n"), kSome); }

TEST(Hex, TakesWhatInspectWrites) {
  EXPECT_EQ(Bytes("           0  52 45 4c 41 59 2f 31 0a  00 00 00 02 01           RELAY/1......\n"), kSome);
}

// 16 bytes of a kind, six of another, and how they are written with '*' for what repeats.
TEST(Hex, RepeatsALineForAStar) {
  const std::string want = std::string(64, '\0') + "RELAY/";
  EXPECT_EQ(Bytes("00000000  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|\n*\n"
                  "00000040  52 45 4c 41 59 2f                                 |RELAY/|\n00000046\n"),
            want);
  EXPECT_EQ(Bytes("0000000 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00\n*\n"
                  "0000100 52 45 4c 41 59 2f\n0000106\n"),
            want);
  EXPECT_EQ(Bytes("0000000 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00\n*\n"
                  "0000064 52 45 4c 41 59 2f\n0000070\n"),
            want);
  EXPECT_EQ(Bytes("00000000: 0000 0000 0000 0000 0000 0000 0000 0000  ................\n*\n"
                  "00000040: 5245 4c41 592f                           RELAY/\n"),
            want);
  EXPECT_EQ(ParseHexDump("52\n*\n53\n").status().message(),
            "--hex: line 2: '*' repeats a line up to an offset: both are needed");
  EXPECT_EQ(ParseHexDump("00000000  52 53\n*\nfffffffe  52\n").status().message(),
            "--hex: line 2: '*' repeats a line until there are more than 64 MiB");
}

TEST(Hex, KnowsOffsetsFromBytesAndTextFromBoth) {
  // Of 8 bytes, whose text looks like more of them; an offset of two digits.
  EXPECT_EQ(Bytes("          16  61 62 63 64 65 66 67 68                           abcdef12\n"
                  "          24  61                                                a\n"),
            "abcdefgha");
  EXPECT_EQ(Bytes("61 62\n63  64\n"), "abcd");
}

TEST(Hex, TellsOfLinesThatAreMissing) {
  const auto holes = [](std::string_view text) {
    std::string told;
    const auto dump = ParseHexDump(text);
    for (const auto& hole : dump->holes) absl::StrAppend(&told, hole.at, "+", hole.missing, " ");
    return told;
  };
  const std::string row = " 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f\n";
  EXPECT_EQ(holes("00000000" + row + "00000010" + row + "00000030" + row), "32+16 ");
  EXPECT_EQ(holes("00000010" + row + "00000030" + row), "16+16 ");
  EXPECT_EQ(holes("0000000" + row + "0000040" + row + "0000060" + row + "0000200\n"), "16+16 48+64 ");
  EXPECT_EQ(holes("        0 " + row + "       16 " + row + "       48 " + row + "       64  00 01\n       68  00\n"),
            "32+16 50+2 ");
  // Two dumps, one behind the other.
  EXPECT_EQ(holes("00000000" + row + "00000000" + row), "");
  EXPECT_EQ(ParseHexDump("00000000 " + row + "*\n00000040" + row + "00000060" + row)->bytes.size(), 64 + 16 + 16);
}

// What looks like bytes and is none.
TEST(Hex, RefusesBitsAndBytesThatAreTurnedRound) {
  const auto fault = [](std::string_view text) { return std::string(ParseHexDump(text).status().message()); };
  EXPECT_EQ(fault("00000000: 01010010 01000101 01001100 01000001 01011001 00101111  RELAY/\n"
                  "00000006: 00110001 00001010                                      1.\n"),
            "--hex: line 2: '00000006' is an offset inside of the line before: are these hexadecimal digits of bytes?");
  EXPECT_EQ(
      fault("00000000: 414c4552 0a312f59 00000000 00000000  RELAY/1.........\n"),
      "--hex: line 1: 'RELAY/1.........' stands beside other bytes: these are turned round, as xxd -e writes them; "
      "without -e they are not");
  EXPECT_EQ(fault("00000000: 4552 414c 2f59 0a31 0000 0000 0000 0000  RELAY/1.........\n").substr(0, 24),
            "--hex: line 1: 'RELAY/1.");
  EXPECT_EQ(Bytes("00000000: 52454c41 592f310a  RELAY/1.\n"), "RELAY/1\n");
}

TEST(Hex, SaysWhereItCannotBeRead) {
  const auto bytes = ParseHexDump("52 45\n52 4x\n");
  ASSERT_FALSE(bytes.ok());
  EXPECT_EQ(bytes.status().message(), "--hex: line 2: '4x' is no bytes in hexadecimal digits, two for each");
}

}  // namespace
}  // namespace relay::inspect

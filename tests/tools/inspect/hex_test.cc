#include "tools/inspect/hex.h"

#include <gtest/gtest.h>

#include <string>

namespace relay::inspect {
namespace {

const std::string kSome("RELAY/1\n\x00\x00\x00\x02\x01", 13);

TEST(Hex, TakesDigitsAlone) {
  EXPECT_EQ(*BytesOfHexDump("52454c41592f310a0000000201"), kSome);
  EXPECT_EQ(*BytesOfHexDump("52 45 4c 41 59 2f 31 0A\n  00 00 00 02 01\n"), kSome);
  EXPECT_EQ(*BytesOfHexDump(""), "");
}

TEST(Hex, TakesWhatXxdWrites) {
  EXPECT_EQ(*BytesOfHexDump("00000000: 5245 4c41 592f 310a 0000 0002 01         RELAY/1......\n"), kSome);
}

TEST(Hex, TakesWhatHexdumpWrites) {
  EXPECT_EQ(*BytesOfHexDump("00000000  52 45 4c 41 59 2f 31 0a  00 00 00 02 01           |RELAY/1......|\n0000000d\n"),
            kSome);
}

TEST(Hex, TakesWhatOdWrites) {
  EXPECT_EQ(*BytesOfHexDump("0000000 52 45 4c 41 59 2f 31 0a 00 00 00 02 01\n0000015\n"), kSome);
}

TEST(Hex, TakesWhatInspectWrites) {
  EXPECT_EQ(*BytesOfHexDump("           0  52 45 4c 41 59 2f 31 0a  00 00 00 02 01           RELAY/1......\n"), kSome);
}

TEST(Hex, SaysWhereItCannotBeRead) {
  const auto bytes = BytesOfHexDump("52 45\n52 4x\n");
  ASSERT_FALSE(bytes.ok());
  EXPECT_EQ(bytes.status().message(), "--hex: line 2: '4x' is no bytes in hexadecimal digits, two for each");
}

}  // namespace
}  // namespace relay::inspect

#include "proto/uuid.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>

namespace relay::proto {
namespace {

constexpr std::string_view kText = "00112233-4455-6677-8899-aabbccddeeff";

TEST(Uuid, ParsesTheCanonicalFormInEitherCase) {
  const auto id = ParseUuid(kText);
  ASSERT_TRUE(id.has_value());
  for (size_t i = 0; i < kUuidBytes; ++i) EXPECT_EQ(id->data[i], 0x11 * i);
  EXPECT_EQ(ParseUuid("00112233-4455-6677-8899-AABBCCDDEEFF"), id);
  EXPECT_EQ(ToString(*id), kText);
}

TEST(Uuid, ParsesTheNilId) {
  EXPECT_EQ(ParseUuid("00000000-0000-0000-0000-000000000000"), kNilUuid);
  EXPECT_EQ(ToString(kNilUuid), "00000000-0000-0000-0000-000000000000");
}

TEST(Uuid, ParsesNothingElse) {
  EXPECT_FALSE(ParseUuid("").has_value());
  EXPECT_FALSE(ParseUuid("{00112233-4455-6677-8899-aabbccddeeff}").has_value());
  EXPECT_FALSE(ParseUuid("00112233445566778899aabbccddeeff").has_value());
  EXPECT_FALSE(ParseUuid(" 0112233-4455-6677-8899-aabbccddeeff").has_value());
  EXPECT_FALSE(ParseUuid(std::string(kText) + "0").has_value());
  EXPECT_FALSE(ParseUuid(kText.substr(0, 35)).has_value());
  // Every place of the text, with something that does not belong there.
  for (size_t i = 0; i < kText.size(); ++i) {
    for (const char wrong : {'g', 'G', ' ', '\0', ':', '\x80', kText[i] == '-' ? '0' : '-'}) {
      std::string text(kText);
      text[i] = wrong;
      EXPECT_FALSE(ParseUuid(text).has_value()) << text;
    }
  }
}

TEST(Uuid, IsTakenFromSixteenBytesAndNoOtherNumber) {
  const std::string bytes = "0123456789abcdef";
  const auto id = UuidFromBytes(bytes);
  ASSERT_TRUE(id.has_value());
  EXPECT_EQ(BytesOf(*id), bytes);
  for (const size_t wrong : {0u, 1u, 15u, 17u, 32u}) {
    EXPECT_FALSE(UuidFromBytes(std::string(wrong, 'x')).has_value()) << wrong;
  }
}

TEST(Uuid, NewOnesAreOfVersionFourAndDiffer) {
  std::set<Uuid> seen;
  for (int i = 0; i < 10000; ++i) {
    const Uuid id = NewUuid();
    EXPECT_EQ(id.data[6] >> 4, 4);     // version
    EXPECT_EQ(id.data[8] >> 6, 0b10);  // variant of RFC 9562
    seen.insert(id);
  }
  EXPECT_EQ(seen.size(), 10000u);
}

TEST(Uuid, HashDependsOnBothHalves) {
  Uuid a = NewUuid();
  Uuid b = a;
  b.data[0] ^= 1;
  Uuid c = a;
  c.data[15] ^= 1;
  const UuidHash hash;
  EXPECT_EQ(hash(a), hash(Uuid(a)));
  EXPECT_NE(hash(a), hash(b));
  EXPECT_NE(hash(a), hash(c));
}

TEST(Uuid, SecretsAreOfTheRandomVersionAndDiffer) {
  std::set<std::string> drawn;
  for (int i = 0; i < 100; ++i) {
    const Uuid secret = NewSecret();
    EXPECT_EQ(secret.version(), Uuid::version_random_number_based);
    EXPECT_EQ(secret.variant(), Uuid::variant_rfc_4122);
    drawn.insert(ToString(secret));
  }
  EXPECT_EQ(drawn.size(), 100u);
}

}  // namespace
}  // namespace relay::proto

#include "proto/start_block.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>

namespace relay::proto {
namespace {

std::span<uint8_t> Span(std::string& text) { return {reinterpret_cast<uint8_t*>(text.data()), text.size()}; }

TEST(StartBlock, IsReadAsTheProtocolDrawsIt) {
  std::string payload(
      "\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff"  // the other side's client id
      "\x00\x00\x75\x30"                                                  // timeout: 30000 ms
      "\x01\x02\x03\x04"                                                  // 16909060 us in the queue
      "\x00\x02"                                                          // attempt 2
      "\x00\x03"                                                          // 3 bytes of Start
      "\x80\x00\x00\x01"                                                  // extension: at most 2147483649 ms
      "\xff\xff\xff\xff\xff\xff\xff\xff"                                  // kept for later
      "ABC"
      "body",
      47);
  const StartBlock block(Span(payload));
  EXPECT_EQ(ToString(block.other_client()), "00112233-4455-6677-8899-aabbccddeeff");
  EXPECT_EQ(block.timeout_ms(), 30000u);
  EXPECT_EQ(block.queue_wait_us(), 16909060u);
  EXPECT_EQ(block.attempt(), 2);
  EXPECT_EQ(block.start_bytes(), 3);
  EXPECT_EQ(block.max_extension_ms(), 2147483649u);
  EXPECT_EQ(block.start(), "ABC");
  EXPECT_EQ(std::string(block.body().begin(), block.body().end()), "body");
}

TEST(StartBlock, IsWrittenInPlaceAndNowhereElse) {
  std::string payload(43, '\x55');
  StartBlock block(Span(payload));
  block.set_other_client(*ParseUuid("00112233-4455-6677-8899-aabbccddeeff"));
  block.set_timeout_ms(0x01020304);
  block.set_queue_wait_us(0xfffefdfc);
  block.set_attempt(0x0a0b);
  block.set_start_bytes(0x0003);
  block.set_max_extension_ms(0x11121314);
  EXPECT_EQ(payload, std::string("\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff"
                                 "\x01\x02\x03\x04\xff\xfe\xfd\xfc\x0a\x0b\x00\x03\x11\x12\x13\x14"
                                 "\x55\x55\x55\x55\x55\x55\x55\x55\x55\x55\x55",
                                 43));
}

std::string PayloadOf(size_t bytes, uint16_t start_bytes = 0) {
  std::string payload(bytes, '\0');
  if (bytes >= kStartBlockBytes) StartBlock(Span(payload)).set_start_bytes(start_bytes);
  return payload;
}

TEST(CheckStart, WantsTheWholeBlock) {
  for (const bool is_response : {false, true}) {
    for (size_t bytes = 0; bytes < kStartBlockBytes; ++bytes) {
      std::string payload = PayloadOf(bytes);
      EXPECT_EQ(CheckStart(Span(payload), is_response), StartFault::kShorterThanBlock) << bytes;
    }
    std::string payload = PayloadOf(kStartBlockBytes);
    EXPECT_EQ(CheckStart(Span(payload), is_response), StartFault::kNone);
  }
}

TEST(CheckStart, WantsTheStartThatTheBlockAnnounces) {
  for (const uint16_t start_bytes : std::initializer_list<uint16_t>{1, 2, 4096, 65535}) {
    std::string less = PayloadOf(kStartBlockBytes + start_bytes - 1, start_bytes);
    EXPECT_EQ(CheckStart(Span(less), false), StartFault::kShorterThanStart) << start_bytes;
    std::string exact = PayloadOf(kStartBlockBytes + start_bytes, start_bytes);
    EXPECT_EQ(CheckStart(Span(exact), false), StartFault::kNone) << start_bytes;
    EXPECT_TRUE(StartBlock(Span(exact)).body().empty());
    std::string more = PayloadOf(kStartBlockBytes + start_bytes + 1, start_bytes);
    EXPECT_EQ(CheckStart(Span(more), false), StartFault::kNone) << start_bytes;
    EXPECT_EQ(StartBlock(Span(more)).body().size(), 1u);
  }
}

TEST(CheckStart, WantsEachByteByItsOwner) {
  for (const bool is_response : {false, true}) {
    for (size_t at = 0; at < kStartBlockBytes; ++at) {
      if (at == 26 || at == 27) continue;  // the length of Start
      std::string payload = PayloadOf(kStartBlockBytes);
      payload[at] = '\x01';
      StartFault expected = StartFault::kNone;
      if (at <= 15 || (at >= 20 && at <= 25)) expected = StartFault::kServerFieldsSet;
      const bool is_time = (at >= 16 && at <= 19) || (at >= 28 && at <= 31);
      if (is_time && is_response) expected = StartFault::kTimeoutOnResponse;
      EXPECT_EQ(CheckStart(Span(payload), is_response), expected) << at << (is_response ? " response" : " request");
    }
  }
}

TEST(CheckStart, SaysEachRuleInAtMost100Bytes) {
  for (int fault = 1; fault <= static_cast<int>(StartFault::kTimeoutOnResponse); ++fault) {
    const std::string_view rule = RuleOf(static_cast<StartFault>(fault));
    EXPECT_FALSE(rule.empty());
    EXPECT_LE(rule.size(), 100u) << rule;
  }
  EXPECT_EQ(RuleOf(StartFault::kNone), "");
}

}  // namespace
}  // namespace relay::proto

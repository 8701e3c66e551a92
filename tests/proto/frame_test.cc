// The header: literal bytes, and every flag, slot and id rule for every type, against a statement of PROTOCOL.md's
// tables that shares nothing with the code's.

#include "proto/frame.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <vector>

namespace relay::proto {
namespace {

const Uuid kId = *ParseUuid("00112233-4455-6677-8899-aabbccddeeff");

std::string Built(FrameType type, uint8_t flags, uint16_t slot, const Uuid& id, std::string_view payload) {
  std::string out;
  AppendFrame(out, type, flags, slot, id, payload);
  return out;
}

Frame ViewOf(std::string& bytes) { return Frame({reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()}); }

TEST(Frame, IsWrittenAsTheProtocolDrawsIt) {
  const uint8_t expected[] = {
      0x00, 0x00, 0x00, 0x03,                          // 3 bytes of payload
      0x07,                                            // CHUNK
      0x05,                                            // REQUEST, FIN
      0x01, 0x02,                                      // slot 258
      0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,  // request id
      0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff,  //
      'a',  'b',  'c',                                 // payload
  };
  const std::string written = Built(FrameType::kChunk, flag::kRequest | flag::kFin, 258, kId, "abc");
  EXPECT_EQ(written, std::string(reinterpret_cast<const char*>(expected), sizeof(expected)));
}

TEST(Frame, IsReadAsTheProtocolDrawsIt) {
  std::string bytes(
      "\x00\x00\x00\x08"                                                  // 8 bytes of payload
      "\x09"                                                              // WINDOW
      "\x02"                                                              // RESPONSE
      "\xff\xff"                                                          // slot 65535
      "\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff"  // request id
      "\x00\x00\x00\x00\x00\x04\x00\x00",                                 // 262144
      32);
  const Frame frame = ViewOf(bytes);
  EXPECT_TRUE(frame.has_known_type());
  EXPECT_EQ(frame.type(), FrameType::kWindow);
  EXPECT_EQ(frame.flags(), flag::kResponse);
  EXPECT_TRUE(frame.has(flag::kResponse));
  EXPECT_FALSE(frame.has(flag::kRequest | flag::kFin));
  EXPECT_EQ(frame.slot(), 65535);
  EXPECT_EQ(frame.id(), kId);
  EXPECT_EQ(frame.payload().size(), 8u);
  EXPECT_EQ(LoadBig<uint64_t>(frame.payload().data()), 262144u);
  EXPECT_EQ(frame.payload_text(), bytes.substr(24));
}

TEST(Frame, IsRewrittenInPlaceAndNowhereElse) {
  std::string bytes = Built(FrameType::kEnd, flag::kResponse | flag::kReceive, 7, kId, "payload");
  const std::string before = bytes;
  Frame frame = ViewOf(bytes);
  frame.set_slot(0x1234);
  frame.set_flags(flag::kResponse);
  std::string expected = before;
  expected[5] = '\x02';
  expected[6] = '\x12';
  expected[7] = '\x34';
  EXPECT_EQ(bytes, expected);
}

TEST(Frame, KnowsTheTypesOneToSixteen) {
  std::string bytes = Built(FrameType::kHello, 0, 0, kNilUuid, "");
  for (int type = 0; type < 256; ++type) {
    bytes[4] = static_cast<char>(type);
    EXPECT_EQ(ViewOf(bytes).has_known_type(), type >= 1 && type <= 16) << type;
  }
}

TEST(Frame, TypesBearTheNamesAndNumbersOfTheProtocol) {
  const std::vector<std::string_view> names = {"HELLO",  "WELCOME", "JOIN",    "LEAVE", "RECEIVE", "START",
                                               "CHUNK",  "END",     "WINDOW",  "RESET", "PING",    "PONG",
                                               "GOAWAY", "EXTEND",  "OBSERVE", "MIRROR"};
  for (size_t i = 0; i < names.size(); ++i) EXPECT_EQ(NameOf(static_cast<FrameType>(i + 1)), names[i]);
  EXPECT_EQ(NameOf(static_cast<FrameType>(17)), "?");
  EXPECT_EQ(NameOf(static_cast<FrameType>(0)), "?");
  EXPECT_EQ(NameOf(static_cast<FrameType>(255)), "?");
}

TEST(Frame, CostsAreThoseOfTheProtocol) {
  EXPECT_EQ(ChunkCost(0), 24u);
  EXPECT_EQ(ChunkCost(1), 25u);
  EXPECT_EQ(ChunkCost(131072), 131096u);
  EXPECT_EQ(StartCost(0), 0u);
  EXPECT_EQ(StartCost(1), 25u);
}

// ---- The rules of the header, said again --------------------------------------------------------------------------

bool FlagsAreInOrder(int type, int flags) {
  const bool request = flags & 0x01;
  const bool response = flags & 0x02;
  const bool fin = flags & 0x04;
  const bool idempotent = flags & 0x08;
  const bool require_receiver = flags & 0x10;
  const bool receive = flags & 0x20;
  if (flags & 0xc0) return false;  // "Bits not named are zero"
  const bool is_start = type == 6;
  const bool is_chunk = type == 7;
  const bool is_end = type == 8;
  const bool is_window = type == 9;
  if (!is_start && !is_chunk && !is_end && !is_window) return flags == 0;  // "no flag on the other types"
  if (request == response) return false;                                   // "Exactly one of REQUEST and RESPONSE"
  if (fin && !is_start && !is_chunk) return false;
  if ((idempotent || require_receiver) && !(is_start && request)) return false;
  if (receive) {  // "the frame that ends a RESPONSE stream": "only on END, or beside FIN"
    if (!response) return false;
    if (!is_end && !fin) return false;
  }
  return true;
}

enum class Place { kNone, kBelongs, kEither };

// "HELLO WELCOME PING PONG GOAWAY bear slot 0 and the nil id; JOIN and RECEIVE a slot of 1 or more and the nil id;
// LEAVE a slot and, in the id's place, the client id; the rest bear both (a RESET that answers a RECEIVE bears the nil
// id)."
Place SlotOf(int type) {
  for (const int of_connection : {1, 2, 11, 12, 13}) {
    if (type == of_connection) return Place::kNone;
  }
  return Place::kBelongs;
}

Place IdOf(int type) {
  for (const int without : {1, 2, 3, 5, 11, 12, 13}) {
    if (type == without) return Place::kNone;
  }
  return type == 10 ? Place::kEither : Place::kBelongs;
}

bool Obeys(Place place, bool is_set) { return place == Place::kEither || is_set == (place == Place::kBelongs); }

TEST(CheckHeader, AcceptsExactlyWhatTheTablesAllow) {
  size_t accepted = 0;
  for (int type = 1; type <= 13; ++type) {
    for (int flags = 0; flags < 256; ++flags) {
      for (const uint16_t slot : std::initializer_list<uint16_t>{0, 1, 65535}) {
        for (const Uuid& id : {kNilUuid, kId}) {
          std::string bytes = Built(static_cast<FrameType>(type), static_cast<uint8_t>(flags), slot, id, "");
          const bool expected =
              FlagsAreInOrder(type, flags) && Obeys(SlotOf(type), slot != 0) && Obeys(IdOf(type), id != kNilUuid);
          const HeaderFault fault = CheckHeader(ViewOf(bytes));
          EXPECT_EQ(fault == HeaderFault::kNone, expected)
              << NameOf(static_cast<FrameType>(type)) << " flags " << flags << " slot " << slot;
          accepted += expected ? 1 : 0;
        }
      }
    }
  }
  // HELLO WELCOME PING PONG GOAWAY: 1 each. JOIN LEAVE RECEIVE: 2 slots each. RESET: 2 slots x 2 ids. WINDOW: 2
  // directions x 2 slots. START: REQUEST x 8, RESPONSE x (plain, FIN, FIN RECEIVE), by 2 slots. CHUNK: REQUEST x 2,
  // RESPONSE x 3. END: REQUEST, RESPONSE, RESPONSE RECEIVE.
  EXPECT_EQ(accepted, 5u + 6u + 4u + 4u + 22u + 10u + 6u);
}

TEST(CheckHeader, NamesTheRuleThatIsBroken) {
  const struct {
    FrameType type;
    uint8_t flags;
    uint16_t slot;
    Uuid id;
    HeaderFault fault;
  } kCases[] = {
      {FrameType::kChunk, 0x41, 1, kId, HeaderFault::kUnknownFlag},
      {FrameType::kPing, 0x80, 0, kNilUuid, HeaderFault::kUnknownFlag},
      {FrameType::kStart, 0x00, 1, kId, HeaderFault::kDirectionMissing},
      {FrameType::kEnd, 0x03, 1, kId, HeaderFault::kDirectionMissing},
      {FrameType::kHello, flag::kRequest, 0, kNilUuid, HeaderFault::kFlagMisplaced},
      {FrameType::kEnd, flag::kRequest | flag::kFin, 1, kId, HeaderFault::kFlagMisplaced},
      {FrameType::kStart, flag::kResponse | flag::kIdempotent, 1, kId, HeaderFault::kFlagMisplaced},
      {FrameType::kEnd, flag::kRequest | flag::kReceive, 1, kId, HeaderFault::kFlagMisplaced},
      {FrameType::kChunk, flag::kResponse | flag::kReceive, 1, kId, HeaderFault::kFlagMisplaced},
      {FrameType::kJoin, 0, 0, kNilUuid, HeaderFault::kSlotMissing},
      {FrameType::kReset, 0, 0, kId, HeaderFault::kSlotMissing},
      {FrameType::kGoaway, 0, 1, kNilUuid, HeaderFault::kSlotMisplaced},
      {FrameType::kLeave, 0, 1, kNilUuid, HeaderFault::kIdMissing},
      {FrameType::kWindow, flag::kRequest, 1, kNilUuid, HeaderFault::kIdMissing},
      {FrameType::kReceive, 0, 1, kId, HeaderFault::kIdMisplaced},
      {FrameType::kWelcome, 0, 0, kId, HeaderFault::kIdMisplaced},
  };
  for (const auto& test : kCases) {
    std::string bytes = Built(test.type, test.flags, test.slot, test.id, "");
    EXPECT_EQ(CheckHeader(ViewOf(bytes)), test.fault) << NameOf(test.type) << int{test.flags};
  }
}

TEST(CheckHeader, SaysEachRuleInAtMost100Bytes) {
  for (int fault = 1; fault <= static_cast<int>(HeaderFault::kIdMisplaced); ++fault) {
    const std::string_view rule = RuleOf(static_cast<HeaderFault>(fault));
    EXPECT_FALSE(rule.empty()) << fault;
    EXPECT_LE(rule.size(), 100u) << rule;
  }
  EXPECT_EQ(RuleOf(HeaderFault::kNone), "");
}

}  // namespace
}  // namespace relay::proto

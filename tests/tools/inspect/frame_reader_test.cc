#include "tools/inspect/frame_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "told.h"

namespace relay::inspect {
namespace {

using server::ChunkFrame;
using server::PingFrame;
using testing::ElementsAre;
namespace flag = proto::flag;

const std::string kGreeting = std::string(proto::kPreface) + server::HelloFrame();

TEST(FrameReader, SaysTheSameInWhateverPiecesBytesCome) {
  const std::string stream =
      kGreeting + PingFrame(1) + server::JoinFrame(1, server::Id(1), "jobs") + PingFrame(2) + std::string(7, '\x01');
  Told whole;
  whole.Up(stream);
  whole.EndAll();
  for (size_t size = 1; size < 40; ++size) {
    Told pieces;
    for (size_t at = 0; at < stream.size(); at += size) pieces.Up(stream.substr(at, size));
    pieces.EndAll();
    Told again;
    again.Up(stream);
    again.EndAll();
    EXPECT_EQ(pieces.Take(), again.Take()) << size;
  }
  const std::string held = std::to_string(stream.size() - 7);
  EXPECT_THAT(whole.Take(), ElementsAre("preface", "HELLO", "PING", "JOIN", "PING", "skipped " + held + "+7"));
}

TEST(FrameReader, TellsOfAWrongPrefaceAndSkipsTheRest) {
  Told told;
  told.Up("GET / HTTP/1.1\r\n");
  told.Up(PingFrame());
  told.EndAll();
  EXPECT_THAT(told.Take(), ElementsAre("damage@0 !bad_preface", "skipped 0+48"));
}

TEST(FrameReader, TellsOfALengthOverTheLimitWhereItStands) {
  Told told;
  told.Up(kGreeting);
  told.Down(WelcomeFrame());
  told.Take();
  const size_t at = kGreeting.size();
  told.Up(ChunkFrame(flag::kRequest, 1, server::Id(1), std::string(65536, 'x')));
  told.Up(ChunkFrame(flag::kRequest, 1, server::Id(1), std::string(65537, 'x')));
  told.Up(PingFrame());
  told.EndAll();
  const size_t bad = at + 24 + 65536;
  EXPECT_THAT(told.Take(), ElementsAre("CHUNK !not_started", "damage@" + std::to_string(bad) + " !payload_too_large",
                                       "skipped " + std::to_string(bad) + "+" + std::to_string(24 + 65537 + 32)));
}

TEST(FrameReader, FindsTheNextHeaderBehindDamage) {
  Told told(/*resync=*/true);
  told.Up(kGreeting);
  told.Down(WelcomeFrame());
  told.Take();
  const std::string noise = "\xff\xff\xff\xff and so on, and so on, for a while";
  told.Up(noise + PingFrame(1) + PingFrame(2));
  told.EndAll();
  const std::string at = std::to_string(kGreeting.size());
  EXPECT_THAT(told.Take(), ElementsAre("damage@" + at + " !payload_too_large",
                                       "skipped " + at + "+" + std::to_string(noise.size()), "PING", "PING"));
}

// A frame whose flags are wrong has a length all the same: what looks like a header in its payload is none.
TEST(FrameReader, SearchesNoFrameWhoseLengthIsSound) {
  std::string broken = ChunkFrame(flag::kRequest, 1, server::Id(1), PingFrame(1) + PingFrame(2));
  broken[5] = static_cast<char>(flag::kIdempotent | flag::kRequest);
  for (const bool resyncs : {false, true}) {
    Told told(resyncs);
    told.Up(kGreeting + broken + PingFrame(3));
    told.EndAll();
    EXPECT_THAT(told.Take(), ElementsAre("preface", "HELLO", "CHUNK !bad_header", "PING"));
  }
}

TEST(FrameReader, FindsTheFirstFrameOfACaptureThatBeginsInsideOfOne) {
  Told told(/*resync=*/false, /*from_start=*/false);
  const std::string chunk = ChunkFrame(flag::kRequest, 1, server::Id(1), std::string(100, 'x'));
  told.Up(chunk.substr(50) + PingFrame(1));
  told.EndAll();
  EXPECT_THAT(told.Take(), ElementsAre("skipped 0+74", "PING"));
}

TEST(FrameReader, StaysInStepOverAGapInsideOfAPayload) {
  Told told;
  told.Up(kGreeting);
  told.Take();
  const std::string chunk = ChunkFrame(flag::kRequest, 1, server::Id(1), std::string(100, 'x'));
  told.Up(chunk.substr(0, 60));
  told.Gap(Direction::kToServer, 40);
  told.Up(chunk.substr(100) + PingFrame());
  told.EndAll();
  EXPECT_THAT(told.Take(), ElementsAre("CHUNK !not_started", "PING"));
}

TEST(FrameReader, LooksForTheNextFrameBehindAnyOtherGap) {
  Told told;
  told.Up(kGreeting);
  told.Take();
  const std::string chunk = ChunkFrame(flag::kRequest, 1, server::Id(1), std::string(100, 'x'));
  told.Up(chunk.substr(0, 60));
  told.Gap(Direction::kToServer, 200);
  told.Up(std::string(30, 'x') + PingFrame());
  told.Gap(Direction::kToServer, 0);
  told.Up(PingFrame());
  told.EndAll();
  const size_t at = kGreeting.size();  // where the gap begins, the header has said how far the frame reaches
  EXPECT_THAT(told.Take(), ElementsAre("CHUNK !not_started", "gap " + std::to_string(at + 124) + "+136",
                                       "skipped " + std::to_string(at + 260) + "+30", "PING",
                                       "gap " + std::to_string(at + 322) + "+0", "PING"));
  EXPECT_FALSE(told.totals().is_clean());
}

TEST(FrameReader, DecodesAPayloadThatIsLargerThanWhatIsKeptOfIt) {
  Told told(/*resync=*/false, /*from_start=*/true);
  told.Up(kGreeting);
  told.Take();
  told.Up(ChunkFrame(flag::kRequest, 1, server::Id(1), std::string(FrameReader::kKeptPayloadBytes + 100, 'x')) +
          PingFrame());
  told.EndAll();
  EXPECT_THAT(told.Take(), ElementsAre("CHUNK !payload_before_welcome", "PING"));
  EXPECT_EQ(told.totals().skipped_bytes, 0u);
}

}  // namespace
}  // namespace relay::inspect

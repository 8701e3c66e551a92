#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "proto/frame.h"

namespace relay::proto {
namespace {

constexpr uint32_t kMost = 64 * 1024;

// A copy of `text` in memory of exactly its size, so that a sanitizer sees a read behind it.
class Exact {
 public:
  explicit Exact(std::string_view text) : size_(text.size()), bytes_(std::make_unique<uint8_t[]>(text.size())) {
    if (!text.empty()) std::memcpy(bytes_.get(), text.data(), text.size());
  }
  std::span<uint8_t> span() { return {bytes_.get(), size_}; }

 private:
  size_t size_;
  std::unique_ptr<uint8_t[]> bytes_;
};

std::string Header(uint32_t declared_bytes) {
  std::string header(kHeaderBytes, '\0');
  WriteHeader(reinterpret_cast<uint8_t*>(header.data()), declared_bytes, FrameType::kChunk, flag::kRequest, 1,
              NewUuid());
  return header;
}

Decoded Decode(std::string_view text, Frame* out = nullptr) {
  Exact exact(text);
  Frame frame;
  const Decoded decoded = DecodeFrame(exact.span(), kMost, out == nullptr ? frame : *out);
  return decoded;
}

TEST(DecodeFrame, TakesADeclaredLengthOfNothing) {
  Exact exact(Header(0));
  Frame frame;
  ASSERT_EQ(DecodeFrame(exact.span(), kMost, frame), Decoded::kFrame);
  EXPECT_EQ(frame.bytes().size(), kHeaderBytes);
  EXPECT_TRUE(frame.payload().empty());
}

TEST(DecodeFrame, TakesADeclaredLengthOfTheLimit) {
  Exact exact(Header(kMost) + std::string(kMost, 'x'));
  Frame frame;
  ASSERT_EQ(DecodeFrame(exact.span(), kMost, frame), Decoded::kFrame);
  EXPECT_EQ(frame.payload().size(), kMost);
}

TEST(DecodeFrame, TakesOneLessThanTheLimit) {
  EXPECT_EQ(Decode(Header(kMost - 1) + std::string(kMost - 1, 'x')), Decoded::kFrame);
}

TEST(DecodeFrame, RefusesADeclaredLengthOverTheLimitOnItsFirstFourBytes) {
  for (const uint32_t declared : {kMost + 1, 0x7fffffffu, 0x80000000u, 0xffffffe8u, 0xffffffffu}) {
    const std::string header = Header(declared);
    for (size_t bytes = 0; bytes < 4; ++bytes) EXPECT_EQ(Decode(header.substr(0, bytes)), Decoded::kNeedMore);
    for (size_t bytes = 4; bytes <= header.size(); ++bytes) {
      EXPECT_EQ(Decode(header.substr(0, bytes)), Decoded::kTooLarge) << declared << " " << bytes;
    }
  }
}

TEST(DecodeFrame, NeedsMoreAtEverySplit) {
  const std::string whole = Header(100) + std::string(100, 'x');
  for (size_t bytes = 0; bytes < whole.size(); ++bytes) {
    EXPECT_EQ(Decode(whole.substr(0, bytes)), Decoded::kNeedMore) << bytes;
  }
  EXPECT_EQ(Decode(whole), Decoded::kFrame);
}

TEST(DecodeFrame, LeavesTheFrameAloneWhereThereIsNone) {
  std::string before_bytes = Header(0);
  const Frame before({reinterpret_cast<uint8_t*>(before_bytes.data()), before_bytes.size()});
  for (const std::string& input : {std::string(), Header(5), Header(kMost + 1)}) {
    Frame frame = before;
    Exact exact(input);
    DecodeFrame(exact.span(), kMost, frame);
    EXPECT_EQ(frame.bytes().data(), before.bytes().data());
    EXPECT_EQ(frame.bytes().size(), before.bytes().size());
  }
}

TEST(DecodeFrame, TakesTheFirstOfSeveralAndNothingBehindIt) {
  std::string text = Header(3) + "abc" + Header(kMost + 1);
  const std::span<uint8_t> bytes(reinterpret_cast<uint8_t*>(text.data()), text.size());
  Frame frame;
  ASSERT_EQ(DecodeFrame(bytes, kMost, frame), Decoded::kFrame);
  EXPECT_EQ(frame.bytes().data(), bytes.data());
  EXPECT_EQ(frame.payload_text(), "abc");
}

std::vector<std::string> DecodeAll(std::string& kept, std::string_view more) {
  std::vector<std::string> frames;
  Exact exact(kept + std::string(more));
  std::span<uint8_t> rest = exact.span();
  Frame frame;
  while (DecodeFrame(rest, kMost, frame) == Decoded::kFrame) {
    frames.emplace_back(reinterpret_cast<const char*>(frame.bytes().data()), frame.bytes().size());
    rest = rest.subspan(frame.bytes().size());
  }
  kept.assign(reinterpret_cast<const char*>(rest.data()), rest.size());
  return frames;
}

TEST(DecodeFrame, FindsTheSameFramesWholeAndInPieces) {
  std::string stream;
  std::vector<std::string> expected;
  for (const size_t payload_bytes : {0u, 1u, 23u, 24u, 25u, 100u, 0u, 0u, 333u}) {
    expected.push_back(Header(static_cast<uint32_t>(payload_bytes)) + std::string(payload_bytes, 'p'));
    stream += expected.back();
  }
  std::string kept;
  EXPECT_EQ(DecodeAll(kept, stream), expected);
  EXPECT_EQ(kept, "");
  for (size_t piece = 1; piece <= 60; ++piece) {
    std::vector<std::string> frames;
    for (size_t at = 0; at < stream.size(); at += piece) {
      for (std::string& frame : DecodeAll(kept, std::string_view(stream).substr(at, piece))) frames.push_back(frame);
    }
    EXPECT_EQ(frames, expected) << "in pieces of " << piece;
    EXPECT_EQ(kept, "");
  }
  for (size_t cut = 0; cut <= stream.size(); ++cut) {
    std::vector<std::string> frames = DecodeAll(kept, std::string_view(stream).substr(0, cut));
    for (std::string& frame : DecodeAll(kept, std::string_view(stream).substr(cut))) frames.push_back(frame);
    EXPECT_EQ(frames, expected) << "cut at " << cut;
  }
}

}  // namespace
}  // namespace relay::proto

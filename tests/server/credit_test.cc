// Credit: what a stream may cost, and how WINDOW raises it (PROTOCOL.md, "Credit").

#include <gtest/gtest.h>

#include <string>

#include "driver.h"

namespace relay::server {
namespace {

using proto::FrameType;
namespace flag = proto::flag;

constexpr uint32_t kWindow = 64 * kKiB;

class CreditTest : public testing::TestWithParam<uint8_t> {
 protected:
  CreditTest() : driver_(SmallLimits()) {
    receiver_ = &driver_.Joined("c");
    receiver_->Send(ReceiveFrame(1));
    sender_ = &driver_.Joined("c");
    sender_->Send(StartFrame(flag::kRequest, 1, Id(9)));
    receiver_->Take();
    receiver_->Send(StartFrame(flag::kResponse, 1, Id(9)));
    sender_->Take();
    const bool is_request = GetParam() == flag::kRequest;
    writer_ = is_request ? sender_ : receiver_;
    reader_ = is_request ? receiver_ : sender_;
  }
  ~CreditTest() override { driver_.ExpectNothingLeft(); }

  static Limits SmallLimits() {
    Limits limits;
    limits.initial_window_bytes = kWindow;
    limits.max_window_bytes = 2 * kWindow;
    return limits;
  }

  // A chunk of this cost.
  void Spend(uint64_t cost) {
    writer_->Send(ChunkFrame(GetParam(), 1, Id(9), std::string(static_cast<size_t>(cost - 24), 'x')));
  }
  void Raise(uint64_t window) { reader_->Send(WindowFrame(GetParam(), 1, Id(9), window)); }

  void ExpectRuns(uint64_t cost) {
    const Seen seen = reader_->TakeOne();
    EXPECT_EQ(seen.type, FrameType::kChunk);
    EXPECT_EQ(seen.payload.size() + 24, cost);
    EXPECT_TRUE(writer_->is_quiet());
  }
  void ExpectEnded(End end) {
    for (Peer* const peer : {reader_, writer_}) {
      const Seen told = peer->TakeOne();
      EXPECT_EQ(told.type, FrameType::kReset);
      EXPECT_EQ(told.end(), InfoOf(end).name);
      EXPECT_EQ(told.code(), InfoOf(end).code);
    }
    EXPECT_EQ(driver_.count(end), 1u);
  }

  Driver driver_;
  Peer* sender_;
  Peer* receiver_;
  Peer* writer_;
  Peer* reader_;
};

INSTANTIATE_TEST_SUITE_P(BothWays, CreditTest, testing::Values(flag::kRequest, flag::kResponse),
                         [](const auto& param_info) {
                           return param_info.param == flag::kRequest ? "Request" : "Response";
                         });

TEST_P(CreditTest, AChunkMayCostTheWholeWindow) {
  Spend(kWindow - 1);
  ExpectRuns(kWindow - 1);
}

TEST_P(CreditTest, TheWindowIsSpentToItsLastByte) {
  Spend(kWindow - 24);
  ExpectRuns(kWindow - 24);
  Spend(24);  // an empty chunk is not free
  ExpectRuns(24);
  Spend(24);
  ExpectEnded(End::kWindowOverrun);
}

TEST_P(CreditTest, OneByteMoreThanTheWindowEndsTheExchange) {
  Spend(kWindow + 1);
  ExpectEnded(End::kWindowOverrun);
  EXPECT_EQ(InfoOf(End::kWindowOverrun).code, absl::StatusCode::kResourceExhausted);
}

TEST_P(CreditTest, EndCostsNothing) {
  Spend(kWindow);
  ExpectRuns(kWindow);
  writer_->Send(EndFrame(GetParam(), 1, Id(9), "trailers"));
  EXPECT_EQ(reader_->TakeOne().type, FrameType::kEnd);
}

TEST_P(CreditTest, WindowIsHandedOnAndRaisesWhatMayBeSpent) {
  Spend(kWindow);
  ExpectRuns(kWindow);
  Raise(kWindow + 100);
  const Seen told = writer_->TakeOne();
  EXPECT_EQ(told.type, FrameType::kWindow);
  EXPECT_EQ(told.flags, GetParam());
  EXPECT_EQ(told.window(), kWindow + 100u);
  Spend(100);
  ExpectRuns(100);
  Spend(25);
  ExpectEnded(End::kWindowOverrun);
}

TEST_P(CreditTest, OnlyAGreaterWindowMeansAnything) {
  Raise(kWindow + 10);
  EXPECT_EQ(writer_->TakeOne().window(), kWindow + 10u);
  for (const uint64_t window : {uint64_t{0}, uint64_t{1}, uint64_t{kWindow}, uint64_t{kWindow + 10}}) Raise(window);
  EXPECT_TRUE(writer_->is_quiet());
  Raise(kWindow + 11);
  EXPECT_EQ(writer_->TakeOne().window(), kWindow + 11u);
}

TEST_P(CreditTest, WindowReachesMaxWindowBytesBeyondTheCostAndNoFurther) {
  Raise(2 * kWindow - 1);
  EXPECT_EQ(writer_->TakeOne().window(), 2 * kWindow - 1u);
  Raise(2 * kWindow);
  EXPECT_EQ(writer_->TakeOne().window(), 2 * kWindow);
  Spend(100);
  ExpectRuns(100);
  Raise(2 * kWindow + 100);
  EXPECT_EQ(writer_->TakeOne().window(), 2 * kWindow + 100u);
  Raise(2 * kWindow + 101);
  ExpectEnded(End::kWindowTooFar);
  EXPECT_EQ(InfoOf(End::kWindowTooFar).code, absl::StatusCode::kInvalidArgument);
}

TEST_P(CreditTest, AWindowOfAllOnesEndsTheExchangeAndOverflowsNothing) {
  Raise(~uint64_t{0});
  ExpectEnded(End::kWindowTooFar);
}

// 1-byte windows, 1-byte chunks: each costs one frame each way and nothing else.
TEST_P(CreditTest, GoesOnByTheSmallestSteps) {
  Spend(kWindow);
  ExpectRuns(kWindow);
  uint64_t window = kWindow;
  for (int i = 0; i < 200; ++i) {
    window += 25;
    Raise(window);
    EXPECT_EQ(writer_->TakeOne().window(), window);
    Spend(25);
    ExpectRuns(25);
  }
}

TEST(Credit, TheBodyOfAStartCosts) {
  Limits limits = {};
  limits.initial_window_bytes = kWindow;
  for (const uint64_t cost : {uint64_t{kWindow - 1}, uint64_t{kWindow}, uint64_t{kWindow + 1}}) {
    Driver driver(limits);
    Peer& receiver = driver.Joined("c");
    receiver.Send(ReceiveFrame(1));
    Peer& sender = driver.Joined("c");
    const std::string body(static_cast<size_t>(cost - 24), 'x');
    sender.Send(StartFrame(flag::kRequest, 1, Id(9), {.body = body}));
    if (cost > kWindow) {
      const Seen refused = sender.TakeOne();
      EXPECT_EQ(refused.end(), "window_overrun");
      EXPECT_TRUE(receiver.is_quiet());
      sender.Send(StartFrame(flag::kRequest, 1, Id(9)));
    }
    EXPECT_EQ(receiver.TakeOne().type, FrameType::kStart);
    EXPECT_TRUE(sender.is_quiet());
    receiver.Send(StartFrame(flag::kResponse, 1, Id(9), {.body = body}));
    if (cost > kWindow) {
      EXPECT_EQ(sender.TakeOne().end(), "window_overrun");
      EXPECT_EQ(receiver.TakeOne().end(), "window_overrun");
    } else {
      EXPECT_EQ(sender.TakeOne().body(), body);
    }
    driver.ExpectNothingLeft();
  }
}

TEST(Credit, AStartWithoutABodyCostsNothing) {
  Limits limits = {};
  limits.initial_window_bytes = kWindow;
  Driver driver(limits);
  Peer& receiver = driver.Joined("c");
  receiver.Send(ReceiveFrame(1));
  Peer& sender = driver.Joined("c");
  sender.Send(StartFrame(flag::kRequest, 1, Id(9), {.start = std::string(4000, 's')}));
  sender.Send(ChunkFrame(flag::kRequest, 1, Id(9), std::string(kWindow - 24, 'x')));
  EXPECT_TRUE(sender.is_quiet());
  EXPECT_EQ(receiver.Take().size(), 2u);
  driver.ExpectNothingLeft();
}

TEST(Credit, TheWindowOfTheResponseMayComeBeforeAnybodyIsAssigned) {
  Driver driver;
  Peer& sender = driver.Joined("c");
  const uint64_t window = 1 << 20;
  sender.Send(StartFrame(flag::kRequest, 1, Id(9)) + WindowFrame(flag::kResponse, 1, Id(9), window - 1) +
              WindowFrame(flag::kResponse, 1, Id(9), window));
  Peer& receiver = driver.Joined("c");
  receiver.Send(ReceiveFrame(1));
  const std::vector<Seen> seen = receiver.Take();
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[0].type, FrameType::kStart);
  EXPECT_EQ(seen[1].type, FrameType::kWindow);
  EXPECT_EQ(seen[1].flags, flag::kResponse);
  EXPECT_EQ(seen[1].window(), window);
  driver.ExpectNothingLeft();
}

}  // namespace
}  // namespace relay::server

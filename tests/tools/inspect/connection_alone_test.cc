// Without the order between the directions: all that the client says is told first, and each direction is judged by
// itself.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "told.h"
#include "tools/inspect/connection.h"

namespace relay::inspect {
namespace {

using proto::FrameType;
using server::ChunkFrame;
using server::EndFrame;
using server::Id;
using server::JoinFrame;
using server::LeaveFrame;
using server::ReceiveFrame;
using server::ResetFrame;
using server::StartFrame;
using server::WindowFrame;
using testing::ElementsAre;
namespace flag = proto::flag;

constexpr uint8_t kReq = flag::kRequest;
constexpr uint8_t kRes = flag::kResponse;

class UnorderedTest : public ToldTest {
 protected:
  UnorderedTest() : ToldTest(/*in_order=*/false) {
    told_.Up(std::string(proto::kPreface) + server::HelloFrame());
    told_.Down(WelcomeFrame(65536, 131072));
    told_.Up(JoinFrame(1, Id(1), "jobs") + JoinFrame(2, Id(2), "jobs"));
    told_.Take();
  }

  // Of the exchanges, in the order in which they began.
  std::vector<std::string> Ends() {
    told_.EndAll();
    std::vector<std::string> ends;
    for (const Exchange& exchange : told_.exchanges()) ends.push_back(exchange.end);
    return ends;
  }
};

TEST_F(UnorderedTest, EndsWhatWasSeenWholeAsItEnded) {
  // The client's: two requests on one slot, and both answers on the other.
  Up(ReceiveFrame(2) + StartFrame(kReq, 1, Id(5), {.flags = flag::kFin}) + StartFrame(kRes, 2, Id(5)) +
     EndFrame(kRes | flag::kReceive, 2, Id(5)) + StartFrame(kReq, 1, Id(6), {.flags = flag::kFin}) +
     StartFrame(kRes, 2, Id(6), {.flags = flag::kFin}) + StartFrame(kReq, 1, Id(7)) + LeaveFrame(1, Id(1)));
  Down(HandedOn(kReq, 2, Id(5), "", flag::kFin) + HandedOn(kRes, 1, Id(5)) + EndFrame(kRes, 1, Id(5)) +
       HandedOn(kReq, 2, Id(6), "", flag::kFin) + HandedOn(kRes, 1, Id(6), "", flag::kFin));
  EXPECT_THAT(Ends(), ElementsAre("completed", "completed", "open"));
  EXPECT_EQ(told_.totals().broken_rules, 0u);
}

TEST_F(UnorderedTest, BelievesTheServerWhereBothEndIt) {
  Up(StartFrame(kReq, 1, Id(5)) + ResetFrame(1, Id(5), absl::StatusCode::kCancelled) + StartFrame(kReq, 1, Id(6)) +
     ResetFrame(1, Id(6), absl::StatusCode::kCancelled));
  Down(HandedOn(kRes, 1, Id(5), "", flag::kFin));
  EXPECT_THAT(Ends(), ElementsAre("completed", "sender_reset"));
}

TEST_F(UnorderedTest, KnowsWhoLeftFromBothLeaves) {
  Up(StartFrame(kReq, 1, Id(5)) + LeaveFrame(1, Id(1)) + JoinFrame(1, Id(3), "other") + StartFrame(kReq, 1, Id(6)));
  EXPECT_THAT(Down(StatusFrame(FrameType::kLeave, 1, Id(1), absl::StatusCode::kOk, "left") + HandedOn(kRes, 1, Id(6))),
              ElementsAre("LEAVE", "START"));
  EXPECT_THAT(Ends(), ElementsAre("sender_lost", "open"));
}

TEST_F(UnorderedTest, ReceiversAloneAreSeenToo) {
  Up(ReceiveFrame(2) + StartFrame(kRes, 2, Id(5), {.body = "abc"}) + EndFrame(kRes | flag::kReceive, 2, Id(5)) +
     ResetFrame(2, Id(6), absl::StatusCode::kInternal) + ReceiveFrame(2));
  Down(HandedOn(kReq, 2, Id(5), "a", flag::kFin) + HandedOn(kReq, 2, Id(6)) + HandedOn(kReq, 2, Id(7)));
  EXPECT_THAT(Ends(), testing::UnorderedElementsAre("completed", "receiver_reset", "open"));
}

TEST_F(UnorderedTest, BreaksWhatItsOwnDirectionDecides) {
  EXPECT_THAT(Up(ChunkFrame(kReq, 1, Id(5), "x")), ElementsAre("CHUNK !not_started"));
  EXPECT_THAT(Up(StartFrame(kReq, 1, Id(6)) + StartFrame(kReq, 1, Id(6))), ElementsAre("START", "START !second_start"));
  EXPECT_THAT(Up(EndFrame(kReq, 1, Id(6)) + ChunkFrame(kReq, 1, Id(6), "x")), ElementsAre("END", "CHUNK !after_end"));
  EXPECT_THAT(Up(StartFrame(kReq, 9, Id(7)) + ReceiveFrame(9)),
              ElementsAre("START !slot_not_joined", "RECEIVE !slot_not_joined"));
  EXPECT_THAT(Up(StartFrame(kReq, 1, Id(8), {.body = std::string(65536, 'x')})), ElementsAre("START !window_overrun"));
  EXPECT_THAT(Up(server::GoawayFrame() + ReceiveFrame(2)), ElementsAre("GOAWAY", "RECEIVE !connection_leaving"));
  EXPECT_THAT(Down(ChunkFrame(kReq, 2, Id(9), "x")), ElementsAre("CHUNK !not_assigned"));
  EXPECT_THAT(Down(ChunkFrame(kRes, 1, Id(6), "x")), ElementsAre("CHUNK !not_started"));
  EXPECT_THAT(Down(HandedOn(kRes, 1, Id(6), "", flag::kFin) + EndFrame(kRes, 1, Id(6))),
              ElementsAre("START", "END !after_end"));
  EXPECT_THAT(Down(EndFrame(kRes | flag::kReceive, 1, Id(8))), ElementsAre("END !receive_handed_on"));
}

// Each of these is right, late, or wrong, by what the other direction has said before.
TEST_F(UnorderedTest, SaysNothingThatNeedsBothDirections) {
  EXPECT_THAT(Up(StartFrame(kReq, 1, Id(5)) + ChunkFrame(kReq, 1, Id(5), std::string(65536, 'x')) +
                 StartFrame(kReq, 1, Id(6)) + ReceiveFrame(2) + ReceiveFrame(2) + JoinFrame(1, Id(3), "jobs") +
                 WindowFrame(kReq, 2, Id(9), 1 << 30) + StartFrame(kReq, 2, Id(6))),
              ElementsAre("START", "CHUNK", "START", "RECEIVE", "RECEIVE", "JOIN", "WINDOW", "START"));
  EXPECT_THAT(Down(HandedOn(kReq, 1, Id(7)) + HandedOn(kRes, 1, Id(8)) + ReceiveFrame(1) +
                   StatusFrame(FrameType::kReset, 1, Id(5), absl::StatusCode::kAborted)),
              ElementsAre("START", "START", "RECEIVE", "RESET"));
}

}  // namespace
}  // namespace relay::inspect

// The life of an exchange: one of each kind, and what each side of it sees.

#include <gtest/gtest.h>

#include <string>

#include "driver.h"

namespace relay::server {
namespace {

using proto::FrameType;
namespace flag = proto::flag;

constexpr uint8_t kFin = flag::kFin;

TEST(Exchange, IsOneFrameEachWayWhereItFits) {
  Driver driver;
  Peer& receiver = driver.Joined("c");
  receiver.Send(ReceiveFrame(1));
  Peer& sender = driver.Joined("c");
  sender.Send(StartFrame(flag::kRequest, 1, Id(9), {.flags = kFin, .start = "S", .body = "ask"}));
  const Seen start = receiver.TakeOne();
  EXPECT_EQ(start.type, FrameType::kStart);
  EXPECT_EQ(start.flags, flag::kRequest | kFin);
  EXPECT_EQ(start.slot, 1);
  EXPECT_EQ(start.id, Id(9));
  EXPECT_EQ(start.block().start(), "S");
  EXPECT_EQ(start.body(), "ask");
  EXPECT_EQ(start.block().other_client(), Driver::ClientId(sender));
  EXPECT_EQ(start.block().attempt(), 1);
  EXPECT_EQ(start.block().timeout_ms(), 0u);
  receiver.Send(
      StartFrame(flag::kResponse, 1, Id(9), {.flags = kFin | flag::kReceive, .start = "T", .body = "answer"}));
  const Seen answer = sender.TakeOne();
  EXPECT_EQ(answer.type, FrameType::kStart);
  EXPECT_EQ(answer.flags, flag::kResponse | kFin);  // RECEIVE is cleared
  EXPECT_EQ(answer.id, Id(9));
  EXPECT_EQ(answer.block().start(), "T");
  EXPECT_EQ(answer.body(), "answer");
  EXPECT_EQ(answer.block().other_client(), Driver::ClientId(receiver));
  EXPECT_EQ(answer.block().attempt(), 1);
  EXPECT_TRUE(receiver.is_quiet());
  EXPECT_EQ(driver.count(End::kCompleted), 1u);
  EXPECT_EQ(driver.metrics().exchanges_live, 0u);
  // RECEIVE on the last frame: the receiver stands in the line again.
  sender.Send(StartFrame(flag::kRequest, 1, Id(10), {.flags = kFin}));
  EXPECT_EQ(receiver.TakeOne().id, Id(10));
  driver.ExpectNothingLeft();
}

TEST(Exchange, StreamsBothWaysAtOnce) {
  Driver driver;
  Peer& receiver = driver.Joined("c");
  receiver.Send(ReceiveFrame(1));
  Peer& sender = driver.Joined("c", 7);
  sender.Send(StartFrame(flag::kRequest, 7, Id(9)));
  receiver.Take();
  receiver.Send(StartFrame(flag::kResponse, 1, Id(9)));
  EXPECT_EQ(sender.TakeOne().slot, 7);
  std::string asked;
  std::string answered;
  for (int i = 0; i < 5; ++i) {
    sender.Send(ChunkFrame(flag::kRequest, 7, Id(9), "q" + std::to_string(i)));
    asked += receiver.TakeOne().payload;
    receiver.Send(ChunkFrame(flag::kResponse, 1, Id(9), "a" + std::to_string(i)));
    answered += sender.TakeOne().payload;
  }
  EXPECT_EQ(asked, "q0q1q2q3q4");
  EXPECT_EQ(answered, "a0a1a2a3a4");
  sender.Send(EndFrame(flag::kRequest, 7, Id(9)));
  EXPECT_EQ(receiver.TakeOne().type, FrameType::kEnd);
  EXPECT_EQ(driver.metrics().exchanges_live, 1u);
  receiver.Send(EndFrame(flag::kResponse, 1, Id(9), "trailer"));
  const Seen end = sender.TakeOne();
  EXPECT_EQ(end.type, FrameType::kEnd);
  EXPECT_EQ(end.payload, "trailer");
  EXPECT_EQ(driver.metrics().exchanges_live, 0u);
  driver.ExpectNothingLeft();
}

TEST(Exchange, IsHeldWholeUntilAReceiverComes) {
  Driver driver;
  Peer& sender = driver.Joined("c");
  sender.Send(StartFrame(flag::kRequest, 1, Id(9), {.timeout_ms = 5000, .max_extension_ms = 7777}) +
              ChunkFrame(flag::kRequest, 1, Id(9), "one") + ChunkFrame(flag::kRequest, 1, Id(9), "two") +
              EndFrame(flag::kRequest, 1, Id(9)));
  EXPECT_TRUE(sender.is_quiet());
  EXPECT_GT(driver.metrics().held_bytes, 0u);
  driver.Advance(absl::Microseconds(1234567));
  Peer& receiver = driver.Joined("c", 3);
  receiver.Send(ReceiveFrame(3));
  const std::vector<Seen> seen = receiver.Take();
  ASSERT_EQ(seen.size(), 4u);
  EXPECT_EQ(seen[0].type, FrameType::kStart);
  EXPECT_EQ(seen[0].block().queue_wait_us(), 1234567u);
  EXPECT_EQ(seen[0].block().timeout_ms(), 3766u);  // what remains, rounded up
  EXPECT_EQ(seen[0].block().max_extension_ms(), 6543u);
  EXPECT_EQ(seen[1].payload, "one");
  EXPECT_EQ(seen[2].payload, "two");
  EXPECT_EQ(seen[3].type, FrameType::kEnd);
  for (const Seen& frame : seen) EXPECT_EQ(frame.slot, 3);
  EXPECT_EQ(driver.metrics().held_bytes, 0u);
  receiver.Send(StartFrame(flag::kResponse, 3, Id(9), {.flags = kFin}));
  EXPECT_EQ(sender.TakeOne().block().queue_wait_us(), 1234567u);
  driver.ExpectNothingLeft();
}

TEST(Exchange, AnEarlyAnswerEndsItAndTheRestIsLate) {
  Driver driver;
  Peer& receiver = driver.Joined("c");
  receiver.Send(ReceiveFrame(1));
  Peer& sender = driver.Joined("c");
  sender.Send(StartFrame(flag::kRequest, 1, Id(9)));
  receiver.Take();
  receiver.Send(StartFrame(flag::kResponse, 1, Id(9), {.flags = kFin}));
  sender.Send(ChunkFrame(flag::kRequest, 1, Id(9), "late") + EndFrame(flag::kRequest, 1, Id(9)) +
              WindowFrame(flag::kResponse, 1, Id(9), 1 << 20) + ResetFrame(1, Id(9), absl::StatusCode::kCancelled));
  EXPECT_TRUE(receiver.is_quiet());
  EXPECT_EQ(driver.metrics().late_frames, 4u);
  EXPECT_EQ(sender.TakeOne().flags, flag::kResponse | kFin);
  driver.ExpectNothingLeft();
}

TEST(Exchange, OnOneConnectionGoesToAnotherSlotOfIt) {
  Driver driver;
  Peer& both = driver.Joined("c", 2);
  both.Send(ReceiveFrame(2) + StartFrame(flag::kRequest, 1, Id(9), {.flags = kFin, .body = "x"}));
  const Seen start = both.TakeOne();
  EXPECT_EQ(start.slot, 2);
  both.Send(StartFrame(flag::kResponse, 2, Id(9), {.flags = kFin, .body = "y"}));
  const Seen answer = both.TakeOne();
  EXPECT_EQ(answer.slot, 1);
  EXPECT_EQ(answer.body(), "y");
  driver.ExpectNothingLeft();
}

TEST(Exchange, AnIdIsFreeAtOnce) {
  Driver driver;
  Peer& receiver = driver.Joined("c");
  Peer& sender = driver.Joined("c");
  for (int i = 0; i < 3; ++i) {
    receiver.Send(ReceiveFrame(1));
    sender.Send(StartFrame(flag::kRequest, 1, Id(9), {.flags = kFin, .body = std::to_string(i)}));
    EXPECT_EQ(receiver.TakeOne().body(), std::to_string(i));
    receiver.Send(StartFrame(flag::kResponse, 1, Id(9), {.flags = kFin, .body = std::to_string(i)}));
    EXPECT_EQ(sender.TakeOne().body(), std::to_string(i));
  }
  driver.ExpectNothingLeft();
}

TEST(Exchange, TheSameIdOnAnotherChannelIsAnotherOne) {
  Driver driver;
  Peer& sender = driver.Open();
  sender.Send(JoinFrame(1, Id(1), "a") + JoinFrame(2, Id(2), "b"));
  Peer& receiver = driver.Open();
  receiver.Send(JoinFrame(1, Id(1), "b") + ReceiveFrame(1));
  sender.Send(StartFrame(flag::kRequest, 1, Id(9), {.flags = kFin, .body = "to a"}) +
              StartFrame(flag::kRequest, 2, Id(9), {.flags = kFin, .body = "to b"}));
  EXPECT_EQ(receiver.TakeOne().body(), "to b");
  EXPECT_TRUE(sender.is_quiet());
  driver.ExpectNothingLeft();
}

// ---- Ends that are not END -----------------------------------------------------------------------------------------

struct Running {
  explicit Running(uint8_t flags = 0, const Limits& limits = {}) : driver(limits) {
    receiver = &driver.Joined("c");
    receiver->Send(ReceiveFrame(1));
    sender = &driver.Joined("c");
    sender->Send(StartFrame(flag::kRequest, 1, Id(9), {.flags = flags}));
    EXPECT_EQ(receiver->TakeOne().type, FrameType::kStart);
  }

  Driver driver;
  Peer* receiver;
  Peer* sender;
};

TEST(Exchange, TheSendersResetReachesTheReceiver) {
  Running run;
  run.sender->Send(ResetFrame(1, Id(9), absl::StatusCode::kNotFound, false, "never mind"));
  const Seen told = run.receiver->TakeOne();
  EXPECT_EQ(told.type, FrameType::kReset);
  EXPECT_EQ(told.end(), "sender_reset");
  EXPECT_EQ(told.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(told.status().message(), "never mind");
  EXPECT_TRUE(told.status().may_have_run());
  EXPECT_TRUE(run.sender->is_quiet());
  run.driver.ExpectNothingLeft();
}

TEST(Exchange, TheReceiversResetReachesTheSenderWithItsStatus) {
  Running run;
  run.receiver->Send(ResetFrame(1, Id(9), absl::StatusCode::kNotFound, false, "no such thing"));
  const Seen told = run.sender->TakeOne();
  EXPECT_EQ(told.type, FrameType::kReset);
  EXPECT_EQ(told.end(), "receiver_reset");
  EXPECT_EQ(told.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(told.status().message(), "no such thing");
  EXPECT_TRUE(told.status().may_have_run());
  run.driver.ExpectNothingLeft();
}

TEST(Exchange, AResetThatSaysOkIsUnavailable) {
  Running run;
  run.receiver->Send(ResetFrame(1, Id(9), absl::StatusCode::kOk));
  EXPECT_EQ(run.sender->TakeOne().code(), absl::StatusCode::kUnavailable);
  run.driver.ExpectNothingLeft();
}

TEST(Exchange, APeerCannotSpeakOfEndsForTheServer) {
  Running run;
  v1::Reset reset;
  reset.mutable_status()->set_code(8);
  reset.mutable_status()->set_end("queue_count");
  reset.mutable_status()->set_may_have_run(false);
  reset.mutable_status()->set_retry_after_ms(250);
  run.receiver->Send(FrameOf(FrameType::kReset, 1, Id(9), reset));
  const Seen told = run.sender->TakeOne();
  EXPECT_EQ(told.end(), "receiver_reset");
  EXPECT_TRUE(told.status().may_have_run());
  EXPECT_EQ(told.status().retry_after_ms(), 250u);
  run.driver.ExpectNothingLeft();
}

TEST(Exchange, ALostReceiverIsUnavailableToTheSender) {
  for (const bool leaves : {true, false}) {
    Running run;
    if (leaves) {
      run.receiver->Send(LeaveFrame(1, Driver::ClientId(*run.receiver)));
    } else {
      run.receiver->Break();
    }
    const Seen told = run.sender->TakeOne();
    EXPECT_EQ(told.end(), "receiver_lost");
    EXPECT_EQ(told.code(), absl::StatusCode::kUnavailable);
    EXPECT_TRUE(told.status().may_have_run());
    EXPECT_EQ(run.driver.count(End::kReceiverLost), 1u);
    run.driver.ExpectNothingLeft();
  }
}

TEST(Exchange, ASenderThatIsLostFreesItsReceiverOnce) {
  for (const bool leaves : {true, false}) {
    Running run;
    if (leaves) {
      run.sender->Send(LeaveFrame(1, Driver::ClientId(*run.sender)));
    } else {
      run.sender->Break();
    }
    const Seen told = run.receiver->TakeOne();
    EXPECT_EQ(told.end(), "sender_lost");
    EXPECT_EQ(told.code(), absl::StatusCode::kCancelled);
    EXPECT_TRUE(told.status().may_have_run());
    run.receiver->Send(StartFrame(flag::kResponse, 1, Id(9), {.flags = kFin}) + ReceiveFrame(1, 0));
    EXPECT_EQ(run.receiver->TakeOne().type, FrameType::kReceive);
    run.driver.ExpectNothingLeft();
  }
}

TEST(Exchange, ASenderThatIsLostBeforeAnybodyWasAssignedLeavesNothing) {
  Driver driver;
  Peer& sender = driver.Joined("c");
  sender.Send(StartFrame(flag::kRequest, 1, Id(9)));
  sender.Break();
  Peer& receiver = driver.Joined("c");
  receiver.Send(ReceiveFrame(1, 0));
  EXPECT_EQ(receiver.TakeOne().type, FrameType::kReceive);
  EXPECT_EQ(driver.count(End::kSenderLost), 1u);
  driver.ExpectNothingLeft();
}

TEST(Exchange, RequireReceiverIsRefusedWhereNobodyEverReceived) {
  Driver driver;
  Peer& sender = driver.Joined("c");
  Peer& idle = driver.Joined("c");
  const std::string start = StartFrame(flag::kRequest, 1, Id(9), {.flags = flag::kRequireReceiver});
  sender.Send(start);
  const Seen refused = sender.TakeOne();
  EXPECT_EQ(refused.type, FrameType::kReset);
  EXPECT_EQ(refused.end(), "no_receiver");
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnavailable);
  EXPECT_FALSE(refused.status().may_have_run());
  idle.Send(ReceiveFrame(1, 0));  // now it has
  sender.Send(start);
  EXPECT_TRUE(sender.is_quiet());
  EXPECT_EQ(driver.count(End::kNoReceiver), 1u);
  driver.ExpectNothingLeft();
}

// ---- Time ----------------------------------------------------------------------------------------------------------

// The loop may have slept: a RECEIVE is read before the clock is asked what is due.
TEST(Exchange, AnExpiredRequestIsNotHandedOutThoughItIsStillQueued) {
  for (const bool was_given_back : {false, true}) {
    Driver driver;
    Peer& first = driver.Joined("c");
    if (was_given_back) first.Send(ReceiveFrame(1));
    Peer& sender = driver.Joined("c", 2);
    const uint8_t flags = flag::kFin | flag::kIdempotent;
    sender.Send(StartFrame(flag::kRequest, 1, Id(1), {.flags = flags, .timeout_ms = 1000}));
    Peer& second = driver.Joined("c");
    if (was_given_back) second.Send(ReceiveFrame(1));
    driver.InOneTurn([&] {
      driver.Advance(absl::Milliseconds(1000));
      was_given_back ? first.Break() : second.Send(ReceiveFrame(1));
    });
    const Seen told = sender.TakeOne();
    EXPECT_EQ(told.end(), "deadline");
    EXPECT_EQ(told.status().may_have_run(), was_given_back);
    EXPECT_TRUE(second.is_quiet());
    sender.Send(StartFrame(flag::kRequest, 2, Id(2)));
    EXPECT_EQ(second.TakeOne().id, Id(2));  // it waits still
    driver.ExpectNothingLeft();
  }
}

TEST(Exchange, EndsAtItsTimeoutAndNotBefore) {
  for (const bool is_assigned : {false, true}) {
    Driver driver;
    Peer& receiver = driver.Joined("c");
    if (is_assigned) receiver.Send(ReceiveFrame(1));
    Peer& sender = driver.Joined("c");
    sender.Send(StartFrame(flag::kRequest, 1, Id(9), {.timeout_ms = 1000}));
    if (is_assigned) {
      EXPECT_EQ(receiver.TakeOne().block().timeout_ms(), 1000u);
    }
    driver.Advance(absl::Milliseconds(999));
    EXPECT_TRUE(sender.is_quiet());
    driver.Advance(absl::Milliseconds(1));
    const Seen told = sender.TakeOne();
    EXPECT_EQ(told.end(), "deadline");
    EXPECT_EQ(told.code(), absl::StatusCode::kDeadlineExceeded);
    EXPECT_EQ(told.status().may_have_run(), is_assigned);
    if (is_assigned) {
      EXPECT_EQ(receiver.TakeOne().end(), "deadline");
    }
    receiver.Send(ReceiveFrame(1, 0));
    EXPECT_EQ(receiver.TakeOne().type, FrameType::kReceive);
    EXPECT_EQ(driver.count(End::kDeadline), 1u);
    driver.ExpectNothingLeft();
  }
}

TEST(Exchange, LivesNoLongerThanMaxRequestTime) {
  Limits limits;
  limits.max_request_time = absl::Milliseconds(2000);
  limits.heartbeat_interval = absl::Hours(1);
  for (const uint32_t timeout_ms : {0u, 1999u, 2000u, 2001u, 0xffffffffu}) {
    Driver driver(limits);
    Peer& sender = driver.Joined("c");
    sender.Send(StartFrame(flag::kRequest, 1, Id(9), {.timeout_ms = timeout_ms}));
    driver.Advance(absl::Milliseconds(1998));
    EXPECT_TRUE(sender.is_quiet());
    driver.Advance(absl::Milliseconds(1));
    EXPECT_EQ(sender.is_quiet(), timeout_ms != 1999) << timeout_ms;
    driver.Advance(absl::Milliseconds(1));
    EXPECT_EQ(sender.TakeOne().end(), "deadline") << timeout_ms;
    EXPECT_EQ(driver.count(End::kDeadline), 1u);
    driver.ExpectNothingLeft();
  }
}

TEST(Exchange, TellsAReceiverAtLeastOneMillisecond) {
  Driver driver;
  Peer& sender = driver.Joined("c");
  sender.Send(StartFrame(flag::kRequest, 1, Id(9), {.timeout_ms = 10}));
  driver.Advance(absl::Milliseconds(9) + absl::Microseconds(999));
  Peer& receiver = driver.Joined("c");
  receiver.Send(ReceiveFrame(1));
  EXPECT_EQ(receiver.TakeOne().block().timeout_ms(), 1u);
  driver.ExpectNothingLeft();
}

TEST(Exchange, QueueWaitSaturates) {
  Limits limits;
  limits.heartbeat_interval = absl::Hours(24);
  Driver driver(limits);
  Peer& sender = driver.Joined("c");
  sender.Send(StartFrame(flag::kRequest, 1, Id(9)));
  driver.Advance(absl::Hours(2));  // 7.2e9 us
  Peer& receiver = driver.Joined("c");
  receiver.Send(ReceiveFrame(1));
  EXPECT_EQ(receiver.TakeOne().block().queue_wait_us(), 0xffffffffu);
  driver.ExpectNothingLeft();
}

}  // namespace
}  // namespace relay::server

// A receiver that needs longer asks for more time, and gets what the sender allows.

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "client/relayd_process.h"
#include "client/support.h"
#include "relay/client.h"

namespace relay::testing {
namespace {

using std::chrono::seconds;

class ExtendTest : public ::testing::Test {
 protected:
  // A request whose sender gives it half a minute, and allows so much.
  void Begin(seconds max_extension, std::optional<milliseconds> timeout = seconds(30)) {
    SendOptions options;
    options.timeout = timeout;
    options.max_extension = max_extension;
    auto exchange = sender_.Start(options);
    ASSERT_TRUE(exchange.ok()) << exchange.status();
    exchange_.emplace(*std::move(exchange));
    ASSERT_EQ(exchange_->FinishWriting(), OkStatus());
  }
  void Receive() {
    auto request = receiver_.Receive();
    ASSERT_TRUE(request.ok()) << request.status();
    request_.emplace(*std::move(request));
  }

  Relayd relayd_;
  std::shared_ptr<Connection> connection_ = MustOpen(relayd_.url());
  Client sender_{connection_, "extend"};
  Client receiver_{connection_, "extend"};
  std::optional<Exchange> exchange_;
  std::optional<Request> request_;
};

TEST_F(ExtendTest, MovesTheTimeAsFarAsTheSenderAllowsAndNeverBack) {
  Begin(seconds(300));
  Receive();
  EXPECT_LE(*request_->remaining(), seconds(30));
  auto left = request_->ExtendDeadline(seconds(100));
  ASSERT_TRUE(left.ok()) << left.status();
  EXPECT_GT(*left, seconds(30));
  EXPECT_LE(*left, seconds(100));
  EXPECT_GT(*request_->remaining(), seconds(30));
  EXPECT_LE(*request_->remaining(), *left);
  left = request_->ExtendDeadline(milliseconds(1));
  ASSERT_TRUE(left.ok()) << left.status();
  EXPECT_GT(*left, seconds(30));
  left = request_->ExtendDeadline(seconds(10'000));
  ASSERT_TRUE(left.ok()) << left.status();
  EXPECT_GT(*left, seconds(100));
  EXPECT_LE(*left, seconds(300));
  EXPECT_EQ(request_->Reply("late"), OkStatus());
  EXPECT_EQ(*exchange_->ReadAll(), "late");
  EXPECT_EQ(request_->ExtendDeadline(seconds(1)).status().code(), StatusCode::kFailedPrecondition);
}

TEST_F(ExtendTest, GainsNothingWhereTheSenderAllowsNothing) {
  Begin(seconds(0));
  Receive();
  const auto left = request_->ExtendDeadline(seconds(100));
  ASSERT_TRUE(left.ok()) << left.status();
  EXPECT_LE(*left, seconds(30));
}

TEST_F(ExtendTest, WhatHasNoTimeoutHasNoEnd) {
  Begin(seconds(10), std::nullopt);
  Receive();
  const auto left = request_->ExtendDeadline(seconds(100));
  ASSERT_TRUE(left.ok()) << left.status();
  EXPECT_EQ(*left, milliseconds::max());
  EXPECT_FALSE(request_->remaining().has_value());
}

TEST_F(ExtendTest, SaysHowTheExchangeHasEnded) {
  Begin(seconds(10));
  Receive();
  exchange_->Cancel();
  ASSERT_TRUE(request_->WaitCancelled(milliseconds(30'000)));
  EXPECT_EQ(request_->ExtendDeadline(seconds(100)).status().code(), StatusCode::kCancelled);
}

TEST_F(ExtendTest, ServerThatDiesMeanwhileIsTheAnswer) {
  Begin(seconds(10));
  Receive();
  kill(relayd_.pid(), SIGSTOP);
  std::thread killer([this] { relayd_.Kill(SIGKILL); });
  EXPECT_EQ(request_->ExtendDeadline(seconds(100)).status().code(), StatusCode::kUnavailable);
  killer.join();
}

// The timeout and what the sender's own side adds to it pass while the receiver works on.
TEST_F(ExtendTest, SenderWaitsForAsLongAsItAllowed) {
  Begin(seconds(300), seconds(2));
  Receive();
  const auto began = std::chrono::steady_clock::now();
  ASSERT_TRUE(request_->ExtendDeadline(seconds(100)).ok());
  EXPECT_FALSE(request_->WaitCancelled(milliseconds(3500)));
  EXPECT_GE(std::chrono::steady_clock::now() - began, milliseconds(3500));
  EXPECT_EQ(request_->Reply("late"), OkStatus());
  const auto answer = exchange_->ReadAll();
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(*answer, "late");
}

TEST_F(ExtendTest, AsyncFormCallsWithWhatIsLeft) {
  std::shared_ptr<AsyncRequest> taken;
  std::optional<StatusOr<milliseconds>> left;
  Countdown answered(1);
  receiver_.ReceiveAsync({}, [&](StatusOr<AsyncRequest> request) {
    ASSERT_TRUE(request.ok()) << request.status();
    taken = std::make_shared<AsyncRequest>(*std::move(request));
    taken->ExtendDeadline(seconds(50));
    taken->ExtendDeadline(seconds(100), [&](StatusOr<milliseconds> answer) {
      left = std::move(answer);
      answered.Down();
    });
  });
  Begin(seconds(300));
  ASSERT_TRUE(answered.Wait());
  ASSERT_TRUE(left->ok()) << left->status();
  EXPECT_GT(**left, seconds(50));
  EXPECT_LE(**left, seconds(100));
  Countdown refused(1);
  taken->Reply(OkStatus(), "done");
  EXPECT_EQ(*exchange_->ReadAll(), "done");
  taken->ExtendDeadline(seconds(1), [&](const StatusOr<milliseconds>& answer) {
    EXPECT_EQ(answer.status().code(), StatusCode::kFailedPrecondition);
    refused.Down();
  });
  EXPECT_TRUE(refused.Wait());
}

}  // namespace
}  // namespace relay::testing

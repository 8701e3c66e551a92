// Who works on a request is called when nobody waits for the answer any more: once, and never for what this side did.

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "client/relayd_process.h"
#include "client/support.h"
#include "relay/client.h"
#include "relay/serve.h"

namespace relay::testing {
namespace {

class CancelTest : public ::testing::Test {
 protected:
  // A request that is worked on, and its sender's side.
  void Begin() {
    auto exchange = sender_.Start();
    ASSERT_TRUE(exchange.ok()) << exchange.status();
    exchange_.emplace(*std::move(exchange));
    ASSERT_EQ(exchange_->Write("x"), OkStatus());
    auto request = receiver_.Receive();
    ASSERT_TRUE(request.ok()) << request.status();
    request_.emplace(*std::move(request));
  }

  // What is called at the end, and how often.
  std::function<void(const Status&)> Called() {
    return [this](const Status& status) {
      status_ = status;
      ++calls_;
      called_.Down();
    };
  }

  // The I/O thread has done what came before.
  void Settle() {
    Client client(connection_, "settle");
    EXPECT_FALSE(client.Receive({.wait = milliseconds(0)}).ok());
  }

  Relayd relayd_;
  std::shared_ptr<Connection> connection_ = MustOpen(relayd_.url());
  std::shared_ptr<Connection> sending_ = MustOpen(relayd_.url());
  Client sender_{sending_, "cancel"};
  Client receiver_{connection_, "cancel"};
  std::optional<Exchange> exchange_;
  std::optional<Request> request_;
  Countdown called_{1};
  Status status_;
  std::atomic<int> calls_ = 0;
};

TEST_F(CancelTest, CalledOnceWhenTheSenderGivesUp) {
  Begin();
  std::atomic<bool> is_other_thread = false;
  request_->OnCancelled([&, caller = std::this_thread::get_id(), call = Called()](const Status& status) {
    is_other_thread = std::this_thread::get_id() != caller;
    call(status);
  });
  exchange_->Cancel();
  ASSERT_TRUE(called_.Wait());
  EXPECT_TRUE(is_other_thread);
  EXPECT_EQ(status_.code(), StatusCode::kCancelled);
  EXPECT_EQ(request_->Finish().code(), StatusCode::kCancelled);
  request_.reset();
  Settle();
  EXPECT_EQ(calls_, 1);
}

TEST_F(CancelTest, CalledByTheCallWhereItHasHappened) {
  Begin();
  exchange_->Cancel();
  ASSERT_TRUE(request_->WaitCancelled(milliseconds(30'000)));
  request_->OnCancelled(Called());
  EXPECT_EQ(calls_, 1);
  EXPECT_EQ(status_.code(), StatusCode::kCancelled);
}

TEST_F(CancelTest, CalledWhenTheTimeIsOver) {
  std::shared_ptr<AsyncRequest> taken;
  receiver_.ReceiveAsync({}, [&](StatusOr<AsyncRequest> request) {
    ASSERT_TRUE(request.ok()) << request.status();
    taken = std::make_shared<AsyncRequest>(*std::move(request));
    taken->OnCancelled(Called());
  });
  // Answered behind it, on the same channel: the receiver waits before the time begins.
  Client behind(connection_, "cancel");
  EXPECT_EQ(behind.Receive({.wait = milliseconds(0)}).status().code(), StatusCode::kDeadlineExceeded);
  SendOptions options;
  options.timeout = milliseconds(100);
  options.max_extension = std::chrono::hours(1);  // so long the sender leaves the end to the server
  EXPECT_EQ(sender_.Send("x", options).status().code(), StatusCode::kDeadlineExceeded);
  ASSERT_TRUE(called_.Wait());
  EXPECT_EQ(status_.code(), StatusCode::kDeadlineExceeded);
}

TEST_F(CancelTest, CalledWhenTheServerIsLost) {
  Begin();
  request_->OnCancelled(Called());
  relayd_.Kill(SIGKILL);
  ASSERT_TRUE(called_.Wait());
  EXPECT_EQ(status_.code(), StatusCode::kUnavailable);
}

TEST_F(CancelTest, NotCalledForWhatThisSideDoes) {
  for (const char* how : {"finish", "reply", "reset", "requeue", "drop"}) {
    Begin();
    request_->OnCancelled(Called());
    const std::string_view way = how;
    if (way == "finish") {
      EXPECT_EQ(request_->Finish(), OkStatus());
    } else if (way == "reply") {
      EXPECT_EQ(request_->Reply("y"), OkStatus());
    } else if (way == "reset") {
      request_->Reset(DataLossError("no"));
    } else if (way == "requeue") {
      request_->Requeue();
    }
    if (way == "drop") request_.reset();
    exchange_->ReadAll().ok();
    Settle();
    EXPECT_EQ(calls_, 0) << how;
    request_.reset();
    exchange_.reset();
  }
}

TEST_F(CancelTest, AnotherReplacesTheFirstAndAnEmptyOneTakesItBack) {
  Begin();
  request_->OnCancelled([](const Status&) { ADD_FAILURE() << "was replaced"; });
  request_->OnCancelled(Called());
  exchange_->Cancel();
  ASSERT_TRUE(called_.Wait());

  exchange_.reset();
  request_.reset();
  Begin();
  request_->OnCancelled([](const Status&) { ADD_FAILURE() << "was taken back"; });
  request_->OnCancelled({});
  exchange_->Cancel();
  ASSERT_TRUE(request_->WaitCancelled(milliseconds(30'000)));
  Settle();
}

// What the call uses may go with the request, whichever thread comes first.
TEST_F(CancelTest, NeverRunsBehindTheRequestsEnd) {
  for (int round = 0; round < 300 / kSlowness; ++round) {
    Begin();
    auto used = std::make_unique<std::atomic<int>>(0);
    request_->OnCancelled([&counter = *used](const Status&) { ++counter; });
    std::thread canceller([this] { exchange_->Cancel(); });
    if (round % 3 == 0) request_->Finish().ok();
    if (round % 3 == 1) request_->OnCancelled({});
    if (round % 3 == 2) request_.reset();
    const int seen = *used;
    canceller.join();
    Settle();
    EXPECT_EQ(*used, seen);
    EXPECT_LE(seen, 1);
    request_.reset();
    exchange_.reset();
  }
}

TEST_F(CancelTest, MayDropTheRequestItself) {
  Begin();
  auto own = std::make_shared<std::optional<Request>>(std::move(request_));
  Request& request = **own;
  request.OnCancelled([this, own](const Status& status) {
    own->reset();
    Called()(status);
  });
  own.reset();
  exchange_->Cancel();
  ASSERT_TRUE(called_.Wait());
  Settle();
}

TEST_F(CancelTest, HandlerOfAPoolIsCalledWhileItWorks) {
  auto pool = Serve(connection_, "pool", {}, [this](Request& request) -> Status {
    if (request.info().method != "late") return OkStatus();
    Countdown cancelled(1);
    request.OnCancelled([&cancelled](const Status&) { cancelled.Down(); });
    EXPECT_TRUE(cancelled.Wait());
    request.OnCancelled({});
    called_.Down();
    return OkStatus();
  });
  ASSERT_TRUE(pool.ok());
  Client sender(sending_, "pool");
  // The answer says that the pool waits again, before the time of the next request begins.
  ASSERT_TRUE(sender.Send("").ok());
  SendOptions options;
  options.method = "late";
  options.timeout = milliseconds(100);
  options.max_extension = std::chrono::hours(1);  // so long the sender leaves the end to the server
  EXPECT_EQ(sender.Send("", options).status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(called_.Wait());
}

TEST_F(CancelTest, AsyncRequestIsCalledToo) {
  std::shared_ptr<AsyncRequest> taken;
  Countdown came(1);
  receiver_.ReceiveAsync({}, [&](StatusOr<AsyncRequest> request) {
    ASSERT_TRUE(request.ok()) << request.status();
    taken = std::make_shared<AsyncRequest>(*std::move(request));
    taken->OnCancelled(Called());
    came.Down();
  });
  auto exchange = sender_.Start();
  ASSERT_TRUE(exchange.ok());
  ASSERT_EQ(exchange->FinishWriting(), OkStatus());
  ASSERT_TRUE(came.Wait());
  exchange->Cancel();
  ASSERT_TRUE(called_.Wait());
  EXPECT_EQ(status_.code(), StatusCode::kCancelled);
  taken->Reply(OkStatus(), "late");
  EXPECT_EQ(calls_, 1);
}

TEST_F(CancelTest, AsyncRequestThatWasAnsweredIsNotCalled) {
  receiver_.ReceiveAsync({}, [&](StatusOr<AsyncRequest> request) {
    ASSERT_TRUE(request.ok()) << request.status();
    request->OnCancelled(Called());
    request->Reply(OkStatus(), "y");
  });
  EXPECT_TRUE(sender_.Send("x").ok());
  Settle();
  EXPECT_EQ(calls_, 0);
}

}  // namespace
}  // namespace relay::testing

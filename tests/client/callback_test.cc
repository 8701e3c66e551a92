// The callback forms, and what may be done inside a callback.

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "client/relayd_process.h"
#include "client/support.h"
#include "relay/client.h"

namespace relay::testing {
namespace {

class CallbackTest : public ::testing::Test {
 protected:
  Relayd relayd_{"tcp://127.0.0.1:0", {"--queue-count", "100000"}};
  std::shared_ptr<Connection> connection_ = MustOpen(relayd_.url());
};

TEST_F(CallbackTest, ThousandsInFlightWithoutAThreadEach) {
  constexpr int kSenders = 2000 / kSlowness;
  constexpr int kReceivers = 100;
  std::vector<Client> receivers;
  for (int i = 0; i < kReceivers; ++i) receivers.emplace_back(connection_, "many");
  std::function<void(Client&)> receive = [&receive](Client& client) {
    client.ReceiveAsync({}, [&receive, &client](StatusOr<AsyncRequest> request) {
      if (!request.ok()) return;
      std::string answer = Transformed(request->body());
      request->Reply(OkStatus(), std::move(answer), {{"from", "callback"}});
      receive(client);
    });
  };
  for (Client& client : receivers) receive(client);

  const auto senders_connection = MustOpen(relayd_.url());
  std::vector<Client> senders;
  Countdown done(kSenders);
  std::atomic<int> right = 0;
  for (int i = 0; i < kSenders; ++i) {
    senders.emplace_back(senders_connection, "many");
    const std::string body = Body(static_cast<size_t>(i * 10), static_cast<uint32_t>(i));
    senders.back().SendAsync(body, {}, [&, body](const StatusOr<Reply>& reply) {
      if (reply.ok() && reply->body == Transformed(body) && reply->trailing_metadata.size() == 1) ++right;
      done.Down();
    });
  }
  EXPECT_TRUE(done.Wait());
  EXPECT_EQ(right, kSenders);
  connection_->Close();
}

TEST_F(CallbackTest, LongLineOfOperationsThatFailAtOnceNeedsNoDeepStack) {
  constexpr int kOperations = 20'000;
  Client client(connection_, "line");
  SendOptions options;
  options.metadata = {{"too large", std::string(17 * 1024, 'x')}};
  Countdown done(kOperations + 1);
  client.ReceiveAsync({.wait = milliseconds(50)}, [&](const StatusOr<AsyncRequest>&) { done.Down(); });
  std::atomic<int> refused = 0;
  for (int i = 0; i < kOperations; ++i) {
    client.SendAsync("", options, [&](const StatusOr<Reply>& reply) {
      if (reply.status().code() == StatusCode::kInvalidArgument) ++refused;
      done.Down();
    });
  }
  EXPECT_TRUE(done.Wait());
  EXPECT_EQ(refused, kOperations);
}

TEST_F(CallbackTest, ReplyComesFromAnyThread) {
  Client receiver(connection_, "thread");
  Client sender(connection_, "thread");
  std::thread worker;
  receiver.ReceiveAsync({}, [&worker](StatusOr<AsyncRequest> request) {
    ASSERT_TRUE(request.ok());
    worker = std::thread([taken = std::make_shared<AsyncRequest>(*std::move(request))] {
      EXPECT_FALSE(taken->cancelled());
      taken->Reply(AbortedError("not today"), "ignored? no: sent before the status");
      taken->Reply(OkStatus(), "only the first counts");
    });
  });
  EXPECT_EQ(sender.Send("x").status(), Ran(AbortedError("not today")));
  worker.join();
}

TEST_F(CallbackTest, BlockingCallsAreRefusedOnTheIoThread) {
  Client sender(connection_, "block");
  Client receiver(connection_, "block");
  Countdown done(1);
  receiver.ReceiveAsync({}, [&](StatusOr<AsyncRequest> request) {
    EXPECT_EQ(sender.Receive().status().code(), StatusCode::kFailedPrecondition);
    EXPECT_EQ(sender.Send("").status().code(), StatusCode::kFailedPrecondition);
    request->Reply(OkStatus(), "");
    done.Down();
  });
  EXPECT_TRUE(sender.Send("").ok());
  EXPECT_TRUE(done.Wait());
}

TEST_F(CallbackTest, DroppedUnansweredIsReset) {
  Client receiver(connection_, "drop");
  Client sender(connection_, "drop");
  receiver.ReceiveAsync({}, [](const StatusOr<AsyncRequest>&) {});
  EXPECT_EQ(sender.Send("").status().code(), StatusCode::kAborted);
}

TEST_F(CallbackTest, RequestLargerThanAllowedIsRefused) {
  Client receiver(connection_, "large");
  Client sender(connection_, "large");
  Countdown done(1);
  receiver.ReceiveAsync({.max_body_bytes = 1000}, [&](const StatusOr<AsyncRequest>& request) {
    EXPECT_EQ(request.status().code(), StatusCode::kResourceExhausted);
    done.Down();
  });
  EXPECT_EQ(sender.Send(std::string(1001, 'x')).status().code(), StatusCode::kResourceExhausted);
  EXPECT_TRUE(done.Wait());
}

TEST_F(CallbackTest, WaitRunsOutAndTheBusyClientFails) {
  Client client(connection_, "wait");
  Countdown done(2);
  // What a callback begins is begun together, so that the wait cannot run out in between.
  client.ReceiveAsync({.wait = milliseconds(0)}, [&](const StatusOr<AsyncRequest>&) {
    client.ReceiveAsync({.wait = milliseconds(20)}, [&](const StatusOr<AsyncRequest>& request) {
      EXPECT_EQ(request.status().code(), StatusCode::kDeadlineExceeded);
      done.Down();
    });
    client.ReceiveAsync({.if_busy = IfBusy::kFail}, [&](const StatusOr<AsyncRequest>& request) {
      EXPECT_EQ(request.status().code(), StatusCode::kFailedPrecondition);
      done.Down();
    });
  });
  EXPECT_TRUE(done.Wait());
}

TEST_F(CallbackTest, DroppingTheClientEndsWhatIsPending) {
  Countdown done(2);
  {
    Client client(connection_, "gone");
    client.ReceiveAsync({}, [&](const StatusOr<AsyncRequest>& request) {
      EXPECT_EQ(request.status().code(), StatusCode::kCancelled);
      done.Down();
    });
    client.SendAsync("", {}, [&](const StatusOr<Reply>& reply) {
      EXPECT_EQ(reply.status().code(), StatusCode::kCancelled);
      done.Down();
    });
  }
  EXPECT_TRUE(done.Wait());
}

TEST_F(CallbackTest, CloseInsideACallback) {
  Client client(connection_, "close");
  Countdown done(1);
  client.ReceiveAsync({.wait = milliseconds(0)}, [&](const StatusOr<AsyncRequest>&) {
    connection_->Close();
    done.Down();
  });
  EXPECT_TRUE(done.Wait());
  connection_->Close();
  EXPECT_EQ(client.Send("").status().code(), StatusCode::kFailedPrecondition);
}

TEST_F(CallbackTest, LastReferenceDroppedInsideACallback) {
  Countdown done(1);
  auto client = std::make_unique<Client>(std::move(connection_), "last");
  Client& pending = *client;
  pending.ReceiveAsync(
      {.wait = milliseconds(10)},
      [&done, client = std::make_shared<std::unique_ptr<Client>>(std::move(client))](const StatusOr<AsyncRequest>&) {
        client->reset();
        done.Down();
      });
  EXPECT_TRUE(done.Wait());
}

// What is done behind the answers: they fit in their windows, and together are more than the output holds at a time.
TEST_F(CallbackTest, AnswersGoOutThoughWhoGaveThemLeavesAtOnce) {
  constexpr int kReceivers = 10;
  const std::string answer = Body(200'000, 1);
  for (const bool closes : {true, false}) {
    auto receiving = MustOpen(relayd_.url());
    std::vector<Client> receivers;
    std::mutex mutex;
    std::vector<AsyncRequest> requests;
    Countdown arrived(kReceivers);
    for (int i = 0; i < kReceivers; ++i) {
      receivers.emplace_back(receiving, "leaving").ReceiveAsync({}, [&](StatusOr<AsyncRequest> request) {
        const std::lock_guard lock(mutex);
        requests.push_back(*std::move(request));
        arrived.Down();
      });
    }
    Countdown answered(kReceivers);
    std::vector<Client> senders;
    for (int i = 0; i < kReceivers; ++i) {
      senders.emplace_back(connection_, "leaving").SendAsync("x", {}, [&](const StatusOr<Reply>& reply) {
        EXPECT_TRUE(reply.ok()) << reply.status();
        EXPECT_TRUE(!reply.ok() || reply->body == answer);
        answered.Down();
      });
    }
    ASSERT_TRUE(arrived.Wait());
    for (AsyncRequest& request : requests) request.Reply(OkStatus(), answer);
    if (closes) receiving->Close();
    requests.clear();
    receivers.clear();
    EXPECT_TRUE(answered.Wait());
  }
}

TEST_F(CallbackTest, AnswerOfManyWindowsGoesOutThoughItsClientIsDropped) {
  const auto receiving = MustOpen(relayd_.url());
  const std::string answer = Body(2'000'000, 2);
  {
    Client receiver(receiving, "dropped");
    receiver.ReceiveAsync({},
                          [&answer, receiver](StatusOr<AsyncRequest> request) { request->Reply(OkStatus(), answer); });
  }
  const auto reply = Client(connection_, "dropped").Send("x");
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_TRUE(reply->body == answer);
}

TEST_F(CallbackTest, BlockingAnswerInsideACallbackIsRefusedAndNotSent) {
  Client receiver(connection_, "blocking");
  std::optional<StatusOr<Reply>> reply;
  std::thread sender([this, &reply] { reply = Client(connection_, "blocking").Send("x"); });
  auto request = receiver.Receive();
  ASSERT_TRUE(request.ok()) << request.status();
  Countdown done(1);
  Client(connection_, "other").ReceiveAsync({.wait = milliseconds(0)}, [&](const StatusOr<AsyncRequest>&) {
    EXPECT_EQ(request->Reply("from the callback").code(), StatusCode::kFailedPrecondition);
    EXPECT_EQ(request->Finish().code(), StatusCode::kFailedPrecondition);
    EXPECT_FALSE(request->WaitCancelled(std::chrono::hours(1)));
    done.Down();
  });
  EXPECT_TRUE(done.Wait());
  EXPECT_EQ(request->Reply("from its thread"), OkStatus());
  sender.join();
  ASSERT_TRUE(reply->ok()) << reply->status();
  EXPECT_EQ((*reply)->body, "from its thread");
}

}  // namespace
}  // namespace relay::testing

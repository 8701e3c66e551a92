// One exchange through a relay: bodies around the window, both directions at once, early ends, slow readers.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>
#include <thread>

#include "client/relayd_process.h"
#include "client/support.h"
#include "relay/client.h"

namespace relay::testing {
namespace {

constexpr size_t kWindow = 256 * 1024;  // relayd's default

class ExchangeTest : public ::testing::Test {
 protected:
  Relayd relayd_;
  std::shared_ptr<Connection> connection_ = MustOpen(relayd_.url());
  Client sender_{connection_, "exchange"};
  Client receiver_{connection_, "exchange"};
};

class BodyTest : public ExchangeTest, public ::testing::WithParamInterface<size_t> {};

TEST_P(BodyTest, ArrivesWholeBothWaysInOneCall) {
  const std::string body = Body(GetParam(), 1);
  std::thread receiver([this] {
    auto request = receiver_.Receive();
    ASSERT_TRUE(request.ok()) << request.status();
    const auto received = request->ReadAll();
    ASSERT_TRUE(received.ok()) << received.status();
    EXPECT_EQ(request->Reply(Transformed(*received)), OkStatus());
  });
  const auto reply = sender_.Send(body);
  receiver.join();
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_TRUE(reply->body == Transformed(body));
}

TEST_P(BodyTest, ArrivesWholeBothWaysStreamed) {
  const std::string body = Body(GetParam(), 2);
  std::thread receiver([this] {
    auto request = receiver_.Receive();
    ASSERT_TRUE(request.ok()) << request.status();
    std::array<char, 10'000> buffer;
    while (true) {
      const auto bytes = request->Read(buffer);
      ASSERT_TRUE(bytes.ok()) << bytes.status();
      if (*bytes == 0) break;
      ASSERT_EQ(request->Write(Transformed(std::string(buffer.data(), *bytes))), OkStatus());
    }
    EXPECT_EQ(request->Finish(), OkStatus());
  });
  auto exchange = sender_.Start();
  ASSERT_TRUE(exchange.ok()) << exchange.status();
  std::thread writer([&] {
    for (size_t at = 0; at < body.size(); at += 7'777) {
      ASSERT_EQ(exchange->Write(std::string_view(body).substr(at, 7'777)), OkStatus());
    }
    EXPECT_EQ(exchange->FinishWriting(), OkStatus());
  });
  const auto response = exchange->ReadAll();
  writer.join();
  receiver.join();
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_TRUE(*response == Transformed(body));
}

INSTANTIATE_TEST_SUITE_P(AroundTheWindow, BodyTest,
                         ::testing::Values(0, 1, kWindow - 25, kWindow - 24, kWindow - 23, kWindow - 1, kWindow,
                                           kWindow + 1, 5 << 20));

TEST_F(ExchangeTest, HeadsAndMetadataArriveOnBothSides) {
  std::thread receiver([this] {
    auto request = receiver_.Receive();
    ASSERT_TRUE(request.ok()) << request.status();
    EXPECT_EQ(request->info().sender, sender_.id());
    EXPECT_EQ(request->info().method, "resize");
    EXPECT_EQ(request->info().content_type, "image/png");
    EXPECT_EQ(request->info().metadata, (Metadata{{"k", "v1"}, {"k", std::string("\0\xff", 2)}}));
    EXPECT_EQ(request->info().attempt, 1u);
    ASSERT_TRUE(request->remaining().has_value());
    EXPECT_GT(*request->remaining(), milliseconds(10'000));
    EXPECT_LE(*request->remaining(), milliseconds(20'000));
    EXPECT_EQ(request->SetHead("resized", "image/jpeg", {{"w", "200"}}), OkStatus());
    EXPECT_EQ(request->Write("small"), OkStatus());
    EXPECT_EQ(request->SetHead("late", "", {}).code(), StatusCode::kFailedPrecondition);
    EXPECT_EQ(request->Finish(OkStatus(), {{"sum", "42"}}), OkStatus());
  });
  SendOptions options;
  options.method = "resize";
  options.content_type = "image/png";
  options.metadata = {{"k", "v1"}, {"k", std::string("\0\xff", 2)}};
  options.timeout = milliseconds(20'000);
  const auto reply = sender_.Send("large", options);
  receiver.join();
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->body, "small");
  EXPECT_EQ(reply->head.method, "resized");
  EXPECT_EQ(reply->head.content_type, "image/jpeg");
  EXPECT_EQ(reply->head.metadata, (Metadata{{"w", "200"}}));
  EXPECT_EQ(reply->head.receiver, receiver_.id());
  EXPECT_EQ(reply->head.attempt, 1u);
  EXPECT_EQ(reply->trailing_metadata, (Metadata{{"sum", "42"}}));
}

TEST_F(ExchangeTest, RequestSentWholeBeforeAnyReceiverExistsWaitsForOne) {
  auto exchange = sender_.Start();
  ASSERT_TRUE(exchange.ok());
  ASSERT_EQ(exchange->Write("early"), OkStatus());
  ASSERT_EQ(exchange->FinishWriting(), OkStatus());
  const auto later = MustOpen(relayd_.url());
  Client receiver(later, "exchange");
  auto request = receiver.Receive();
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->info().id, exchange->id());
  EXPECT_EQ(*request->ReadAll(), "early");
  EXPECT_EQ(request->Reply("late"), OkStatus());
  EXPECT_EQ(*exchange->ReadAll(), "late");
}

TEST_F(ExchangeTest, ReceiverAnswersWhileTheRequestStillStreams) {
  auto exchange = sender_.Start();
  ASSERT_TRUE(exchange.ok());
  ASSERT_EQ(exchange->Write("one"), OkStatus());
  auto request = receiver_.Receive();
  ASSERT_TRUE(request.ok()) << request.status();
  std::array<char, 100> buffer;
  ASSERT_EQ(*request->Read(buffer), 3u);
  ASSERT_EQ(request->Write("first"), OkStatus());
  ASSERT_EQ(*exchange->Read(buffer), 5u);
  ASSERT_EQ(exchange->Write("two"), OkStatus());
  ASSERT_EQ(*request->Read(buffer), 3u);
  ASSERT_EQ(request->Write("second"), OkStatus());
  ASSERT_EQ(*exchange->Read(buffer), 6u);
  ASSERT_EQ(exchange->FinishWriting(), OkStatus());
  ASSERT_EQ(*request->Read(buffer), 0u);
  ASSERT_EQ(request->Finish(), OkStatus());
  EXPECT_EQ(*exchange->Read(buffer), 0u);
}

TEST_F(ExchangeTest, EarlyAnswerEndsTheExchange) {
  auto exchange = sender_.Start();
  ASSERT_TRUE(exchange.ok());
  ASSERT_EQ(exchange->Write("begin"), OkStatus());
  auto request = receiver_.Receive();
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(request->Reply("enough"), OkStatus());
  // It goes on until it learns of the end: an unread request stops it at the latest when the window is used up.
  const std::string part = Body(100'000, 3);
  Status status;
  while (status.ok()) status = exchange->Write(part);
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition) << status;
  EXPECT_EQ(*exchange->ReadAll(), "enough");
  // Both are free for their next operation.
  EXPECT_EQ(receiver_.Receive({.wait = milliseconds(0)}).status().code(), StatusCode::kDeadlineExceeded);
  SendOptions options;
  options.timeout = milliseconds(1);
  EXPECT_EQ(sender_.Send("", options).status().code(), StatusCode::kDeadlineExceeded);
}

TEST_F(ExchangeTest, ReceiversStatusReachesTheSenderBehindTheBody) {
  std::thread receiver([this] {
    auto request = receiver_.Receive();
    ASSERT_TRUE(request.ok());
    ASSERT_EQ(request->Write("half"), OkStatus());
    EXPECT_EQ(request->Finish(DataLossError("disk"), {{"at", "4"}}), OkStatus());
    EXPECT_EQ(request->Finish().code(), StatusCode::kFailedPrecondition);
  });
  auto exchange = sender_.Start();
  ASSERT_TRUE(exchange.ok());
  std::array<char, 100> buffer;
  EXPECT_EQ(*exchange->Read(buffer), 4u);
  EXPECT_EQ(exchange->Read(buffer).status(), Ran(DataLossError("disk")));
  EXPECT_EQ(exchange->trailing_metadata(), (Metadata{{"at", "4"}}));
  receiver.join();
}

TEST_F(ExchangeTest, ReceiversStatusWithoutABodyReachesTheSender) {
  std::thread receiver([this] {
    auto request = receiver_.Receive();
    ASSERT_TRUE(request.ok());
    EXPECT_EQ(request->Finish(NotFoundError("no such thing")), OkStatus());
  });
  EXPECT_EQ(sender_.Send("x").status(), Ran(NotFoundError("no such thing")));
  receiver.join();
}

TEST_F(ExchangeTest, CancelFreesAReaderAndTellsTheReceiver) {
  auto exchange = sender_.Start();
  ASSERT_TRUE(exchange.ok());
  ASSERT_EQ(exchange->Write("x"), OkStatus());
  auto request = receiver_.Receive();
  ASSERT_TRUE(request.ok());
  std::thread reader([&] {
    std::array<char, 1> buffer;
    EXPECT_EQ(exchange->Read(buffer).status(), Ran(DataLossError("the source cannot be read")));
  });
  exchange->Cancel(DataLossError("the source cannot be read"));
  reader.join();
  EXPECT_EQ(exchange->Write("y"), Ran(DataLossError("the source cannot be read")));
  EXPECT_TRUE(request->WaitCancelled(milliseconds(30'000)));
  EXPECT_EQ(request->status().code(), StatusCode::kCancelled);
  EXPECT_EQ(request->Write("z").code(), StatusCode::kCancelled);
  EXPECT_EQ(request->Finish().code(), StatusCode::kCancelled);
}

TEST_F(ExchangeTest, DroppedUnfinishedIsReset) {
  {
    auto exchange = sender_.Start();
    ASSERT_TRUE(exchange.ok());
    ASSERT_EQ(exchange->Write("x"), OkStatus());
    auto request = receiver_.Receive();
    ASSERT_TRUE(request.ok());
    { const Exchange dropped = *std::move(exchange); }
    EXPECT_TRUE(request->WaitCancelled(milliseconds(30'000)));
  }
  auto exchange = sender_.Start();
  ASSERT_TRUE(exchange.ok());
  ASSERT_EQ(exchange->Write("x"), OkStatus());
  { ASSERT_TRUE(receiver_.Receive().ok()); }
  std::array<char, 1> buffer;
  EXPECT_EQ(exchange->Read(buffer).status().code(), StatusCode::kAborted);
  EXPECT_EQ(exchange->Read(buffer).status().message(), "dropped unfinished");
}

TEST_F(ExchangeTest, RequeueHandsAnIdempotentRequestToAnother) {
  SendOptions options;
  options.idempotent = true;
  std::thread sender([&] {
    const auto reply = sender_.Send("work", options);
    ASSERT_TRUE(reply.ok()) << reply.status();
    EXPECT_EQ(reply->head.attempt, 2u);
  });
  auto request = receiver_.Receive();
  ASSERT_TRUE(request.ok());
  request->Requeue();
  Client other(connection_, "exchange");
  auto again = other.Receive();
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->info().id, request->info().id);
  EXPECT_EQ(again->info().attempt, 2u);
  EXPECT_EQ(*again->ReadAll(), "work");
  EXPECT_EQ(again->Reply("done"), OkStatus());
  sender.join();
}

TEST_F(ExchangeTest, ReaderThatStopsStopsItsWriterWithinTheWindowAndNobodyElse) {
  auto exchange = sender_.Start();
  ASSERT_TRUE(exchange.ok());
  ASSERT_EQ(exchange->Write("x"), OkStatus());
  auto request = receiver_.Receive();
  ASSERT_TRUE(request.ok());
  std::atomic<size_t> written = 0;
  std::thread writer([&] {
    const std::string part = Body(1000, 1);
    while (exchange->Write(part).ok()) written += part.size();
  });
  // Another pair on the same connection runs unhindered, with more bytes than the window.
  Client other_sender(connection_, "other");
  Client other_receiver(connection_, "other");
  std::thread other([&] {
    for (int i = 0; i < 10; ++i) {
      auto other_request = other_receiver.Receive();
      ASSERT_TRUE(other_request.ok());
      ASSERT_EQ(other_request->Reply(*other_request->ReadAll()), OkStatus());
    }
  });
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(other_sender.Send(Body(1 << 20, 4)).ok());
  other.join();
  // The window, and what a writer may leave with the I/O thread.
  EXPECT_LE(written, kWindow + 256 * 1024);
  // It goes on as soon as somebody reads.
  std::array<char, 65536> buffer;
  size_t read = 0;
  while (read < 4 * kWindow) read += *request->Read(buffer);
  exchange->Cancel();
  writer.join();
}

TEST_F(ExchangeTest, ReplyLargerThanAllowedIsRefusedAtTheBound) {
  for (const size_t bytes : {size_t{99999}, size_t{100000}, size_t{100001}}) {
    std::thread receiver([&] {
      auto request = receiver_.Receive();
      ASSERT_TRUE(request.ok());
      request->Reply(Body(bytes, 1)).ok();
    });
    SendOptions options;
    options.max_reply_bytes = 100'000;
    const auto reply = sender_.Send("", options);
    receiver.join();
    EXPECT_EQ(reply.status().code(), bytes > 100'000 ? StatusCode::kResourceExhausted : StatusCode::kOk);
  }
}

TEST_F(ExchangeTest, HeadLargerThanTheServerTakesIsRefusedHere) {
  SendOptions options;
  options.metadata = {{"k", std::string(16 * 1024, 'v')}};
  EXPECT_EQ(sender_.Send("", options).status().code(), StatusCode::kInvalidArgument);
  options.metadata = {{"k", std::string(16 * 1024 - 16, 'v')}};
  options.timeout = milliseconds(1);
  EXPECT_EQ(sender_.Send("", options).status().code(), StatusCode::kDeadlineExceeded) << "one that fits is sent";
}

}  // namespace
}  // namespace relay::testing

#include "relay/status.h"

#include <gtest/gtest.h>

#include <memory>
#include <sstream>

#include "client/wire.h"
#include "relay/uuid.h"

namespace relay {
namespace {

TEST(Status, PrintsCodeAndEndAndMessage) {
  std::ostringstream out;
  Status named = UnavailableError("nobody receives");
  named.set_end("no_receiver");
  out << UnavailableError("connect tcp://h:1: connection refused") << "; " << OkStatus() << "; " << named;
  EXPECT_EQ(out.str(),
            "UNAVAILABLE: connect tcp://h:1: connection refused; OK; UNAVAILABLE no_receiver: nobody receives");
}

TEST(Status, OkHasNoMessage) { EXPECT_EQ(Status(StatusCode::kOk, "dropped"), OkStatus()); }

TEST(Status, CopiesAreApart) {
  Status status = AbortedError("a");
  const Status copy = status;
  status.set_end("end");
  EXPECT_EQ(copy, AbortedError("a"));
  EXPECT_NE(copy, status);
  status = copy;
  EXPECT_EQ(status, copy);
  status = OkStatus();
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(copy.message(), "a");
  const Status& itself = status = copy;
  status = itself;
  EXPECT_EQ(status, copy);
}

TEST(Status, WhatIsSaidOfAnOkLeavesItOk) {
  Status status;
  status.set_end("").set_may_have_run(false);
  EXPECT_EQ(status, OkStatus());
  status.set_retry_after(std::chrono::milliseconds(1));
  EXPECT_TRUE(status.ok());
  EXPECT_NE(status, OkStatus());
  EXPECT_EQ(status.retry_after(), std::chrono::milliseconds(1));
}

TEST(Status, SurvivesTheWireButForWhatIsTheServersToSay) {
  Status status = ResourceExhaustedError("queue full");
  status.set_end("\xff").set_may_have_run(true).set_retry_after(std::chrono::milliseconds(250));
  v1::Status wire;
  client::ToWire(status, wire);
  Status same = ResourceExhaustedError("queue full");
  EXPECT_EQ(client::FromWire(wire), same.set_retry_after(std::chrono::milliseconds(250)));
  wire.set_end("queue_count");
  wire.set_may_have_run(true);
  EXPECT_EQ(client::FromWire(wire), same.set_end("queue_count").set_may_have_run(true));
}

TEST(Status, CodesThatAreNoneComeAsUnknown) {
  v1::Status wire;
  wire.set_code(17);
  EXPECT_EQ(client::FromWire(wire).code(), StatusCode::kUnknown);
}

TEST(Status, WordsOnTheWireAreUtf8AndShort) {
  v1::Status wire;
  client::ToWire(AbortedError("a\xff"
                              "b\xc3\xa4"),
                 wire);
  EXPECT_EQ(wire.message(), "a?b\xc3\xa4");
  client::ToWire(AbortedError(std::string(client::kMaxMessageBytes + 1, 'x')), wire);
  EXPECT_EQ(wire.message().size(), client::kMaxMessageBytes);
}

TEST(StatusOr, HoldsWhatCanOnlyBeMoved) {
  StatusOr<std::unique_ptr<int>> value(std::make_unique<int>(7));
  ASSERT_TRUE(value.ok());
  const std::unique_ptr<int> taken = *std::move(value);
  EXPECT_EQ(*taken, 7);
  const StatusOr<std::unique_ptr<int>> error(NotFoundError("none"));
  EXPECT_EQ(error.status().code(), StatusCode::kNotFound);
}

TEST(StatusOr, WithoutItsErrorHasNoValueEither) {
  StatusOr<int> error(NotFoundError("none"));
  EXPECT_EQ(std::move(error).status().code(), StatusCode::kNotFound);
  EXPECT_FALSE(error.ok());  // NOLINT: what moving has left is the point
}

TEST(Uuid, ParsesWhatItPrints) {
  const Uuid id = Uuid::New();
  EXPECT_EQ(Uuid::Parse(id.ToString()), id);
  EXPECT_EQ(Uuid::Parse("not one"), std::nullopt);
  EXPECT_TRUE(Uuid().is_nil());
  EXPECT_NE(Uuid::New(), id);
}

TEST(Wire, RefusesTextsThatAreNoUtf8) {
  EXPECT_TRUE(client::MakeStart("m\xc3\xa4", "", {{"key", "\xff any bytes"}}).ok());
  EXPECT_FALSE(client::MakeStart("\xff", "", {}).ok());
  EXPECT_FALSE(client::MakeStart("", "\xc0\x80", {}).ok());
  EXPECT_FALSE(client::MakeStart("", "", {{"\xed\xa0\x80", ""}}).ok());
}

}  // namespace
}  // namespace relay

// Each rule is kept by an honest history, and broken once by one that lies about it.

#include "checker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace relay::chaos {
namespace {

using Kind = Event::Kind;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr uint64_t kKey = 7;
constexpr uint64_t kBody = 100;
constexpr uint64_t kReply = 200;
constexpr uint32_t kSender = 1;
constexpr uint32_t kReceiver = 2;
constexpr uint32_t kOtherReceiver = 3;

Uuid IdOf(uint8_t last) {
  Uuid id;
  id.bytes[15] = last;
  return id;
}

// A history in the making; each verb is a millisecond behind the one before it.
class Tale {
 public:
  Tale& Begin(bool is_idempotent = false, uint32_t timeout_ms = 0) {
    Event& event = Add(Kind::kBegin, kSender);
    event.sum = kBody;
    event.is_idempotent = is_idempotent;
    event.timeout_ms = timeout_ms;
    return *this;
  }
  Tale& Named(uint8_t id) {
    Add(Kind::kNamed, kSender).request = IdOf(id);
    return *this;
  }
  Tale& Delivered(uint32_t receiver = kReceiver, uint32_t attempt = 1, uint8_t id = 1) {
    Event& event = Add(Kind::kDelivered, receiver);
    event.attempt = attempt;
    event.request = IdOf(id);
    return *this;
  }
  Tale& BodyRead(uint64_t sum = kBody) {
    Add(Kind::kBodyRead, kReceiver).sum = sum;
    return *this;
  }
  Tale& Answer(uint32_t receiver = kReceiver, StatusCode code = StatusCode::kOk, uint64_t sum = kReply) {
    Event& event = Add(Kind::kAnswer, receiver);
    event.code = code;
    event.sum = sum;
    return *this;
  }
  Tale& Answered(StatusCode code = StatusCode::kOk) {
    Add(Kind::kAnswered, kReceiver).code = code;
    return *this;
  }
  Tale& End(StatusCode code = StatusCode::kOk, bool may_have_run = true, uint64_t sum = kReply) {
    Event& event = Add(Kind::kEnd, kSender);
    event.code = code;
    event.may_have_run = code != StatusCode::kOk && may_have_run;
    event.sum = sum;
    return *this;
  }
  Tale& Of(uint64_t key) {
    key_ = key;
    return *this;
  }
  Tale& After(int64_t us) {
    now_us_ += us;
    return *this;
  }

  std::vector<std::string> Verdict(CheckOptions options = {}) const {
    options.slack_us = 50'000;
    std::vector<std::string> rules;
    for (const Violation& violation : Check(history_, options)) rules.emplace_back(NameOf(violation.rule));
    return rules;
  }
  const History& history() const { return history_; }

 private:
  Event& Add(Kind kind, uint32_t actor) {
    Event event;
    event.at_us = now_us_ += 1000;
    event.key = key_;
    event.kind = kind;
    event.actor = actor;
    return history_.emplace_back(event);
  }

  int64_t now_us_ = 0;
  uint64_t key_ = kKey;
  History history_;
};

Tale Whole() { return Tale().Begin().Named(1).Delivered().BodyRead().Answer().Answered().End(); }

TEST(Checker, AnHonestExchange) { EXPECT_THAT(Whole().Verdict(), IsEmpty()); }

TEST(Checker, TheOrderOfRecordsDoesNotMatter) {
  History reversed = Whole().history();
  std::reverse(reversed.begin(), reversed.end());
  EXPECT_THAT(Check(reversed, {}), IsEmpty());
}

TEST(Checker, ASendIsBegunOnce) {
  EXPECT_THAT(Tale().Begin().Begin().End(StatusCode::kUnavailable).Verdict(), ElementsAre("one_begin"));
  EXPECT_THAT(Tale().Delivered().Verdict(), ElementsAre("one_begin"));
  EXPECT_THAT(Tale().Delivered().Begin().End(StatusCode::kUnavailable).Verdict(), ElementsAre("one_begin"));
}

TEST(Checker, ASendEndsOnce) {
  EXPECT_THAT(Tale().Begin().Verdict(), ElementsAre("one_end"));
  EXPECT_THAT(Whole().End().Verdict(), ElementsAre("one_end"));
  EXPECT_THAT(Tale().End(StatusCode::kUnavailable).Begin().Verdict(), ElementsAre("one_end"));
}

TEST(Checker, OnlyAKilledSenderIsExcused) {
  EXPECT_THAT(Tale().Begin().Verdict({.killed = {kSender}}), IsEmpty());
  EXPECT_THAT(Tale().Begin().Verdict({.killed = {kReceiver}}), ElementsAre("one_end"));
  EXPECT_THAT(Tale().Begin().Delivered().Answer().Verdict({.killed = {kSender}}), IsEmpty());
  EXPECT_THAT(Tale().Begin().Delivered().Delivered(kOtherReceiver).Verdict({.killed = {kSender}}),
              ElementsAre("plain_once"));
}

TEST(Checker, ASendEndsInItsTime) {
  const auto ends_after = [](int64_t us) {
    return Tale().Begin(false, 100).After(us).End(StatusCode::kDeadlineExceeded);
  };
  EXPECT_THAT(ends_after(149'000).Verdict(), IsEmpty());
  EXPECT_THAT(ends_after(150'000).Verdict(), ElementsAre("ends_in_time"));
  EXPECT_THAT(Tale().Begin().After(1'000'000'000).End(StatusCode::kUnavailable).Verdict(), IsEmpty());
}

TEST(Checker, ASuccessIsWhatOneReceiverSaid) {
  EXPECT_THAT(Tale().Begin().End().Verdict(), ElementsAre("true_success"));
  EXPECT_THAT(Tale().Begin().Delivered().End().Verdict(), ElementsAre("true_success"));
  EXPECT_THAT(Tale().Begin().Delivered().Answer(kReceiver, StatusCode::kOk, 201).End().Verdict(),
              ElementsAre("true_success"));
  EXPECT_THAT(Tale().Begin().Delivered().Answer(kReceiver, kReceiversWord).End().Verdict(),
              ElementsAre("true_success"));
  EXPECT_THAT(Tale().Begin().Delivered().End().Answer().Verdict(), ElementsAre("true_success"));
}

TEST(Checker, ASuccessIsNotAnAnswerToAnotherSend) {
  EXPECT_THAT(Whole().Of(8).Begin().Delivered(kReceiver, 1, 2).End().Verdict(), ElementsAre("true_success"));
}

TEST(Checker, ASuccessIsNotWhatTwoHaveSaid) {
  EXPECT_THAT(
      Tale().Begin(true).Delivered().Answer().Delivered(kOtherReceiver, 2).Answer(kOtherReceiver).End().Verdict(),
      ElementsAre("true_success"));
}

TEST(Checker, ASuccessIsNotAnAnswerThatFailed) {
  const auto answered = [](StatusCode code) { return Tale().Begin().Delivered().Answer().Answered(code).End(); };
  EXPECT_THAT(answered(StatusCode::kOk).Verdict(), IsEmpty());
  EXPECT_THAT(answered(StatusCode::kUnavailable).Verdict(), ElementsAre("true_success"));
  EXPECT_THAT(Tale().Begin().Delivered().Answer().End().Verdict(), IsEmpty());  // killed before it could say
}

TEST(Checker, AReceiversFailureIsWhatOneReceiverSaid) {
  EXPECT_THAT(Tale().Begin().Delivered().Answer(kReceiver, kReceiversWord).End(kReceiversWord).Verdict(), IsEmpty());
  EXPECT_THAT(Tale().Begin().Delivered().End(kReceiversWord).Verdict(), ElementsAre("true_failure"));
  EXPECT_THAT(Tale().Begin().Delivered().Answer().End(kReceiversWord).Verdict(), ElementsAre("true_failure"));
}

TEST(Checker, WhatAReceiverSawMayHaveRun) {
  EXPECT_THAT(Tale().Begin().End(StatusCode::kUnavailable, false).Verdict(), IsEmpty());
  EXPECT_THAT(Tale().Begin().Delivered().End(StatusCode::kUnavailable, true).Verdict(), IsEmpty());
  EXPECT_THAT(Tale().Begin().Delivered().End(StatusCode::kUnavailable, false).Verdict(),
              ElementsAre("true_may_have_run"));
  EXPECT_THAT(Tale().Begin().End(StatusCode::kUnavailable, false).Delivered().Verdict(),
              ElementsAre("true_may_have_run"));
}

TEST(Checker, APlainRequestIsHandedOutOnce) {
  const auto twice = [](bool is_idempotent) {
    return Tale().Begin(is_idempotent).Delivered().Delivered(kOtherReceiver).Answer().End();
  };
  EXPECT_THAT(twice(true).Verdict(), IsEmpty());
  EXPECT_THAT(twice(false).Verdict(), ElementsAre("plain_once"));
}

TEST(Checker, AttemptsHaveBounds) {
  const auto attempt = [](bool is_idempotent, uint32_t number) {
    return Tale().Begin(is_idempotent).Delivered(kReceiver, number).End(StatusCode::kUnavailable);
  };
  EXPECT_THAT(attempt(true, 3).Verdict(), IsEmpty());
  EXPECT_THAT(attempt(true, 4).Verdict(), ElementsAre("attempts_in_bounds"));
  EXPECT_THAT(attempt(true, 0).Verdict(), ElementsAre("attempts_in_bounds"));
  EXPECT_THAT(attempt(false, 2).Verdict(), ElementsAre("attempts_in_bounds"));
}

TEST(Checker, ABodyIsWhole) {
  EXPECT_THAT(Tale().Begin().Delivered().BodyRead(99).End(StatusCode::kUnavailable).Verdict(),
              ElementsAre("whole_body"));
}

TEST(Checker, ASendHasOneIdOfItsOwn) {
  EXPECT_THAT(Tale().Begin().Named(1).Delivered(kReceiver, 1, 2).End(StatusCode::kUnavailable).Verdict(),
              ElementsAre("one_id"));
  EXPECT_THAT(Tale()
                  .Begin(true)
                  .Delivered(kReceiver, 1, 1)
                  .Delivered(kOtherReceiver, 2, 2)
                  .End(StatusCode::kUnavailable)
                  .Verdict(),
              ElementsAre("one_id"));
  EXPECT_THAT(Whole().Of(8).Begin().Delivered(kOtherReceiver).End(StatusCode::kUnavailable).Verdict(),
              ElementsAre("one_id"));
}

TEST(Checker, NothingIsHandedOutWhenItsTimeIsOver) {
  const auto handed_out_after = [](int64_t us) {
    return Tale().Begin(false, 100).End(StatusCode::kDeadlineExceeded).After(us).Delivered();
  };
  EXPECT_THAT(handed_out_after(140'000).Verdict(), IsEmpty());
  EXPECT_THAT(handed_out_after(150'000).Verdict(), ElementsAre("not_expired"));
}

TEST(Checker, TheSummaryCountsEachEnd) {
  const Tale tale = Whole()
                        .Of(8)
                        .Begin()
                        .Delivered(kReceiver, 1, 2)
                        .End(StatusCode::kUnavailable)
                        .Of(9)
                        .Begin()
                        .End(StatusCode::kUnavailable, false)
                        .Of(10)
                        .Begin();
  const Summary summary = Summarize(tale.history());
  EXPECT_EQ(summary.sends, 4U);
  EXPECT_EQ(summary.succeeded, 1U);
  EXPECT_EQ(summary.may_have_run, 1U);
  EXPECT_EQ(summary.of_which_seen, 1U);
  EXPECT_EQ(summary.not_run, 1U);
  EXPECT_EQ(summary.unended, 1U);
  EXPECT_EQ(summary.deliveries, 2U);
}

}  // namespace
}  // namespace relay::chaos

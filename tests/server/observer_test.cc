// Observers: who may be one, what they are shown and what never, and how much they are owed.

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "driver.h"
#include "observing.h"
#include "proto/channel_name.h"
#include "proto/mirror_block.h"

namespace relay::server {
namespace {

using proto::FrameType;
using proto::kNilUuid;
using proto::MirrorKind;
namespace flag = proto::flag;

TEST(Observers, AreRefusedUnlessAllowed) {
  Driver driver;
  Peer& observer = driver.Connect();
  observer.Send(ObserverHello());
  observer.ExpectRefused(End::kObserver);
  driver.ExpectNothingLeft();
}

TEST(Observers, AreMaxObserversAtTheMost) {
  Limits limits = Allowing();
  limits.max_observers = 3;
  for (const int already : {1, 2, 3}) {
    Driver driver(limits);
    for (int i = 0; i < already; ++i) Observer(driver);
    Peer& last = driver.Connect();
    last.Send(ObserverHello());
    if (already == 3) {
      last.ExpectRefused(End::kMaxObservers);
    } else {
      EXPECT_EQ(last.TakeOne().type, FrameType::kWelcome);
    }
    driver.ExpectNothingLeft();
  }
}

TEST(Observers, GiveTheirPlaceBackHoweverTheyEnd) {
  Limits limits = Allowing();
  limits.max_observers = 1;
  Driver driver(limits);
  Observer(driver).Break();
  Observer(driver).Send(GoawayFrame());
  Observer(driver).Send(JoinFrame(1, Id(1), "c"));
  Observer(driver).CloseInput();
  Observer(driver);
  driver.ExpectNothingLeft();
}

TEST(Observers, AreShownBothSidesOfAnExchange) {
  Driver driver(Allowing());
  Peer& observer = Observer(driver);
  Peer& receiver = driver.Joined("c");
  receiver.Send(ReceiveFrame(1));
  Peer& sender = driver.Joined("c");
  const std::string request = StartFrame(flag::kRequest, 1, Id(9), {.flags = flag::kFin, .body = "question"});
  sender.Send(request);
  receiver.Send(StartFrame(flag::kResponse, 1, Id(9)) + EndFrame(flag::kResponse, 1, Id(9)));
  const std::vector<Mirrored> mirrors = TakeMirrors(observer);
  EXPECT_EQ(Names(mirrors, receiver),
            (Strings{"0 OPENED", "0< HELLO", "0> WELCOME", "0< JOIN", "0< RECEIVE", "1 OPENED", "1< HELLO",
                     "1> WELCOME", "1< JOIN", "1< START", "0> START", "0< START", "0< END", "1> START", "1> END"}));
  // As it was read, before the server wrote into it; and as it was handed on.
  EXPECT_EQ(mirrors[9].header + mirrors[9].text, request);
  const Seen handed_on = receiver.Take().back();
  EXPECT_EQ(mirrors[10].text, handed_on.payload);
  EXPECT_NE(mirrors[10].text, mirrors[9].text);
  EXPECT_EQ(mirrors[0].text, "test");
  for (const size_t of_slots : {3u, 4u, 9u, 10u}) {
    EXPECT_EQ(mirrors[of_slots].channel, proto::ChannelId("c"));
    EXPECT_EQ(mirrors[of_slots].client, Driver::ClientId(of_slots == 9 ? sender : receiver));
  }
  EXPECT_EQ(mirrors[2].client, kNilUuid);
  sender.Break();
  const std::vector<Mirrored> end = TakeMirrors(observer);
  EXPECT_EQ(Names(end, receiver), Strings{"1 ENDED"});
  EXPECT_EQ(end[0].text, "peer_lost");
  driver.ExpectNothingLeft();
}

TEST(Observers, AreShownLastWordsBeforeTheEnd) {
  Driver driver(Allowing());
  Peer& observer = Observer(driver);
  Peer& peer = driver.Open();
  peer.Send(HelloFrame());
  EXPECT_EQ(Names(TakeMirrors(observer), peer),
            (Strings{"0 OPENED", "0< HELLO", "0> WELCOME", "0< HELLO", "0> GOAWAY", "0 ENDED"}));
  peer.Break();
  EXPECT_TRUE(observer.is_quiet());
  driver.ExpectNothingLeft();
}

TEST(Observers, AreNotShownToEachOther) {
  Driver driver(Allowing());
  Peer& first = Observer(driver);
  Peer& second = Observer(driver);
  EXPECT_EQ(TakeMirrors(first).size(), 2u);  // OPENED, and HELLO, which says that it is one
  second.Send(PingFrame());
  EXPECT_EQ(second.TakeOne().type, FrameType::kPong);
  EXPECT_TRUE(first.is_quiet());
  driver.ExpectNothingLeft();
}

TEST(Observers, AreToldTheTimeSinceTheServersStart) {
  Driver driver(Allowing());
  driver.Advance(absl::Milliseconds(1500));
  Peer& observer = Observer(driver);
  Peer& peer = driver.Connect();
  EXPECT_EQ(TakeMirrors(observer).front().time_us, 1500000u);
  peer.Break();
  driver.ExpectNothingLeft();
}

// ---- What is never shown -------------------------------------------------------------------------------------------

std::string HelloWith(std::string_view token, std::string_view behind = {}) {
  v1::Hello hello;
  hello.set_version(proto::kVersion);
  hello.set_agent("agent");
  hello.set_token(std::string(token));
  return FrameOf(FrameType::kHello, 0, 0, kNilUuid, hello.SerializeAsString() + std::string(behind));
}

TEST(Observers, NeverSeeATokenOrAKey) {
  Driver driver(Allowing());
  Peer& observer = Observer(driver);
  Peer& peer = driver.Connect();
  peer.Send(std::string(proto::kPreface) + HelloWith("SECRET") + JoinFrame(1, Id(5), "c", "SECRET"));
  const std::vector<Mirrored> mirrors = TakeMirrors(observer);
  ASSERT_EQ(Names(mirrors, peer), (Strings{"0 OPENED", "0< HELLO", "0< JOIN", "0> WELCOME"}));
  v1::Hello hello;
  ASSERT_TRUE(proto::ParseMessage(mirrors[1].text, hello));
  EXPECT_EQ(hello.agent(), "agent");
  EXPECT_EQ(hello.token(), std::string(6, '\0'));
  v1::Join join;
  ASSERT_TRUE(proto::ParseMessage(mirrors[2].text, join));
  EXPECT_EQ(join.channel_name(), "c");
  EXPECT_EQ(join.key(), std::string(6, '\0'));
  driver.ExpectNothingLeft();
}

TEST(Observers, NeverSeeASecretThatHides) {
  const std::string again = std::string("\x1a\x06SECRET", 8);      // the token once more
  const std::string unknown = std::string("\x7a\x06SECRET", 8);    // a field that this version does not know
  const std::string cut_short = std::string("\x1a\x7fSECRET", 8);  // and what does not parse
  for (const std::string& behind : {again, unknown, cut_short}) {
    Driver driver(Allowing());
    Peer& observer = Observer(driver);
    driver.Connect().Send(std::string(proto::kPreface) + HelloWith("", behind));
    for (const Mirrored& mirror : TakeMirrors(observer)) {
      EXPECT_EQ(mirror.text.find("SECRET"), std::string::npos) << mirror.name();
    }
    driver.ExpectNothingLeft();
  }
}

TEST(Observers, SeeOfAnUnknownTypeTheHeaderAlone) {
  Driver driver(Allowing());
  Peer& peer = driver.Open();
  Peer& observer = Observer(driver);
  peer.Send(FrameOf(static_cast<FrameType>(200), 0, 0, kNilUuid, "who knows"));
  const std::vector<Mirrored> mirrors = TakeMirrors(observer);
  ASSERT_EQ(mirrors.size(), 1u);
  EXPECT_EQ(mirrors[0].text, "");
  EXPECT_EQ(mirrors[0].header[3], 9);
  driver.ExpectNothingLeft();
}

// ---- What they are owed --------------------------------------------------------------------------------------------

TEST(Observers, AreOwedObserverQueueBytesAndNotOneMore) {
  constexpr size_t kMirrorOfPingBytes = 24 + 56 + 24 + 8;
  for (const size_t room : {kMirrorOfPingBytes - 1, kMirrorOfPingBytes, kMirrorOfPingBytes + 1}) {
    Limits limits = Allowing();
    limits.observer_queue_bytes = 10000;
    Driver driver(limits);
    Peer& peer = driver.Open();
    Peer& observer = Observer(driver);
    observer.ReportUnsent(10000 - room);
    peer.Send(FrameOf(FrameType::kPong, 0, 0, kNilUuid, "8 bytes.") /* is answered by nothing */);
    EXPECT_EQ(TakeMirrors(observer).size(), room < kMirrorOfPingBytes ? 0u : 1u);
    EXPECT_EQ(driver.metrics().mirrors_lost, room < kMirrorOfPingBytes ? 1u : 0u);
    driver.ExpectNothingLeft();
  }
}

TEST(Observers, AreToldWhatTheyLostAndHoldUpNobody) {
  Limits limits = Allowing();
  limits.observer_queue_bytes = 10000;
  Driver driver(limits);
  Peer& peer = driver.Open();
  Peer& observer = Observer(driver);
  observer.Stall();
  for (int i = 0; i < 1000; ++i) peer.Send(PingFrame());
  EXPECT_EQ(peer.Take().size(), 1000u);  // each PING was answered at once
  EXPECT_FALSE(observer.was_closed());
  EXPECT_LE(observer.waiting_bytes(), 10000u);
  EXPECT_EQ(driver.metrics().frames_mirrored + driver.metrics().mirrors_lost, 2000u);
  observer.Resume();
  std::vector<Mirrored> mirrors = TakeMirrors(observer);
  // Even where nothing follows: the last one bears the count alone.
  EXPECT_EQ(mirrors.back().kind, MirrorKind::kLost);
  EXPECT_EQ(mirrors.size() - 1 + mirrors.back().lost, 2000u);
  peer.Send(PingFrame());
  EXPECT_EQ(TakeMirrors(observer)[0].lost, 0u);
  driver.ExpectNothingLeft();
}

TEST(Observers, AreToldOfALossWithTheNextFrame) {
  Limits limits = Allowing();
  limits.observer_queue_bytes = 250;
  Driver driver(limits);
  Peer& peer = driver.Open();
  Peer& observer = Observer(driver);
  driver.InOneTurn([&] {
    for (int i = 0; i < 10; ++i) peer.Send(FrameOf(FrameType::kPong, 0, 0, kNilUuid, "8 bytes."));
  });
  EXPECT_EQ(TakeMirrors(observer).size(), 2u);
  peer.Send(FrameOf(FrameType::kPong, 0, 0, kNilUuid, "8 bytes."));
  const std::vector<Mirrored> mirrors = TakeMirrors(observer);
  ASSERT_EQ(mirrors.size(), 1u);
  EXPECT_EQ(mirrors[0].lost, 8u);
  driver.ExpectNothingLeft();
}

TEST(Observers, TwoOfThemLoseEachTheirOwn) {
  Limits limits = Allowing();
  limits.observer_queue_bytes = 1000;
  Driver driver(limits);
  Peer& peer = driver.Open();
  Peer& slow = Observer(driver);
  Peer& fast = Observer(driver);
  TakeMirrors(slow);
  slow.ReportUnsent(1000);
  for (int i = 0; i < 5; ++i) peer.Send(PingFrame());
  const std::vector<Mirrored> mirrors = TakeMirrors(fast);
  EXPECT_EQ(mirrors.size(), 10u);
  for (const Mirrored& mirror : mirrors) EXPECT_EQ(mirror.lost, 0u);
  EXPECT_TRUE(slow.is_quiet());
  slow.ReportUnsent(0);
  EXPECT_EQ(TakeMirrors(slow).front().lost, 10u);
  driver.ExpectNothingLeft();
}

// ---- What they must not --------------------------------------------------------------------------------------------

TEST(Observers, JoinNoClient) {
  Driver driver(Allowing());
  Peer& observer = Observer(driver);
  observer.Send(JoinFrame(1, Id(1), "c"));
  observer.ExpectRefused(End::kObserverRole);
  driver.ExpectNothingLeft();
}

TEST(Observers, AloneMayObserve) {
  Driver driver(Allowing());
  Peer& peer = driver.Open();
  peer.Send(ObserveFrame(Everything()));
  peer.ExpectRefused(End::kObserverRole);
  driver.ExpectNothingLeft();
}

TEST(Observers, NameIdsOfSixteenBytes) {
  for (const size_t bytes : {15u, 17u}) {
    Driver driver(Allowing());
    v1::Observe observe;
    observe.set_request_id(std::string(bytes, 'x'));
    Peer& observer = driver.Connect();
    observer.Send(ObserverHello() + ObserveFrame(observe));
    observer.ExpectRefused(End::kMalformed);
    driver.ExpectNothingLeft();
  }
}

TEST(Observers, AreLetGoWhileTrafficGoesOn) {
  Driver driver(Allowing());
  Peer& peer = driver.Open();
  Peer& observer = Observer(driver);
  driver.InOneTurn([&] {
    observer.Send(GoawayFrame());
    peer.Send(PingFrame());
  });
  EXPECT_TRUE(observer.was_shut());
  driver.ExpectNothingLeft();
}

}  // namespace
}  // namespace relay::server

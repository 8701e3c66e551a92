// Observers: who may be one, what they are shown and what never, and how much they are owed.

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "driver.h"
#include "proto/channel_name.h"
#include "proto/mirror_block.h"

namespace relay::server {
namespace {

using proto::FrameType;
using proto::kNilUuid;
using proto::MirrorKind;
namespace flag = proto::flag;

constexpr uint32_t kAll = 1 << 20;

Limits Allowing() {
  Limits limits;
  limits.allow_observers = true;
  return limits;
}

std::string ObserverHello() {
  v1::Hello hello;
  hello.set_version(proto::kVersion);
  hello.set_observer(true);
  return std::string(proto::kPreface) + FrameOf(FrameType::kHello, 0, kNilUuid, hello);
}

std::string ObserveFrame(const v1::Observe& observe) { return FrameOf(FrameType::kObserve, 0, kNilUuid, observe); }

v1::Observe Everything(uint32_t snap_bytes = kAll) {
  v1::Observe observe;
  observe.set_snap_bytes(snap_bytes);
  return observe;
}

Peer& Observer(Driver& driver, const v1::Observe& observe = Everything()) {
  Peer& observer = driver.Connect();
  observer.Send(ObserverHello() + ObserveFrame(observe));
  EXPECT_EQ(observer.TakeOne().type, FrameType::kWelcome);
  return observer;
}

// What a MIRROR shows. A value type.
struct Mirrored {
  MirrorKind kind;
  ConnectionId connection;
  uint64_t time_us;
  uint32_t lost;
  proto::Uuid channel;
  proto::Uuid client;
  std::string header;  // of a frame
  std::string text;    // the first bytes of its payload, or words

  FrameType type() const { return static_cast<FrameType>(header[4]); }
  std::string_view name() const { return header.empty() ? NameOf(kind) : proto::NameOf(type()); }
};

std::vector<Mirrored> TakeMirrors(Peer& observer) {
  std::vector<Mirrored> mirrors;
  for (Seen& seen : observer.Take()) {
    EXPECT_EQ(seen.type, FrameType::kMirror) << proto::NameOf(seen.type);
    if (seen.type != FrameType::kMirror) continue;
    const std::span<uint8_t> payload(reinterpret_cast<uint8_t*>(seen.payload.data()), seen.payload.size());
    EXPECT_TRUE(proto::CheckMirror(payload));
    const proto::MirrorBlock block(payload);
    Mirrored mirror = {
        block.kind(), block.connection(), block.time_us(), block.lost(), block.channel(), block.client(), "", ""};
    mirror.text = seen.payload.substr(proto::kMirrorBlockBytes);
    if (mirror.kind == MirrorKind::kRead || mirror.kind == MirrorKind::kWritten) {
      mirror.header = mirror.text.substr(0, proto::kHeaderBytes);
      mirror.text.erase(0, proto::kHeaderBytes);
    }
    mirrors.push_back(mirror);
  }
  return mirrors;
}

// "2< HELLO": connection, direction as the server sees it, and what.
std::vector<std::string> Names(const std::vector<Mirrored>& mirrors, const Peer& first) {
  std::vector<std::string> names;
  for (const Mirrored& mirror : mirrors) {
    std::string name = std::to_string(mirror.connection - first.connection());
    if (mirror.kind == MirrorKind::kRead) name += '<';
    if (mirror.kind == MirrorKind::kWritten) name += '>';
    names.push_back(name + " " + std::string(mirror.name()));
  }
  return names;
}

using Strings = std::vector<std::string>;

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

// ---- What they ask for ---------------------------------------------------------------------------------------------

class FilterTest : public testing::Test {
 protected:
  FilterTest() : driver_(Allowing()) {
    receiver_ = &driver_.Joined("jobs", 2);
    sender_ = &driver_.Joined("jobs", 2);
    other_ = &driver_.Joined("other");
  }

  // What one who asked so is shown of an exchange on slot 1, one on slot 2, and a client of another channel.
  Strings Shown(const v1::Observe& observe) {
    Peer& observer = Observer(driver_, observe);
    receiver_->Send(ReceiveFrame(1) + ReceiveFrame(2));
    sender_->Send(StartFrame(flag::kRequest, 1, Id(8), {.flags = flag::kFin}) +
                  StartFrame(flag::kRequest, 2, Id(9), {.flags = flag::kFin}));
    other_->Send(ReceiveFrame(1) + PingFrame());
    receiver_->Send(StartFrame(flag::kResponse, 1, Id(8), {.flags = flag::kFin}));
    sender_->Send(LeaveFrame(2, Driver::ClientId(*sender_, 2)));
    return Names(TakeMirrors(observer), *receiver_);
  }

  Driver driver_;
  Peer* receiver_;
  Peer* sender_;
  Peer* other_;
};

TEST_F(FilterTest, NothingSeesEverything) {
  EXPECT_EQ(Shown(Everything()),
            (Strings{"0< RECEIVE", "0< RECEIVE", "1< START", "1< START", "0> START", "0> START", "2< RECEIVE",
                     "2< PING", "2> PONG", "0< START", "1> START", "1< LEAVE", "0> RESET", "1> LEAVE"}));
}

TEST_F(FilterTest, ARequestIsBothItsSides) {
  v1::Observe observe;
  observe.set_request_id(std::string(proto::BytesOf(Id(9))));
  EXPECT_EQ(Shown(observe), (Strings{"1< START", "0> START", "0> RESET"}));
}

TEST_F(FilterTest, AClientIsAllThatItSaysAndIsTold) {
  v1::Observe observe;
  observe.set_client_id(std::string(proto::BytesOf(Driver::ClientId(*sender_, 2))));
  EXPECT_EQ(Shown(observe), (Strings{"1< START", "1< LEAVE", "1> LEAVE"}));
}

TEST_F(FilterTest, AChannelIsAllThatItsClientsSayAndAreTold) {
  v1::Observe observe;
  observe.set_channel_id(std::string(proto::BytesOf(proto::ChannelId("other"))));
  EXPECT_EQ(Shown(observe), Strings{"2< RECEIVE"});
}

TEST_F(FilterTest, AllOfItMustHold) {
  v1::Observe observe;
  observe.set_channel_id(std::string(proto::BytesOf(proto::ChannelId("other"))));
  observe.set_request_id(std::string(proto::BytesOf(Id(9))));
  EXPECT_EQ(Shown(observe), Strings{});
}

TEST_F(FilterTest, AJoinIsOfTheChannelThatItNames) {
  v1::Observe observe = Everything();
  observe.set_channel_id(std::string(proto::BytesOf(proto::ChannelId("new"))));
  Peer& observer = Observer(driver_, observe);
  other_->Send(JoinFrame(2, Id(77), "new") + JoinFrame(3, Id(77), "old"));
  EXPECT_EQ(Names(TakeMirrors(observer), *other_), Strings{"0< JOIN"});
}

TEST_F(FilterTest, WhoLeftInATurnIsNamedToThoseWhoAskAfterThat) {
  Peer& observer = driver_.Connect();
  observer.Send(ObserverHello());
  EXPECT_EQ(observer.TakeOne().type, FrameType::kWelcome);
  driver_.InOneTurn([&] {
    other_->Send(LeaveFrame(1, Driver::ClientId(*other_, 1)));
    observer.Send(ObserveFrame(Everything()));
  });
  const std::vector<Mirrored> mirrors = TakeMirrors(observer);
  ASSERT_EQ(Names(mirrors, *other_), Strings{"0> LEAVE"});
  EXPECT_EQ(mirrors[0].channel, proto::ChannelId("other"));
  EXPECT_EQ(mirrors[0].client, Driver::ClientId(*other_, 1));
}

TEST_F(FilterTest, AFrameOfAnUnknownTypeIsOfTheClientOnItsSlot) {
  v1::Observe observe;
  observe.set_client_id(std::string(proto::BytesOf(Driver::ClientId(*other_, 1))));
  Peer& observer = Observer(driver_, observe);
  std::string frame;
  proto::AppendFrame(frame, static_cast<FrameType>(99), 0, 1, Id(1), "unseen");
  other_->Send(frame);
  const std::vector<Mirrored> mirrors = TakeMirrors(observer);
  ASSERT_EQ(mirrors.size(), 1u);
  EXPECT_EQ(mirrors[0].channel, proto::ChannelId("other"));
  EXPECT_EQ(mirrors[0].client, Driver::ClientId(*other_, 1));
  EXPECT_EQ(mirrors[0].text, "");
}

TEST_F(FilterTest, ANewObserveReplacesTheOlder) {
  v1::Observe observe = Everything();
  observe.set_request_id(std::string(proto::BytesOf(Id(1000))));
  Peer& observer = Observer(driver_, observe);
  other_->Send(PingFrame());
  EXPECT_TRUE(observer.is_quiet());
  observer.Send(ObserveFrame(Everything()));
  other_->Send(PingFrame());
  EXPECT_EQ(TakeMirrors(observer).size(), 2u);
}

TEST(Observers, AreShownTheFirstSnapBytes) {
  for (const uint32_t snap_bytes : {0u, 3u, 7u, 8u, 9u}) {
    Driver driver(Allowing());
    Peer& peer = driver.Open();
    Peer& observer = Observer(driver, Everything(snap_bytes));
    peer.Send(PingFrame(0x0102030405060708));
    const std::vector<Mirrored> mirrors = TakeMirrors(observer);
    ASSERT_EQ(mirrors.size(), 2u);
    const std::string all = "\1\2\3\4\5\6\7\x08";
    EXPECT_EQ(mirrors[0].text, all.substr(0, snap_bytes));
    EXPECT_EQ(mirrors[1].text, all.substr(0, snap_bytes));
    EXPECT_EQ(mirrors[0].header[3], 8);  // what was declared, not what is shown
    driver.ExpectNothingLeft();
  }
}

TEST(Observers, AreSentNoPayloadOverTheLimit) {
  Driver driver(Allowing());
  const uint32_t most = Limits().max_payload_bytes;
  Peer& receiver = driver.Joined("c");
  receiver.Send(ReceiveFrame(1));
  Peer& sender = driver.Joined("c");
  sender.Send(StartFrame(flag::kRequest, 1, Id(9)));
  Peer& observer = Observer(driver, Everything(UINT32_MAX));
  sender.Send(ChunkFrame(flag::kRequest, 1, Id(9), std::string(most, 'x')));
  for (const Seen& seen : observer.Take()) EXPECT_EQ(seen.payload.size(), most);
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

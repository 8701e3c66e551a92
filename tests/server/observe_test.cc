// OBSERVE: which frames an observer asks for, and how much of each.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "driver.h"
#include "observing.h"
#include "proto/channel_name.h"

namespace relay::server {
namespace {

using proto::FrameType;
namespace flag = proto::flag;

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

}  // namespace
}  // namespace relay::server

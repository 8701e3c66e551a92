// An observer as a peer of the driver, and what it is shown.

#ifndef RELAY_TESTS_SERVER_OBSERVING_H_
#define RELAY_TESTS_SERVER_OBSERVING_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "driver.h"
#include "proto/mirror_block.h"

namespace relay::server {

inline constexpr uint32_t kAll = 1 << 20;

inline Limits Allowing() {
  Limits limits;
  limits.allow_observers = true;
  return limits;
}

inline std::string ObserverHello() {
  v1::Hello hello;
  hello.set_version(proto::kVersion);
  hello.set_observer(true);
  return std::string(proto::kPreface) + FrameOf(proto::FrameType::kHello, 0, proto::kNilUuid, hello);
}

inline std::string ObserveFrame(const v1::Observe& observe) {
  return FrameOf(proto::FrameType::kObserve, 0, proto::kNilUuid, observe);
}

inline v1::Observe Everything(uint32_t snap_bytes = kAll) {
  v1::Observe observe;
  observe.set_snap_bytes(snap_bytes);
  return observe;
}

inline Peer& Observer(Driver& driver, const v1::Observe& observe = Everything()) {
  Peer& observer = driver.Connect();
  observer.Send(ObserverHello() + ObserveFrame(observe));
  EXPECT_EQ(observer.TakeOne().type, proto::FrameType::kWelcome);
  return observer;
}

// What a MIRROR shows. A value type.
struct Mirrored {
  proto::MirrorKind kind;
  ConnectionId connection;
  uint64_t time_us;
  uint32_t lost;
  proto::Uuid channel;
  proto::Uuid client;
  std::string header;  // of a frame
  std::string text;    // the first bytes of its payload, or words

  proto::FrameType type() const { return static_cast<proto::FrameType>(header[4]); }
  std::string_view name() const { return header.empty() ? NameOf(kind) : proto::NameOf(type()); }
};

inline std::vector<Mirrored> TakeMirrors(Peer& observer) {
  std::vector<Mirrored> mirrors;
  for (Seen& seen : observer.Take()) {
    EXPECT_EQ(seen.type, proto::FrameType::kMirror) << proto::NameOf(seen.type);
    if (seen.type != proto::FrameType::kMirror) continue;
    const std::span<uint8_t> payload(reinterpret_cast<uint8_t*>(seen.payload.data()), seen.payload.size());
    EXPECT_TRUE(proto::CheckMirror(payload));
    const proto::MirrorBlock block(payload);
    Mirrored mirror = {
        block.kind(), block.connection(), block.time_us(), block.lost(), block.channel(), block.client(), "", ""};
    mirror.text = seen.payload.substr(proto::kMirrorBlockBytes);
    if (mirror.kind == proto::MirrorKind::kRead || mirror.kind == proto::MirrorKind::kWritten) {
      mirror.header = mirror.text.substr(0, proto::kHeaderBytes);
      mirror.text.erase(0, proto::kHeaderBytes);
    }
    mirrors.push_back(mirror);
  }
  return mirrors;
}

// "2< HELLO": connection, direction as the server sees it, and what.
inline std::vector<std::string> Names(const std::vector<Mirrored>& mirrors, const Peer& first) {
  std::vector<std::string> names;
  for (const Mirrored& mirror : mirrors) {
    std::string name = std::to_string(mirror.connection - first.connection());
    if (mirror.kind == proto::MirrorKind::kRead) name += '<';
    if (mirror.kind == proto::MirrorKind::kWritten) name += '>';
    names.push_back(name + " " + std::string(mirror.name()));
  }
  return names;
}

using Strings = std::vector<std::string>;

}  // namespace relay::server

#endif  // RELAY_TESTS_SERVER_OBSERVING_H_

// What connections leave behind, in bounded memory: the requests that slots had a part in, and the names of channels.

#ifndef RELAY_TOOLS_INSPECT_HISTORY_H_
#define RELAY_TOOLS_INSPECT_HISTORY_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/node_hash_map.h"
#include "absl/hash/hash.h"
#include "proto/uuid.h"

namespace relay::inspect {

// Of the requests that were over last, what became of them, by the slot that they were on. Thread-compatible.
class History {
 public:
  // What a slot had to do with a request that is not live on it.
  enum class Past : uint8_t {
    kNever,
    kForgotten,  // perhaps something: so much is not remembered
    kRefused,    // its START could not begin it
    kEnded,
    kEndedByReceiver,  // with the end of the response, which it wrote itself
    kEndedByServer,    // with the same, which the server wrote to the sender
  };

  void Add(uint64_t slot_key, const proto::Uuid& request, Past how) {
    const Key key(slot_key, request);
    Entry& entry = past_[key];
    entry.how = how;
    ++entry.times;
    order_.push_back(key);
    if (order_.size() <= kMost) return;
    const auto oldest = past_.find(order_.front());
    if (--oldest->second.times == 0) past_.erase(oldest);
    order_.pop_front();
    has_forgotten_ = true;
  }

  Past Find(uint64_t slot_key, const proto::Uuid& request) const {
    const auto found = past_.find(Key(slot_key, request));
    if (found != past_.end()) return found->second.how;
    return has_forgotten_ ? Past::kForgotten : Past::kNever;
  }

 private:
  static constexpr size_t kMost = 65536;  // more than are on their way at a time; a few megabytes

  using Key = std::pair<uint64_t, proto::Uuid>;
  struct Entry {
    Past how = Past::kNever;
    uint32_t times = 0;  // in order_
  };
  struct Hash {
    size_t operator()(const Key& key) const { return absl::HashOf(key.first, proto::UuidHash()(key.second)); }
  };

  absl::flat_hash_map<Key, Entry, Hash> past_;
  std::deque<Key> order_;
  bool has_forgotten_ = false;
};

// Thread-compatible.
class ChannelNames {
 public:
  void Add(const proto::Uuid& channel, std::string_view name) {
    if (names_.size() < kMost) names_.try_emplace(channel, name);
  }
  // Valid as long as this object; empty where nobody has told it.
  std::string_view Find(const proto::Uuid& channel) const {
    const auto found = names_.find(channel);
    return found == names_.end() ? std::string_view() : std::string_view(found->second);
  }

 private:
  static constexpr size_t kMost = 65536;  // as many channels as a relay has

  absl::node_hash_map<proto::Uuid, std::string, proto::UuidHash> names_;
};

}  // namespace relay::inspect

#endif  // RELAY_TOOLS_INSPECT_HISTORY_H_

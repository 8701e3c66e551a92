// All channels of one core.

#ifndef RELAY_REGISTRY_REGISTRY_H_
#define RELAY_REGISTRY_REGISTRY_H_

#include <cstddef>
#include <memory>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "proto/uuid.h"
#include "registry/channel.h"

namespace relay::registry {

// Thread-compatible. A channel lives from its first client to its last.
class Registry {
 public:
  size_t channel_count() const { return channels_.size(); }

  // Null where no client is on the channel.
  Channel* Find(const proto::Uuid& id) const;
  // The channel, made where it is not there yet. The caller adds a client to it.
  Channel& Open(const proto::Uuid& id);
  // Removes `client`, which is idle, and its channel with the last one.
  void Remove(Client& client);

  // As Channel::Check, over all channels.
  std::string Check() const;

 private:
  absl::flat_hash_map<proto::Uuid, std::unique_ptr<Channel>, proto::UuidHash> channels_;
};

}  // namespace relay::registry

#endif  // RELAY_REGISTRY_REGISTRY_H_

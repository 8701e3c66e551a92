#include "registry/registry.h"

namespace relay::registry {

Channel* Registry::Find(const proto::Uuid& id) const {
  const auto found = channels_.find(id);
  return found == channels_.end() ? nullptr : found->second.get();
}

Channel& Registry::Open(const proto::Uuid& id) {
  auto& channel = channels_[id];
  if (channel == nullptr) channel = std::make_unique<Channel>(id);
  return *channel;
}

void Registry::Remove(Client& client) {
  Channel& channel = *client.channel;
  channel.RemoveClient(client);
  if (channel.is_unused()) channels_.erase(channel.id());
}

std::string Registry::Check() const {
  for (const auto& [id, channel] : channels_) {
    if (channel->id() != id) return "a channel is indexed under another id";
    if (channel->is_unused()) return "a channel without clients was kept";
    if (std::string broken = channel->Check(); !broken.empty()) return broken;
  }
  return "";
}

}  // namespace relay::registry

#include "server/session.h"

#include <algorithm>
#include <utility>

namespace relay::server {

std::vector<Client*> SlotTable::All() const {
  std::vector<Client*> all;
  all.reserve(size_);
  for (const auto& client : low_) {
    if (client != nullptr) all.push_back(client.get());
  }
  if (high_.empty()) return all;
  // The clients themselves are not looked at: there may be thousands, each somewhere else in memory.
  std::vector<std::pair<uint16_t, Client*>> high;
  high.reserve(high_.size());
  for (const auto& [slot, client] : high_) high.emplace_back(slot, client.get());
  std::sort(high.begin(), high.end());
  for (const auto& [slot, client] : high) all.push_back(client);
  return all;
}

std::vector<Client*> SlotTable::Idle(size_t most) const {
  std::vector<Client*> idle;
  const auto take = [&idle, most](Client* client) {
    if (client != nullptr && client->operation == registry::Operation::kIdle) idle.push_back(client);
    return idle.size() < most;
  };
  for (const auto& client : low_) {
    if (!take(client.get())) return idle;
  }
  for (const auto& [slot, client] : high_) {
    if (!take(client.get())) return idle;
  }
  return idle;
}

}  // namespace relay::server

#include "server/session.h"

#include <algorithm>

namespace relay::server {

std::vector<Client*> SlotTable::All() const {
  std::vector<Client*> all;
  all.reserve(size_);
  for (const auto& client : low_) {
    if (client != nullptr) all.push_back(client.get());
  }
  for (const auto& [slot, client] : high_) all.push_back(client.get());
  std::sort(all.begin(), all.end(), [](const Client* a, const Client* b) { return a->slot < b->slot; });
  return all;
}

}  // namespace relay::server

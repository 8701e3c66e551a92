#include "server/send_queues.h"

#include <algorithm>
#include <bit>

namespace relay::server {

void SendQueues::Set(Session& session, size_t unsent_bytes) {
  total_bytes_ += unsent_bytes - session.unsent_bytes;
  const auto length = static_cast<size_t>(std::bit_width(unsent_bytes));
  const bool stays = length == static_cast<size_t>(std::bit_width(session.unsent_bytes));
  session.unsent_bytes = unsent_bytes;
  if (stays) return;
  session.send_queue_hook.unlink();
  if (length > 0) lists_[length - 1].push_back(session);
}

Session* SendQueues::Largest() {
  const auto largest = std::find_if(lists_.rbegin(), lists_.rend(), [](const List& list) { return !list.empty(); });
  return largest == lists_.rend() ? nullptr : &largest->front();
}

}  // namespace relay::server

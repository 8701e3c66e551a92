// All send queues together: how much they hold, and which of them holds the most. Every step is O(1).

#ifndef RELAY_SERVER_SEND_QUEUES_H_
#define RELAY_SERVER_SEND_QUEUES_H_

#include <array>
#include <boost/intrusive/list.hpp>
#include <cstddef>
#include <cstdint>

#include "server/session.h"

namespace relay::server {

// Sessions stand in lists by the bit length of their queue's size. Thread-compatible.
class SendQueues {
 public:
  // So much of `session`'s is unsent from now on. A session is set to 0 before it is freed.
  void Set(Session& session, size_t unsent_bytes);

  size_t total_bytes() const { return total_bytes_; }
  // A session whose queue is at least half as large as the largest; of such, one that has been so large for the
  // longest. Null where all are empty.
  Session* Largest();

 private:
  using List =
      boost::intrusive::list<Session, boost::intrusive::member_hook<Session, Session::Hook, &Session::send_queue_hook>,
                             boost::intrusive::constant_time_size<false>>;

  std::array<List, 64> lists_;  // by bit length, less one
  size_t total_bytes_ = 0;
};

}  // namespace relay::server

#endif  // RELAY_SERVER_SEND_QUEUES_H_

// Frames that have begun to arrive and are not whole, of all connections: how much has come of them, and which has been
// on its way for the longest. Every step is O(1).

#ifndef RELAY_SERVER_PARTIAL_FRAMES_H_
#define RELAY_SERVER_PARTIAL_FRAMES_H_

#include <boost/intrusive/list.hpp>
#include <cstddef>

#include "server/session.h"

namespace relay::server {

// Thread-compatible.
class PartialFrames {
 public:
  // So much has come of the next frame of `session`, which begins in what was read last where `is_new`. A session is
  // set to 0 before it is freed.
  void Set(Session& session, size_t bytes, bool is_new) {
    if (bytes == 0 && session.partial_frame_bytes == 0) return;
    total_bytes_ += bytes - session.partial_frame_bytes;
    session.partial_frame_bytes = bytes;
    if (is_new || bytes == 0) session.partial_frame_hook.unlink();
    if (bytes > 0 && !session.partial_frame_hook.is_linked()) by_age_.push_back(session);
  }

  size_t total_bytes() const { return total_bytes_; }
  // There is one.
  Session& Oldest() { return by_age_.front(); }

 private:
  boost::intrusive::list<Session, boost::intrusive::member_hook<Session, Session::Hook, &Session::partial_frame_hook>,
                         boost::intrusive::constant_time_size<false>>
      by_age_;
  size_t total_bytes_ = 0;
};

}  // namespace relay::server

#endif  // RELAY_SERVER_PARTIAL_FRAMES_H_

// Every bound of the relay: its name (the flag is the same with dashes), its default and the reason for it.

#ifndef RELAY_SERVER_LIMITS_H_
#define RELAY_SERVER_LIMITS_H_

#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"

namespace relay::server {

inline constexpr size_t kKiB = 1024;
inline constexpr size_t kMiB = 1024 * kKiB;

// A value type.
struct Limits {
  // Told to clients by WELCOME (PROTOCOL.md, "Limits").
  uint32_t max_payload_bytes = 128 * kKiB;     // two 64 KiB writes of a client; small beside the 256 KiB read slab
  uint32_t initial_window_bytes = 256 * kKiB;  // a 1 Gbit/s path of 2 ms runs at full speed without growing
  uint32_t max_window_bytes = 16 * kMiB;       // 1 Gbit/s over 130 ms
  uint32_t max_clients_per_connection = 4096;  // a worker host with thousands of logical receivers
  uint32_t max_start_bytes = 16 * kKiB;        // method and metadata, as HTTP servers bound their headers
  absl::Duration heartbeat_interval = absl::Seconds(5);
  uint32_t heartbeat_misses = 3;  // two lost heartbeats are weather, three are a death
  uint32_t attempts = 3;          // a request that killed three receivers is taken for the cause

  // Connections.
  uint32_t max_connections = 16384;
  uint32_t max_unauthenticated = 1024;               // connections whose HELLO has not come
  uint32_t hello_bytes = 4 * kKiB;                   // held for each of those
  absl::Duration hello_timeout = absl::Seconds(10);  // from accept, whatever trickles in
  size_t partial_frame_bytes_total = 512 * kMiB;     // of frames that have begun to come, as much as the queues hold;
                                                     // who has been at one for the longest is cut
  size_t send_queue_bytes = 32 * kMiB;            // queued toward a peer that does not read: two of the largest windows
  size_t send_queue_bytes_total = 512 * kMiB;     // of all of those, as much as the queues hold; the largest are cut
  size_t send_queue_mark_bytes = 1 * kMiB;        // from here on no request is handed to the peer, and WINDOWs wait
  uint32_t control_frames_owed = 1000;            // answers queued toward a peer that asks and does not read
  absl::Duration linger_time = absl::Seconds(2);  // to let the last words arrive before a connection closes
  size_t linger_bytes = 256 * kKiB;               // thrown away meanwhile
  uint32_t frames_per_second = 0;                 // of one connection; 0: credit and the queues are bound enough
  uint32_t frames_per_turn = 1024;                // of one connection before others have their turn: some 50 us
  uint32_t resets_per_second = 33;                // of one connection: RESETs it sends and errors that are its doing,
  uint32_t reset_burst = 1000;                    // after so many at once

  // Observers. They see what everybody sends, so nobody may be one unless that is said.
  bool allow_observers = false;
  uint32_t max_observers = 8;              // each costs a copy of every frame that it wants to see
  size_t observer_queue_bytes = 8 * kMiB;  // half a second of 100,000 frames/s, 104 bytes and the first 64 of each

  absl::Duration drain_timeout = absl::Seconds(25);  // orchestrators kill 30 s after SIGTERM

  uint32_t control_frames_per_second = 4096;  // of one connection: JOIN, LEAVE, PING, withdrawals, RECEIVEs that wait
                                              // not; what is only dropped or refused for want of room or receivers,
                                              // and an empty CHUNK, counts an eighth. A pool of
                                              // max_clients_per_connection a second
  uint32_t control_frame_burst = 16384;       // such a pool withdraws, leaves and joins again at once
  uint32_t max_clients = 131072;              // on all connections, 32 such pools; some 250 bytes each

  // Channels and queues.
  uint32_t max_channels = 65536;
  uint32_t queue_count = 10000;                       // requests queued on a channel
  size_t queue_bytes = 64 * kMiB;                     // held for them
  size_t queue_bytes_total = 512 * kMiB;              // held over all channels, copies for redelivery too
  absl::Duration max_request_time = absl::Hours(24);  // waiting and running together, timeout or none

  friend bool operator==(const Limits&, const Limits&) = default;
};

}  // namespace relay::server

#endif  // RELAY_SERVER_LIMITS_H_

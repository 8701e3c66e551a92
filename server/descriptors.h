// How many connections the descriptors of this process allow.

#ifndef RELAY_SERVER_DESCRIPTORS_H_
#define RELAY_SERVER_DESCRIPTORS_H_

#include <cstddef>
#include <cstdint>

namespace relay::server {

// Raises the soft limit of open descriptors to the hard one, where that is allowed, and returns the limit that holds
// then.
uint64_t RaiseDescriptorLimit();

// The connections that fit under a limit of descriptors beside so many listeners and what the process needs for itself.
// An eighth is left for the moment after a connection's end: for those who are told that there is no room, for one.
// At least 1.
uint64_t ConnectionsThatFit(uint64_t descriptors, size_t listeners);

}  // namespace relay::server

#endif  // RELAY_SERVER_DESCRIPTORS_H_

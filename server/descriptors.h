// How many connections the descriptors of this process allow.

#ifndef RELAY_SERVER_DESCRIPTORS_H_
#define RELAY_SERVER_DESCRIPTORS_H_

#include <cstddef>
#include <cstdint>

namespace relay::server {

// Raises the soft limit of open descriptors to the hard one, where that is allowed, and returns the limit that holds
// then.
uint64_t RaiseDescriptorLimit();

// Has the system keep room for descriptors below this number; nothing where that is over the limit. By itself it makes
// room as they come, twice as much each time, and where there are threads each time takes 8 to 16 ms (measured), in
// which whoever accepts does nothing else. 8 bytes each.
void ReserveDescriptors(uint32_t below);

// The connections that fit under a limit of descriptors beside so many listeners and what the process needs for itself.
// An eighth is left for the moment after a connection's end: for those who are told that there is no room, for one.
// At least 1.
uint64_t ConnectionsThatFit(uint64_t descriptors, size_t listeners);

// The least descriptors under which so many connections fit. At least 1 of them.
uint64_t DescriptorsFor(uint64_t connections, size_t listeners);

}  // namespace relay::server

#endif  // RELAY_SERVER_DESCRIPTORS_H_

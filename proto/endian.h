// Big-endian integers in byte buffers.

#ifndef RELAY_PROTO_ENDIAN_H_
#define RELAY_PROTO_ENDIAN_H_

#include <bit>
#include <cstdint>
#include <cstring>

namespace relay::proto {

namespace internal {
inline uint16_t Swapped(uint16_t value) { return __builtin_bswap16(value); }
inline uint32_t Swapped(uint32_t value) { return __builtin_bswap32(value); }
inline uint64_t Swapped(uint64_t value) { return __builtin_bswap64(value); }
}  // namespace internal

// `from` and `to` need no alignment.
template <typename Integer>
Integer LoadBig(const void* from) {
  Integer value;
  std::memcpy(&value, from, sizeof(value));
  return std::endian::native == std::endian::big ? value : internal::Swapped(value);
}

template <typename Integer>
void StoreBig(void* to, Integer value) {
  if (std::endian::native != std::endian::big) value = internal::Swapped(value);
  std::memcpy(to, &value, sizeof(value));
}

}  // namespace relay::proto

#endif  // RELAY_PROTO_ENDIAN_H_

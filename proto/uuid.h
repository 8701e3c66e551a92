// The 16-byte names of the protocol: clients, channels and requests. Values, no state.

#ifndef RELAY_PROTO_UUID_H_
#define RELAY_PROTO_UUID_H_

#include <boost/uuid/uuid.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace relay::proto {

using Uuid = boost::uuids::uuid;

inline constexpr size_t kUuidBytes = 16;
inline constexpr Uuid kNilUuid = {};

// Drawn from the system when the program starts.
extern const uint64_t kHashSeeds[2];

// Hashes with seeds of the process, so that a peer cannot choose ids that collide. All bits of the result are good: the
// two halves multiplied, as in wyhash (Wang Yi).
struct UuidHash {
  size_t operator()(const Uuid& id) const {
    uint64_t halves[2];
    std::memcpy(halves, id.data, sizeof(halves));
    const auto product = static_cast<unsigned __int128>(halves[0] ^ kHashSeeds[0]) * (halves[1] ^ kHashSeeds[1]);
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
  }
};

// A random id (version 4), no secret: a few hundred of them tell the next. Thread-safe: each thread draws from a
// generator of its own, seeded by the system.
Uuid NewUuid();

// 16 bytes of the system's own chance, where an id that others have seen must not tell it. Thread-safe.
Uuid NewSecret();

// The canonical form, 8-4-4-4-12 hexadecimal digits of either case. Nothing for any other text.
std::optional<Uuid> ParseUuid(std::string_view text);

// The 16 bytes of an id, as payload fields hold them. Nothing for any other length.
std::optional<Uuid> UuidFromBytes(std::string_view bytes);

// The canonical form in lower case, 36 characters.
std::string ToString(const Uuid& id);

inline std::string_view BytesOf(const Uuid& id) { return {reinterpret_cast<const char*>(id.data), kUuidBytes}; }

}  // namespace relay::proto

#endif  // RELAY_PROTO_UUID_H_

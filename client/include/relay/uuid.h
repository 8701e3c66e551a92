// The names of clients, channels and requests: 16 bytes (RFC 9562).

#ifndef RELAY_UUID_H_
#define RELAY_UUID_H_

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace relay {

// A value; nil by default.
struct Uuid {
  std::array<uint8_t, 16> bytes = {};

  // A random id (version 4). Thread-safe.
  static Uuid New();
  // The canonical form, 8-4-4-4-12 hexadecimal digits of either case; nothing for any other text.
  static std::optional<Uuid> Parse(std::string_view text);

  // The canonical form in lower case, 36 characters.
  std::string ToString() const;
  bool is_nil() const { return *this == Uuid{}; }

  friend bool operator==(const Uuid&, const Uuid&) = default;
  friend auto operator<=>(const Uuid&, const Uuid&) = default;
};

}  // namespace relay

template <>
struct std::hash<relay::Uuid> {
  size_t operator()(const relay::Uuid& id) const noexcept;
};

#endif  // RELAY_UUID_H_

// What the requests of the other systems carry: the request's number, its sender's, and filling.

#ifndef RELAY_TOOLS_BENCH_PEERS_BODY_H_
#define RELAY_TOOLS_BENCH_PEERS_BODY_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace relay::bench {

inline constexpr size_t kLeastBodyBytes = 16;

struct Body {
  uint64_t number = 0;
  uint64_t sender = 0;

  // False where it is shorter than that.
  bool Read(std::string_view bytes) {
    if (bytes.size() < kLeastBodyBytes) return false;
    std::memcpy(&number, bytes.data(), sizeof(number));
    std::memcpy(&sender, bytes.data() + sizeof(number), sizeof(sender));
    return true;
  }

  void AppendTo(std::string& out, size_t bytes) const {
    out.append(reinterpret_cast<const char*>(&number), sizeof(number));
    out.append(reinterpret_cast<const char*>(&sender), sizeof(sender));
    out.append(bytes - kLeastBodyBytes, 'x');
  }
};

}  // namespace relay::bench

#endif  // RELAY_TOOLS_BENCH_PEERS_BODY_H_

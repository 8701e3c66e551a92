// SHA-1 (FIPS 180-4), as far as the oracle of channel ids needs it: short messages, all at once.

#ifndef RELAY_TESTS_FUZZ_SHA1_H_
#define RELAY_TESTS_FUZZ_SHA1_H_

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>

namespace relay::fuzz {

inline std::array<uint8_t, 20> Sha1(std::string message) {
  const uint64_t message_bits = message.size() * 8;
  message += '\x80';
  while (message.size() % 64 != 56) message += '\0';
  for (int shift = 56; shift >= 0; shift -= 8) message += static_cast<char>(message_bits >> shift & 0xff);

  std::array<uint32_t, 5> hash = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
  for (size_t block = 0; block < message.size(); block += 64) {
    std::array<uint32_t, 80> w = {};
    for (size_t byte = 0; byte < 64; ++byte)
      w[byte / 4] = w[byte / 4] << 8 | static_cast<uint8_t>(message[block + byte]);
    for (size_t t = 16; t < 80; ++t) w[t] = std::rotl(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
    auto [a, b, c, d, e] = hash;
    for (size_t t = 0; t < 80; ++t) {
      const uint32_t mixed = t < 20   ? ((b & c) | (~b & d)) + 0x5a827999
                             : t < 40 ? (b ^ c ^ d) + 0x6ed9eba1
                             : t < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc
                                      : (b ^ c ^ d) + 0xca62c1d6;
      const uint32_t next = std::rotl(a, 5) + mixed + e + w[t];
      e = d;
      d = c;
      c = std::rotl(b, 30);
      b = a;
      a = next;
    }
    hash = {hash[0] + a, hash[1] + b, hash[2] + c, hash[3] + d, hash[4] + e};
  }
  std::array<uint8_t, 20> digest = {};
  for (size_t byte = 0; byte < digest.size(); ++byte) {
    digest[byte] = static_cast<uint8_t>(hash[byte / 4] >> (24 - 8 * (byte % 4)));
  }
  return digest;
}

}  // namespace relay::fuzz

#endif  // RELAY_TESTS_FUZZ_SHA1_H_

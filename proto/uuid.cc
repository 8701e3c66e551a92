#include "proto/uuid.h"

#include <algorithm>
#include <array>
#include <boost/uuid/random_generator.hpp>
#include <boost/uuid/string_generator.hpp>
#include <boost/uuid/uuid_io.hpp>
#include <functional>
#include <random>

#include "proto/endian.h"

namespace relay::proto {
namespace {

constexpr size_t kTextBytes = 36;

bool IsDashPlace(size_t i) { return i == 8 || i == 13 || i == 18 || i == 23; }

bool IsHexDigit(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

uint64_t DrawSeed() {
  std::random_device system;
  return uint64_t{system()} << 32 | system();
}

std::mt19937_64 NewGenerator() {
  std::random_device system;
  std::array<std::random_device::result_type, 8> words;
  std::generate(words.begin(), words.end(), std::ref(system));
  std::seed_seq seed(words.begin(), words.end());
  return std::mt19937_64(seed);
}

}  // namespace

const uint64_t kHashSeeds[2] = {DrawSeed(), DrawSeed()};

// Two draws for an id; Boost's generator of ids goes byte by byte.
Uuid NewUuid() {
  thread_local std::mt19937_64 generator = NewGenerator();
  Uuid id;
  for (uint8_t* half : {id.begin(), id.begin() + kUuidBytes / 2}) StoreBig<uint64_t>(half, generator());
  id.data[6] = static_cast<uint8_t>((id.data[6] & 0x0f) | 0x40);  // version 4
  id.data[8] = static_cast<uint8_t>((id.data[8] & 0x3f) | 0x80);  // of RFC 4122
  return id;
}

Uuid NewSecret() { return boost::uuids::random_generator_pure()(); }

std::optional<Uuid> ParseUuid(std::string_view text) {
  if (text.size() != kTextBytes) return std::nullopt;
  for (size_t i = 0; i < text.size(); ++i) {
    if (IsDashPlace(i) ? text[i] != '-' : !IsHexDigit(text[i])) return std::nullopt;
  }
  return boost::uuids::string_generator()(text.begin(), text.end());
}

std::optional<Uuid> UuidFromBytes(std::string_view bytes) {
  if (bytes.size() != kUuidBytes) return std::nullopt;
  Uuid id;
  std::copy(bytes.begin(), bytes.end(), id.begin());
  return id;
}

std::string ToString(const Uuid& id) { return boost::uuids::to_string(id); }

}  // namespace relay::proto

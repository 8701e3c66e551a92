#include "proto/uuid.h"

#include <algorithm>
#include <boost/random/mersenne_twister.hpp>
#include <boost/uuid/random_generator.hpp>
#include <boost/uuid/string_generator.hpp>
#include <boost/uuid/uuid_io.hpp>
#include <random>

namespace relay::proto {
namespace {

constexpr size_t kTextBytes = 36;

bool IsDashPlace(size_t i) { return i == 8 || i == 13 || i == 18 || i == 23; }

bool IsHexDigit(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

uint64_t DrawSeed() {
  std::random_device system;
  return uint64_t{system()} << 32 | system();
}

}  // namespace

const uint64_t kHashSeeds[2] = {DrawSeed(), DrawSeed()};

Uuid NewUuid() {
  thread_local boost::uuids::basic_random_generator<boost::random::mt19937_64> generator;  // two steps for each
  return generator();
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

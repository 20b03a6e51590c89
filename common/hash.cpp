#include "common/hash.h"

#include <array>
#include <cstdio>

#include <xxhash.h>

namespace enodia {

struct Hasher::State {
  XXH3_state_t xxh;
};

Hasher::Hasher() : state_(std::make_unique<State>()) {
  XXH3_128bits_reset(&state_->xxh);
}
Hasher::~Hasher() = default;

void Hasher::update(const void* bytes, size_t count) {
  XXH3_128bits_update(&state_->xxh, bytes, count);
}

std::string Hasher::hex() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(&state_->xxh);
  std::array<char, 33> text{};
  std::snprintf(text.data(),
                text.size(),
                "%016llx%016llx",
                static_cast<unsigned long long>(hash.high64),
                static_cast<unsigned long long>(hash.low64));
  return text.data();
}

std::string hash_of(const void* bytes, size_t count) {
  Hasher hasher;
  hasher.update(bytes, count);
  return hasher.hex();
}

}  // namespace enodia

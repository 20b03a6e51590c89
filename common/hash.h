#pragma once

#include <cstddef>
#include <memory>
#include <string>

namespace enodia {

/// XXH3-128 of a stream of bytes, as 32 lower-case hexadecimal digits.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(const Hasher&) = delete;
  Hasher& operator=(const Hasher&) = delete;
  void update(const void* bytes, size_t count);
  std::string hex() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The hash of one block of memory.
std::string hash_of(const void* bytes, size_t count);

}  // namespace enodia

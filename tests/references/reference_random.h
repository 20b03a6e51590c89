#pragma once

#include <cstdint>
#include <string>
#include <vector>

/// The random numbers of docs/numerics.md, "Random numbers", computed once more from that text.
namespace enodia {

/// What a number is for: the seed and then each ingredient, a name or an integer.
class ReferenceKey {
 public:
  explicit ReferenceKey(uint64_t seed);
  ReferenceKey and_also(const std::string& name) const;
  ReferenceKey and_also(int64_t number) const;
  /// Number `index` of the stream, uniform in [0, 1).
  double uniform(int64_t index) const;

 private:
  uint64_t state_;
};

}  // namespace enodia

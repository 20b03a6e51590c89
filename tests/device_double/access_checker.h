#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace enodia {

/// How much of every actor's work (a stream's operations, counted from 1) comes before something.
class Clock {
 public:
  void join(const Clock& other);
  /// The actor has done one thing more; its number.
  uint64_t tick(int actor);
  uint64_t number(int actor) const { return numbers_.at(static_cast<size_t>(actor)); }
  bool covers(int actor, uint64_t number) const;

 private:
  std::vector<uint64_t> numbers_;
};

struct MemoryRange {
  const void* begin;
  size_t bytes;
  bool overlaps(const MemoryRange& other) const;
};

/// Finds operations that use the same memory without an order between them: of each pair that
/// overlaps, with one that writes, the later must have the earlier in its clock. That is decided
/// when an operation is queued, so it does not depend on what happens to run first.
class AccessChecker {
 public:
  struct Access {
    MemoryRange range;
    bool writes;
    int actor;
    uint64_t number;
    std::string what;
  };

  /// Notes the access and returns a sentence for each earlier one in `space` (memory that one host
  /// thread governs) that it is not ordered after. What `host` covers is forgotten.
  std::vector<std::string> note(int space, Access access, const Clock& clock, const Clock& host);
  /// The memory of a space is another's now.
  void forget(int space) { accesses_.erase(space); }

 private:
  std::map<int, std::vector<Access>> accesses_;
};

}  // namespace enodia

#include "tests/device_double/access_checker.h"

#include <algorithm>
#include <utility>

namespace enodia {

void Clock::join(const Clock& other) {
  numbers_.resize(std::max(numbers_.size(), other.numbers_.size()));
  for (size_t actor = 0; actor < other.numbers_.size(); ++actor) {
    numbers_[actor] = std::max(numbers_[actor], other.numbers_[actor]);
  }
}

uint64_t Clock::tick(int actor) {
  numbers_.resize(std::max(numbers_.size(), static_cast<size_t>(actor) + 1));
  return ++numbers_[static_cast<size_t>(actor)];
}

bool Clock::covers(int actor, uint64_t number) const {
  return static_cast<size_t>(actor) < numbers_.size() &&
         numbers_[static_cast<size_t>(actor)] >= number;
}

bool MemoryRange::overlaps(const MemoryRange& other) const {
  const auto* mine = static_cast<const std::byte*>(begin);
  const auto* theirs = static_cast<const std::byte*>(other.begin);
  return mine < theirs + other.bytes && theirs < mine + bytes;
}

std::vector<std::string> AccessChecker::note(int space,
                                             Access access,
                                             const Clock& clock,
                                             const Clock& host) {
  std::vector<Access>& accesses = accesses_[space];
  std::erase_if(accesses, [&](const Access& past) { return host.covers(past.actor, past.number); });
  std::vector<std::string> races;
  for (const Access& past : accesses) {
    if (past.range.overlaps(access.range) && (past.writes || access.writes) &&
        !clock.covers(past.actor, past.number)) {
      races.push_back(access.what + (access.writes ? " writes" : " reads") +
                      " memory without waiting for " + past.what + ", which " +
                      (past.writes ? "writes" : "reads") + " it");
    }
  }
  // Who is ordered after this one is ordered after the same actor's earlier ones.
  std::erase_if(accesses, [&](const Access& past) {
    return past.actor == access.actor && past.writes == access.writes &&
           past.range.begin == access.range.begin && past.range.bytes == access.range.bytes;
  });
  accesses.push_back(std::move(access));
  return races;
}

}  // namespace enodia

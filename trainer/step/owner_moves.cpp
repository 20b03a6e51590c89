#include "trainer/step/owner_moves.h"

#include <chrono>

namespace enodia {

std::optional<OwnerMoves> move_owners_after(int64_t steps, const StepLoad& load, Decoder& decoder) {
  if (decoder.planner() == nullptr) {
    return std::nullopt;
  }
  const auto start = std::chrono::steady_clock::now();
  const std::optional<Resharding> resharding = decoder.planner()->reshard_after(steps, load.tokens);
  if (!resharding) {
    return std::nullopt;
  }
  MovedExperts moved;
  if (resharding->moved > 0) {
    moved = decoder.move_owners(resharding->owners);
  }
  const std::chrono::duration<double, std::milli> passed = std::chrono::steady_clock::now() - start;
  return OwnerMoves{moved.experts, moved.bytes, passed.count()};
}

}  // namespace enodia

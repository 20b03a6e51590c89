#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace enodia {

enum class Direction : uint8_t { kForward, kRecompute, kBackward };

/// One call of one block's phase for one micro-batch.
struct PhaseCall {
  int32_t micro_batch;
  int32_t block;
  int32_t phase;
  Direction direction;
  bool operator==(const PhaseCall&) const = default;
};

/// What the driver does in a step, in order. Data: recompute, overlap and pipelines are other
/// schedules, not other modules.
using StepSchedule = std::vector<PhaseCall>;

/// Micro-batch by micro-batch, all phases forward, then all backward in reverse order.
/// phases_of_block[b] is the number of phases of block b; the phases of blocks in `recomputed` are
/// made again before their backward.
StepSchedule accumulation_schedule(std::span<const int> phases_of_block,
                                   int num_micro_batches,
                                   const std::vector<bool>& recomputed = {});

/// All phases forward, once.
StepSchedule forward_schedule(std::span<const int> phases_of_block);

/// For each block the index of its last call: what it does to its parameters' gradients is over.
std::vector<size_t> last_call_of_blocks(const StepSchedule& schedule, size_t num_blocks);

/// What a call has to do with parameters that are brought here for some phases and freed again.
struct Fetching {
  std::optional<size_t> prefetch;  ///< before the call: what that later call needs
  bool release = false;            ///< after the call: what was brought for it
  bool operator==(const Fetching&) const = default;
};

/// One entry a call. fetching_phase_of_block[b] is the phase of block b that needs such parameters,
/// -1 = none. What a call needs is under way while the one before it that needs something computes;
/// it is freed after it, unless the very next use is the same block's for the same micro-batch, or,
/// in the blocks that are `kept`, backward is still to come. So at most two blocks' are here at a
/// time if nothing is kept.
std::vector<Fetching> plan_fetching(const StepSchedule& schedule,
                                    std::span<const int> fetching_phase_of_block,
                                    const std::vector<bool>& kept = {});

}  // namespace enodia

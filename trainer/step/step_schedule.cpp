#include "trainer/step/step_schedule.h"

#include <iterator>

namespace enodia {
namespace {

void append_forward(std::span<const int> phases_of_block,
                    int32_t micro_batch,
                    StepSchedule& schedule) {
  for (int32_t block = 0; block < std::ssize(phases_of_block); ++block) {
    for (int32_t phase = 0; phase < phases_of_block[block]; ++phase) {
      schedule.push_back({micro_batch, block, phase, Direction::kForward});
    }
  }
}

void append_backward(std::span<const int> phases_of_block,
                     int32_t micro_batch,
                     const std::vector<bool>& recomputed,
                     StepSchedule& schedule) {
  for (auto block = static_cast<int32_t>(phases_of_block.size()) - 1; block >= 0; --block) {
    if (!recomputed.empty() && recomputed[block]) {
      for (int32_t phase = 0; phase < phases_of_block[block]; ++phase) {
        schedule.push_back({micro_batch, block, phase, Direction::kRecompute});
      }
    }
    for (int32_t phase = phases_of_block[block] - 1; phase >= 0; --phase) {
      schedule.push_back({micro_batch, block, phase, Direction::kBackward});
    }
  }
}

}  // namespace

StepSchedule accumulation_schedule(std::span<const int> phases_of_block,
                                   int num_micro_batches,
                                   const std::vector<bool>& recomputed) {
  StepSchedule schedule;
  for (int32_t micro_batch = 0; micro_batch < num_micro_batches; ++micro_batch) {
    append_forward(phases_of_block, micro_batch, schedule);
    append_backward(phases_of_block, micro_batch, recomputed, schedule);
  }
  return schedule;
}

StepSchedule forward_schedule(std::span<const int> phases_of_block) {
  StepSchedule schedule;
  append_forward(phases_of_block, 0, schedule);
  return schedule;
}

std::vector<size_t> last_call_of_blocks(const StepSchedule& schedule, size_t num_blocks) {
  std::vector<size_t> last(num_blocks, 0);
  for (size_t i = 0; i < schedule.size(); ++i) {
    last[schedule[i].block] = i;
  }
  return last;
}

std::vector<Fetching> plan_fetching(const StepSchedule& schedule,
                                    std::span<const int> fetching_phase_of_block,
                                    const std::vector<bool>& kept) {
  std::vector<Fetching> fetching(schedule.size());
  std::optional<size_t> before;  // the last call that needs something
  for (size_t i = 0; i < schedule.size(); ++i) {
    const PhaseCall& call = schedule[i];
    if (call.direction == Direction::kRecompute ||
        call.phase != fetching_phase_of_block[call.block]) {
      continue;
    }
    fetching[before.value_or(0)].prefetch = i;
    const bool stays = before && schedule[*before].block == call.block &&
                       schedule[*before].micro_batch == call.micro_batch;
    if (stays) {
      fetching[*before].release = false;
    }
    const bool stays_for_backward = !kept.empty() && kept[call.block];
    fetching[i].release = call.direction == Direction::kBackward || !stays_for_backward;
    before = i;
  }
  return fetching;
}

}  // namespace enodia

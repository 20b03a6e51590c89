#include "trainer/state/placement_state.h"

#include <vector>

#include "common/json.h"

namespace enodia {
namespace {

/// What the numbers of a policy's state depend on.
Json circumstances(const PlacementOptions& options, int world_size) {
  return {{"policy", std::string(options.policy->name)},
          {"extra_slots", options.extra_slots},
          {"ranks", world_size}};
}

}  // namespace

std::string placement_state(const ExpertPlanner& planner,
                            const PlacementOptions& options,
                            int world_size) {
  return Json{{"for", circumstances(options, world_size)}, {"state", planner.save()}}.dump();
}

bool restore_placement(const Checkpoint& checkpoint,
                       const PlacementOptions& options,
                       int world_size,
                       ExpertPlanner& planner) {
  if (!checkpoint.has_attachment(kPlacementFile)) {
    return false;
  }
  const Json saved = parse_json(checkpoint.attachment(kPlacementFile), kPlacementFile);
  const auto state = saved.find("state");
  const auto made_for = saved.find("for");
  if (made_for == saved.end() || *made_for != circumstances(options, world_size) ||
      state == saved.end() || !state->is_array()) {
    return false;
  }
  std::vector<int64_t> numbers;
  for (const Json& number : *state) {
    if (!number.is_number_integer()) {
      return false;
    }
    numbers.push_back(number.get<int64_t>());
  }
  return planner.restore(numbers);
}

}  // namespace enodia

#include "parallel/placement/plan_budget.h"

#include <algorithm>
#include <cmath>

namespace enodia {
namespace {

/// Backward has two products for each of forward's.
constexpr double kPasses = 3;
/// A token copy travels to the expert and back, its gradient the same way.
constexpr double kWays = 4;

int64_t nanoseconds(double seconds) {
  return static_cast<int64_t>(std::llround(seconds * 1e9));
}

}  // namespace

PlanBudget plan_budget(const Cluster& rates, double ranks_per_node, const LayerWork& work) {
  const auto between = [&](double bytes) {
    return bytes * ranks_per_node / (rates.between.gigabytes_per_s * 1e9);
  };
  const double bytes_of_expert =
      (work.brought_twice ? 2 : 1) * work.bytes_of_weights + work.bytes_of_gradients;
  PlanBudget budget;
  budget.token =
      std::max<int64_t>(1, nanoseconds(compute_seconds(rates, kPasses * work.flops_of_copy)));
  budget.token_away = nanoseconds(between(kWays * work.bytes_of_copy));
  budget.expert = nanoseconds(bytes_of_expert / (rates.inside.gigabytes_per_s * 1e9));
  budget.expert_away = nanoseconds(between(bytes_of_expert));
  budget.window = nanoseconds(compute_seconds(rates, kPasses * work.flops_between));
  return budget;
}

}  // namespace enodia

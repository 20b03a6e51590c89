#pragma once

#include <cstdint>
#include <memory>

#include "parallel/placement/policies/rules.h"
#include "parallel/placement/policy.h"

namespace enodia {

enum class PlansFrom : uint8_t {
  kExactCounts,
  kCountsBefore,      ///< of each rank
  kNodeCountsBefore,  ///< of each node: the rule's `known`
};

/// A rule as a policy. What it plans before the micro-batch it plans from the counts of the one
/// before, by the rule `ahead`; without any, owners only.
std::unique_ptr<PlacementPolicy> make_rule_policy(const PolicySetup& setup,
                                                  Rule rule,
                                                  PlansFrom from,
                                                  Rule ahead);

/// The same for a PolicyEntry.
template <Rule rule, PlansFrom from, Rule ahead = rule>
std::unique_ptr<PlacementPolicy> make_rule_policy(const PolicySetup& setup) {
  return make_rule_policy(setup, rule, from, ahead);
}

}  // namespace enodia

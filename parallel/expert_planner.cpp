#include "parallel/expert_planner.h"

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "parallel/placement/slot_count.h"

namespace enodia {
namespace {

/// As a policy wants them, in the memory of others.
LayerCounts rows_of(const ExchangedCounts& counts, std::vector<int32_t>& tokens) {
  const std::vector<int64_t>& rows =
      counts.rank_rows.empty() ? counts.node_totals : counts.rank_rows;
  tokens.resize(rows.size());
  std::transform(rows.begin(), rows.end(), tokens.begin(), [](int64_t of_row) {
    return static_cast<int32_t>(of_row);
  });
  return {counts.num_experts, tokens};
}

}  // namespace

ExpertPlanner::ExpertPlanner(std::vector<StaticLayer> layers,
                             const Topology& topology,
                             const PlacementOptions& options)
    : layers_(std::move(layers)),
      topology_(topology),
      options_(options),
      history_(static_cast<int>(layers_.size()),
               layers_.empty() ? 0 : layers_.front().homes.num_experts()) {
  for (const StaticLayer& layer : layers_) {
    foreseen_.push_back(layer.homes);
  }
  if (options.policy == nullptr) {
    return;
  }
  const int experts = layers_.front().homes.num_experts();
  policy_ = options.policy->make({topology_,
                                  static_cast<int>(layers_.size()),
                                  experts,
                                  useful_slots(options.extra_slots, experts, topology_.num_ranks()),
                                  owners_of(layers_),
                                  options.budget});
  predicted_.resize(layers_.size());
  for (int layer = 0; layer < std::ssize(layers_); ++layer) {
    foresee(layer);
  }
}

CountsReach ExpertPlanner::reach() const {
  return options_.policy != nullptr ? options_.policy->reads : CountsReach::kNodes;
}

ExpertPlan ExpertPlanner::at_home(int layer, const ExchangedCounts& counts) const {
  return even_plan(layers_.at(layer).homes, counts.totals());
}

ExpertPlan ExpertPlanner::resolve(int layer, const ExchangedCounts& counts) {
  if (policy_ == nullptr) {
    return at_home(layer, counts);
  }
  policy_->resolve(layer, rows_of(counts, rows_), predicted_[layer], plan_);
  mode_ = mode_of(plan_);
  return to_expert_plan(plan_, topology_);
}

void ExpertPlanner::observe(int layer, const ExchangedCounts& counts) {
  if (policy_ == nullptr) {
    return;
  }
  policy_->observe(layer, rows_of(counts, rows_));
  foresee(layer);
}

void ExpertPlanner::foresee(int layer) {
  policy_->predict(layer, predicted_[layer]);
  std::vector<std::vector<int32_t>> hosts = predicted_[layer].rows();
  for (size_t expert = 0; expert < hosts.size(); ++expert) {
    hosts[expert].push_back(layers_[layer].owners[expert]);
  }
  foreseen_[layer] = ExpertPlacement::create(topology_.num_ranks(), hosts);
}

void ExpertPlanner::set_owners(const ExpertOwners& owners) {
  for (size_t layer = 0; layer < layers_.size(); ++layer) {
    layers_[layer] = owned_by(owners.at(layer), topology_.num_ranks());
    foreseen_[layer] = layers_[layer].homes;
  }
  if (policy_ == nullptr) {
    return;
  }
  policy_->set_owners(owners);
  for (int layer = 0; layer < std::ssize(layers_); ++layer) {
    foresee(layer);
  }
}

std::optional<Resharding> ExpertPlanner::reshard_after(int64_t steps,
                                                       std::span<const int64_t> tokens) {
  if (options_.reshard_interval == 0) {
    return std::nullopt;
  }
  history_.add(tokens);
  if (steps % options_.reshard_interval != 0) {
    return std::nullopt;
  }
  return reshard(owners_of(layers_), history_.loads(), topology_, options_.reshard_gain);
}

std::vector<int64_t> ExpertPlanner::save() const {
  return policy_ != nullptr ? policy_->save() : std::vector<int64_t>();
}

bool ExpertPlanner::restore(std::span<const int64_t> saved) {
  if (policy_ == nullptr || !policy_->restore(saved)) {
    return false;
  }
  for (int layer = 0; layer < std::ssize(layers_); ++layer) {
    foresee(layer);
  }
  return true;
}

}  // namespace enodia

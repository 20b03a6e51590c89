#include "parallel/expert_planner.h"

#include <utility>

#include "common/check.h"
#include "parallel/placement/slot_count.h"

namespace enodia {
namespace {

/// As a policy wants them. Where it goes by nodes alone, the first rank of each stands for it.
std::vector<int32_t> rank_counts(const ExchangedCounts& counts, const Topology& topology) {
  const int experts = counts.num_experts;
  std::vector<int32_t> tokens(static_cast<size_t>(topology.num_ranks()) * experts, 0);
  const auto fill = [&](int rank, const std::vector<int64_t>& rows, int row) {
    for (int expert = 0; expert < experts; ++expert) {
      tokens[rank * experts + expert] = static_cast<int32_t>(rows[row * experts + expert]);
    }
  };
  if (!counts.rank_rows.empty()) {
    for (int rank = 0; rank < topology.num_ranks(); ++rank) {
      fill(rank, counts.rank_rows, rank);
    }
  } else {
    for (int node = 0; node < topology.num_nodes(); ++node) {
      fill(topology.first_rank(node), counts.node_totals, node);
    }
  }
  return tokens;
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
  const std::vector<int32_t> tokens = rank_counts(counts, topology_);
  policy_->resolve(layer, {counts.num_experts, tokens}, predicted_[layer], plan_);
  mode_ = mode_of(plan_);
  return to_expert_plan(plan_, topology_);
}

void ExpertPlanner::observe(int layer, const ExchangedCounts& counts) {
  if (policy_ == nullptr) {
    return;
  }
  const std::vector<int32_t> tokens = rank_counts(counts, topology_);
  policy_->observe(layer, {counts.num_experts, tokens});
  foresee(layer);
}

void ExpertPlanner::foresee(int layer) {
  policy_->predict(layer, predicted_[layer]);
  std::vector<std::vector<int32_t>> hosts = predicted_[layer];
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

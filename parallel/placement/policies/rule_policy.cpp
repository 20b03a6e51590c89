#include "parallel/placement/policies/rule_policy.h"

#include <limits>
#include <utility>

#include "parallel/placement/node_counts.h"
#include "parallel/placement/saved_numbers.h"

namespace enodia {
namespace {

class RulePolicy : public PlacementPolicy {
 public:
  RulePolicy(const PolicySetup& setup, Rule rule, PlansFrom from, Rule ahead)
      : setup_(setup),
        rule_(rule),
        ahead_(ahead),
        from_(from),
        last_(setup.num_layers) {}

  void predict(int layer, Replicas& replicas) const override {
    if (from_ == PlansFrom::kExactCounts || last_[layer].empty()) {
      replicas = Replicas(setup_.num_experts);
      return;
    }
    const LayerCounts known = last(layer);
    replicas = ahead_(input(layer), known, known).replicas;
  }

  void resolve(int layer,
               const LayerCounts& counts,
               const Replicas& predicted,
               LayerPlan& plan) override {
    const bool has_history = !last_[layer].empty();
    const Rule rule = from_ == PlansFrom::kExactCounts || has_history ? rule_ : &plan_owners;
    plan = rule(input(layer), has_history ? last(layer) : counts, counts);
    plan.predicted = predicted;
    plan.exact = from_ == PlansFrom::kExactCounts;
  }

  void observe(int layer, const LayerCounts& counts) override {
    if (from_ == PlansFrom::kCountsBefore) {
      last_[layer].assign(counts.tokens.begin(), counts.tokens.end());
    } else if (from_ == PlansFrom::kNodeCountsBefore) {
      const NodeCounts of_nodes(counts, setup_.topology);
      last_[layer].assign(of_nodes.tokens().begin(), of_nodes.tokens().end());
    }
  }

  void set_owners(const std::vector<std::vector<int32_t>>& owners) override {
    setup_.owners = owners;
  }

  std::vector<int64_t> save() const override {
    std::vector<int64_t> saved;
    for (const std::vector<int32_t>& counts : last_) {
      saved.push_back(std::ssize(counts));
      saved.insert(saved.end(), counts.begin(), counts.end());
    }
    return saved;
  }

  bool restore(std::span<const int64_t> saved) override {
    SavedNumbers numbers(saved);
    const int64_t all = int64_t{num_rows()} * setup_.num_experts;
    std::vector<std::vector<int32_t>> last(last_.size());
    for (std::vector<int32_t>& counts : last) {
      const int64_t size = numbers.next(0, all);
      for (int64_t i = 0; i < size && !numbers.failed(); ++i) {
        counts.push_back(
            static_cast<int32_t>(numbers.next(0, std::numeric_limits<int32_t>::max())));
      }
      numbers.require(size == 0 || size == all);
    }
    if (!numbers.complete()) {
      return false;
    }
    last_ = std::move(last);
    return true;
  }

 private:
  int num_rows() const {
    switch (from_) {
      case PlansFrom::kCountsBefore:
        return setup_.topology.num_ranks();
      case PlansFrom::kNodeCountsBefore:
        return setup_.topology.num_nodes();
      case PlansFrom::kExactCounts:
        break;
    }
    return 0;
  }
  RuleInput input(int layer) const {
    return {setup_.topology, setup_.owners[layer], setup_.extra_slots};
  }
  LayerCounts last(int layer) const { return {setup_.num_experts, last_[layer]}; }

  PolicySetup setup_;
  Rule rule_, ahead_;
  PlansFrom from_;
  std::vector<std::vector<int32_t>> last_;  // [layers] counts to plan from, empty = none yet
};

}  // namespace

std::unique_ptr<PlacementPolicy> make_rule_policy(const PolicySetup& setup,
                                                  Rule rule,
                                                  PlansFrom from,
                                                  Rule ahead) {
  return std::make_unique<RulePolicy>(setup, rule, from, ahead);
}

}  // namespace enodia

#include "tests/parity/random_plans.h"

#include <algorithm>
#include <random>

#include "parallel/placement/owner_resharding.h"

namespace enodia {
namespace {

class RandomPlans : public PlacementPolicy {
 public:
  RandomPlans(const PolicySetup& setup, bool in_use)
      : setup_(setup),
        in_use_(in_use),
        micro_batch_(setup.num_layers, 0) {}

  void predict(int layer, Replicas& replicas) const override {
    std::mt19937 random = generator(layer, 1);
    replicas = draw_replicas(layer, random, Replicas(setup_.num_experts), 0);
  }

  void resolve(int layer,
               const LayerCounts& counts,
               const Replicas& predicted,
               LayerPlan& plan) override {
    std::mt19937 random = generator(layer, 2);
    plan.owners = setup_.owners[layer];
    plan.predicted = predicted;
    plan.replicas = draw_replicas(layer, random, predicted, in_use_ ? 4 : 3);
    plan.quotas.clear();
    const std::vector<int64_t> totals = counts.totals();
    for (int expert = 0; expert < setup_.num_experts; ++expert) {
      std::vector<int64_t> quotas(plan.replicas[expert].size() + 1, 0);
      int64_t left = totals[expert];
      for (size_t i = quotas.size(); in_use_ && i-- > 0 && left > 0;) {  // replicas first
        quotas[i] = 1;
        --left;
      }
      for (size_t i = 0; i + 1 < quotas.size(); ++i) {
        const int64_t more = random() % 4 == 0 ? 0 : static_cast<int64_t>(random() % (left + 1));
        quotas[i] += more;
        left -= more;
      }
      quotas.back() += left;
      plan.quotas.add_row(quotas);
    }
    plan.transfers = count_transfers(plan);
  }

  void observe(int layer, const LayerCounts& /*counts*/) override { ++micro_batch_[layer]; }
  void set_owners(const ExpertOwners& owners) override { setup_.owners = owners; }
  std::vector<int64_t> save() const override { return micro_batch_; }
  bool restore(std::span<const int64_t> saved) override {
    micro_batch_.assign(saved.begin(), saved.end());
    return true;
  }

 private:
  std::mt19937 generator(int layer, int stage) const {
    return std::mt19937(static_cast<unsigned>(
        ((micro_batch_[layer] * 31 + layer) * 7 + setup_.extra_slots) * 5 + stage));
  }

  /// Each rank holds an expert with some chance, and with `stays` quarters of another what it had.
  Replicas draw_replicas(int layer,
                         std::mt19937& random,
                         const Replicas& before,
                         unsigned stays) const {
    Replicas replicas;
    for (int expert = 0; expert < setup_.num_experts; ++expert) {
      replicas.add_row();
      for (int32_t rank = 0; rank < setup_.topology.num_ranks(); ++rank) {
        const bool had = std::count(before[expert].begin(), before[expert].end(), rank) > 0;
        const bool has = had ? random() % 4 < stays : random() % 5 < 2;
        if (has && rank != setup_.owners[layer][expert]) {
          replicas.add(rank);
        }
      }
    }
    return replicas;
  }

  PolicySetup setup_;
  bool in_use_;
  std::vector<int64_t> micro_batch_;  // [layers]
};

template <bool in_use>
std::unique_ptr<PlacementPolicy> make_random_plans(const PolicySetup& setup) {
  return std::make_unique<RandomPlans>(setup, in_use);
}

}  // namespace

const PolicyEntry kRandomPlans{"random", "", "", make_random_plans<false>};
const PolicyEntry kRandomPlansInUse{"random", "", "", make_random_plans<true>};

}  // namespace enodia

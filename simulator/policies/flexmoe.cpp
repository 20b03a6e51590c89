#include <algorithm>
#include <utility>

#include "parallel/placement/policies/division.h"
#include "parallel/placement/saved_numbers.h"

#include "simulator/policies/policies.h"

namespace enodia {
namespace {

constexpr int kRounds = 10;  // after a micro-batch

/// Copies of a layer's experts while they come and go.
class Copies {
 public:
  Copies(const PolicySetup& setup,
         std::span<const int32_t> owners,
         std::span<const int64_t> load,
         Holders replicas)
      : load_(load),
        free_(setup.topology.num_ranks(), setup.extra_slots),
        rank_load_(setup.topology.num_ranks(), 0),
        owners_(owners),
        replicas_(std::move(replicas)) {
    for (size_t expert = 0; expert < owners.size(); ++expert) {
      add_load(static_cast<int32_t>(expert), 1);
      for (const int32_t rank : replicas_[expert]) {
        --free_[rank];
      }
    }
  }

  double largest_load() const { return *std::max_element(rank_load_.begin(), rank_load_.end()); }
  Holders take() { return std::move(replicas_); }

  /// The expert with the most tokens a copy gets one more; false when there is no place for it.
  bool expand() {
    const auto wanted =
        static_cast<int32_t>(std::max_element(load_.begin(),
                                              load_.end(),
                                              [&](const int64_t& a, const int64_t& b) {
                                                return a_copy(index_of(a)) < a_copy(index_of(b));
                                              }) -
                             load_.begin());
    int32_t target = place_for(wanted);
    if (target < 0) {
      if (!shrink(wanted)) {
        return false;
      }
      target = place_for(wanted);
    }
    if (target < 0) {
      return false;
    }
    add_load(wanted, -1);
    std::vector<int32_t>& ranks = replicas_[wanted];
    ranks.insert(std::lower_bound(ranks.begin(), ranks.end(), target), target);
    --free_[target];
    add_load(wanted, 1);
    return true;
  }

 private:
  int32_t index_of(const int64_t& load) const { return static_cast<int32_t>(&load - load_.data()); }
  double a_copy(int32_t expert) const {
    return static_cast<double>(load_[expert]) /
           static_cast<double>(1 + std::ssize(replicas_[expert]));
  }

  void add_load(int32_t expert, double sign) {
    rank_load_[owners_[expert]] += sign * a_copy(expert);
    for (const int32_t rank : replicas_[expert]) {
      rank_load_[rank] += sign * a_copy(expert);
    }
  }

  int32_t place_for(int32_t expert) const {
    int32_t best = -1;
    for (int32_t rank = 0; rank < std::ssize(free_); ++rank) {
      if (free_[rank] > 0 && rank != owners_[expert] && !holds(replicas_[expert], rank) &&
          (best < 0 || rank_load_[rank] < rank_load_[best])) {
        best = rank;
      }
    }
    return best;
  }

  /// The expert with the fewest tokens a copy loses its replica on the most loaded rank.
  bool shrink(int32_t wanted) {
    int32_t least = -1;
    for (int32_t expert = 0; expert < std::ssize(load_); ++expert) {
      if (expert != wanted && !replicas_[expert].empty() &&
          (least < 0 || a_copy(expert) < a_copy(least))) {
        least = expert;
      }
    }
    if (least < 0) {
      return false;
    }
    std::vector<int32_t>& ranks = replicas_[least];
    const auto leaves = std::max_element(ranks.begin(), ranks.end(), [&](int32_t a, int32_t b) {
      return rank_load_[a] < rank_load_[b];
    });
    add_load(least, -1);
    ++free_[*leaves];
    ranks.erase(leaves);
    add_load(least, 1);
    return true;
  }

  std::span<const int64_t> load_;
  std::vector<int> free_;
  std::vector<double> rank_load_;
  std::span<const int32_t> owners_;
  Holders replicas_;
};

class FlexMoePolicy : public PlacementPolicy {
 public:
  explicit FlexMoePolicy(const PolicySetup& setup)
      : setup_(setup),
        replicas_(setup.num_layers, Holders(setup.num_experts)) {}

  void predict(int layer, Replicas& replicas) const override {
    replicas = Replicas(replicas_[layer]);
  }

  void resolve(int layer,
               const LayerCounts& counts,
               const Replicas& predicted,
               LayerPlan& plan) override {
    Holders holders = owners_alone(setup_.owners[layer]);
    for (int expert = 0; expert < setup_.num_experts; ++expert) {
      holders[expert].insert(
          holders[expert].end(), predicted[expert].begin(), predicted[expert].end());
      std::sort(holders[expert].begin(), holders[expert].end());
    }
    plan = make_plan(
        setup_.owners[layer], holders, divide_evenly(counts, holders, setup_.topology.num_ranks()));
    plan.predicted = predicted;
    plan.transfers = count_transfers(plan);
  }

  void observe(int layer, const LayerCounts& counts) override {
    const std::vector<int64_t> load = counts.totals();
    Copies copies(setup_, setup_.owners[layer], load, replicas_[layer]);
    for (int round = 0; round < kRounds; ++round) {
      Copies tried = copies;
      if (!tried.expand() || tried.largest_load() >= copies.largest_load()) {
        break;
      }
      copies = std::move(tried);
    }
    replicas_[layer] = copies.take();
  }

  void set_owners(const std::vector<std::vector<int32_t>>& owners) override {
    setup_.owners = owners;
    for (size_t layer = 0; layer < owners.size(); ++layer) {
      for (size_t expert = 0; expert < owners[layer].size(); ++expert) {
        std::erase(replicas_[layer][expert], owners[layer][expert]);
      }
    }
  }

  std::vector<int64_t> save() const override {
    std::vector<int64_t> saved;
    for (const Holders& of_layer : replicas_) {
      for (const std::vector<int32_t>& ranks : of_layer) {
        saved.push_back(std::ssize(ranks));
        saved.insert(saved.end(), ranks.begin(), ranks.end());
      }
    }
    return saved;
  }

  bool restore(std::span<const int64_t> saved) override {
    SavedNumbers numbers(saved);
    std::vector<Holders> replicas(replicas_.size(), Holders(setup_.num_experts));
    for (size_t layer = 0; layer < replicas.size(); ++layer) {
      std::vector<int> used(setup_.topology.num_ranks(), 0);
      for (int expert = 0; expert < setup_.num_experts; ++expert) {
        const int64_t size = numbers.next(0, setup_.topology.num_ranks() - 1);
        int64_t least = 0;
        for (int64_t i = 0; i < size && !numbers.failed(); ++i) {
          const int64_t rank = numbers.next(least, setup_.topology.num_ranks() - 1);
          numbers.require(rank != setup_.owners[layer][expert] &&
                          ++used[rank] <= setup_.extra_slots);
          replicas[layer][expert].push_back(static_cast<int32_t>(rank));
          least = rank + 1;
        }
      }
    }
    if (!numbers.complete()) {
      return false;
    }
    replicas_ = std::move(replicas);
    return true;
  }

 private:
  PolicySetup setup_;
  std::vector<Holders> replicas_;  // [layers] without owners
};

}  // namespace

std::unique_ptr<PlacementPolicy> make_flexmoe_policy(const PolicySetup& setup) {
  return std::make_unique<FlexMoePolicy>(setup);
}

}  // namespace enodia

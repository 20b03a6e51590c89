#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "parallel/placement/policies/division.h"
#include "parallel/placement/saved_numbers.h"

#include "simulator/policies/policies.h"

namespace enodia {
namespace {

constexpr int64_t kPeriod = 10;  // micro-batches between two arrangements; the source's default

class SmartMoePolicy : public PlacementPolicy {
 public:
  explicit SmartMoePolicy(const PolicySetup& setup) : setup_(setup) {
    for (const std::vector<int32_t>& owners : setup.owners) {
      layers_.push_back({owners, std::vector<int64_t>(setup.num_experts, 0)});
    }
  }

  void predict(int /*layer*/, Replicas& replicas) const override {
    replicas = Replicas(setup_.num_experts);
  }

  void resolve(int layer,
               const LayerCounts& counts,
               const Replicas& /*predicted*/,
               LayerPlan& plan) override {
    plan = plan_owners({setup_.topology, layers_[layer].owners, 0}, counts, counts);
  }

  void observe(int layer, const LayerCounts& counts) override {
    Layer& state = layers_[layer];
    const std::vector<int64_t> totals = counts.totals();
    if (++state.seen == kPeriod) {
      state.seen = 0;
      std::vector<int64_t> load = totals;
      for (size_t expert = 0; expert < load.size(); ++expert) {
        load[expert] += state.before[expert];
      }
      rearrange(load, state.owners);
    }
    state.before = totals;
  }

  void set_owners(const std::vector<std::vector<int32_t>>& owners) override {
    for (size_t layer = 0; layer < owners.size(); ++layer) {
      layers_[layer].owners = owners[layer];
    }
  }

  std::vector<int64_t> save() const override {
    std::vector<int64_t> saved;
    for (const Layer& layer : layers_) {
      saved.push_back(layer.seen);
      saved.insert(saved.end(), layer.owners.begin(), layer.owners.end());
      saved.insert(saved.end(), layer.before.begin(), layer.before.end());
    }
    return saved;
  }

  bool restore(std::span<const int64_t> saved) override {
    constexpr int64_t kMostTokens = std::numeric_limits<int32_t>::max();
    SavedNumbers numbers(saved);
    std::vector<Layer> layers = layers_;
    for (Layer& layer : layers) {
      layer.seen = numbers.next(0, kPeriod - 1);
      std::vector<int64_t> more(setup_.topology.num_ranks(), 0);  // owned than before
      for (int32_t& owner : layer.owners) {
        --more[owner];
        owner = static_cast<int32_t>(numbers.next(0, setup_.topology.num_ranks() - 1));
        ++more[owner];
      }
      numbers.require(std::all_of(more.begin(), more.end(), [](int64_t n) { return n == 0; }));
      for (int64_t& tokens : layer.before) {
        tokens = numbers.next(0, kMostTokens);
      }
    }
    if (!numbers.complete()) {
      return false;
    }
    layers_ = std::move(layers);
    return true;
  }

 private:
  struct Layer {
    std::vector<int32_t> owners;
    std::vector<int64_t> before;  // [experts] tokens of the micro-batch before
    int64_t seen = 0;             // micro-batches since the last arrangement
  };

  std::vector<int64_t> load_of_ranks(std::span<const int64_t> load,
                                     std::span<const int32_t> owners) const {
    std::vector<int64_t> of_ranks(setup_.topology.num_ranks(), 0);
    for (size_t expert = 0; expert < load.size(); ++expert) {
      of_ranks[owners[expert]] += load[expert];
    }
    return of_ranks;
  }

  /// The heaviest expert first, each to the least loaded rank with room; it stays where it is if
  /// that is one of them.
  void rearrange(std::span<const int64_t> load, std::vector<int32_t>& owners) const {
    const int num_ranks = setup_.topology.num_ranks();
    if (setup_.num_experts % num_ranks != 0) {
      return;  // ranks that own equally many are what is exchanged among
    }
    std::vector<int> room(num_ranks, setup_.num_experts / num_ranks);
    std::vector<int64_t> filled(num_ranks, 0);
    std::vector<int32_t> arranged = owners;
    for (const int32_t expert : by_load(load)) {
      int32_t target = room[owners[expert]] > 0 ? owners[expert] : -1;
      for (int32_t rank = 0; rank < num_ranks; ++rank) {
        if (room[rank] > 0 && (target < 0 || filled[rank] < filled[target])) {
          target = rank;
        }
      }
      --room[target];
      filled[target] += load[expert];
      arranged[expert] = target;
    }
    const std::vector<int64_t> now = load_of_ranks(load, owners);
    if (*std::max_element(filled.begin(), filled.end()) <
        *std::max_element(now.begin(), now.end())) {
      owners = std::move(arranged);
    }
  }

  PolicySetup setup_;
  std::vector<Layer> layers_;
};

}  // namespace

std::unique_ptr<PlacementPolicy> make_smartmoe_policy(const PolicySetup& setup) {
  return std::make_unique<SmartMoePolicy>(setup);
}

}  // namespace enodia

#include "parallel/placement/policies/division.h"

#include <algorithm>
#include <numeric>

namespace enodia {
namespace {

/// The first copies get one token more; who is first goes around with `turn`.
void spread(int64_t tokens, std::span<const int32_t> ranks, int turn, std::vector<int64_t>& to) {
  const auto copies = static_cast<int64_t>(ranks.size());
  for (int64_t i = 0; i < copies; ++i) {
    to[ranks[(i + turn) % copies]] += tokens / copies + (i < tokens % copies ? 1 : 0);
  }
}

Division nothing(int num_experts, int num_ranks) {
  return Division(num_experts, std::vector<int64_t>(num_ranks, 0));
}

}  // namespace

Holders owners_alone(std::span<const int32_t> owners) {
  Holders holders;
  for (const int32_t owner : owners) {
    holders.push_back({owner});
  }
  return holders;
}

std::vector<int32_t> all_ranks(const Topology& topology) {
  std::vector<int32_t> ranks(topology.num_ranks());
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}

bool holds(std::span<const int32_t> ranks, int32_t rank) {
  return std::find(ranks.begin(), ranks.end(), rank) != ranks.end();
}

std::vector<int32_t> by_load(std::span<const int64_t> load) {
  std::vector<int32_t> order(load.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(
      order.begin(), order.end(), [&](int32_t a, int32_t b) { return load[a] > load[b]; });
  return order;
}

Division divide_evenly(const LayerCounts& counts, const Holders& holders, int num_ranks) {
  Division division = nothing(counts.num_experts, num_ranks);
  const std::vector<int64_t> totals = counts.totals();
  for (int expert = 0; expert < counts.num_experts; ++expert) {
    spread(totals[expert], holders[expert], expert, division[expert]);
  }
  return division;
}

Division divide_near(const LayerCounts& counts,
                     const Holders& holders,
                     const Topology& topology,
                     OwnTokens own) {
  Division division = nothing(counts.num_experts, topology.num_ranks());
  std::vector<int32_t> near;
  for (int expert = 0; expert < counts.num_experts; ++expert) {
    for (int rank = 0; rank < topology.num_ranks(); ++rank) {
      near.clear();
      if (own == OwnTokens::kStay && holds(holders[expert], rank)) {
        near.push_back(rank);
      } else {
        std::copy_if(holders[expert].begin(),
                     holders[expert].end(),
                     std::back_inserter(near),
                     [&](int32_t r) { return topology.node_of(r) == topology.node_of(rank); });
      }
      spread(
          counts.of(rank, expert), near.empty() ? holders[expert] : near, rank, division[expert]);
    }
  }
  return division;
}

LayerPlan make_plan(std::span<const int32_t> owners,
                    const Holders& holders,
                    const Division& division) {
  LayerPlan plan;
  plan.owners.assign(owners.begin(), owners.end());
  plan.predicted = Replicas(owners.size());
  for (size_t expert = 0; expert < owners.size(); ++expert) {
    plan.replicas.add_row();
    plan.quotas.add_row();
    plan.quotas.add(division[expert][owners[expert]]);
    for (const int32_t rank : holders[expert]) {
      if (rank != owners[expert] && !holds(plan.replicas[expert], rank)) {
        plan.replicas.add(rank);
        plan.quotas.add(division[expert][rank]);
      }
    }
  }
  return plan;
}

std::vector<int32_t> add_copies(std::span<const int64_t> load,
                                std::span<const int32_t> experts,
                                int slots) {
  std::vector<int32_t> copies(experts.begin(), experts.end());
  std::vector<int64_t> count(experts.size(), 1);
  while (std::ssize(copies) < slots) {
    size_t neediest = 0;
    for (size_t i = 1; i < experts.size(); ++i) {
      if (load[experts[i]] * count[neediest] > load[experts[neediest]] * count[i]) {
        neediest = i;
      }
    }
    ++count[neediest];
    copies.push_back(experts[neediest]);
  }
  return copies;
}

std::vector<int> pack(std::span<const double> weights, int bins, int capacity) {
  std::vector<int> order(weights.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(
      order.begin(), order.end(), [&](int a, int b) { return weights[a] > weights[b]; });
  std::vector<double> load(bins, 0);
  std::vector<int> used(bins, 0);
  std::vector<int> bin_of(weights.size());
  for (const int item : order) {
    int lightest = -1;
    for (int bin = 0; bin < bins; ++bin) {
      if (used[bin] < capacity && (lightest < 0 || load[bin] < load[lightest])) {
        lightest = bin;
      }
    }
    bin_of[item] = lightest;
    load[lightest] += weights[item];
    ++used[lightest];
  }
  return bin_of;
}

}  // namespace enodia

#include <algorithm>
#include <numeric>

#include "parallel/placement/policies/division.h"
#include "parallel/placement/policies/rules.h"

namespace enodia {
namespace {

/// The ranks [first, last) among which tokens are exported.
struct Domain {
  int first, last;
};

/// Exports what is above a limit.
class Export {
 public:
  Export(const RuleInput& input, const LayerCounts& counts)
      : input_(input),
        holders(owners_alone(input.owners)),
        division(divide_evenly(counts, holders, input.topology.num_ranks())),
        load_(input.topology.num_ranks(), 0),
        free_(input.topology.num_ranks(), input.extra_slots) {
    for (size_t expert = 0; expert < holders.size(); ++expert) {
      const int32_t owner = input.owners[expert];
      load_[owner] += division[expert][owner];
    }
  }

  /// Whether no rank of the domain is above the limit afterwards.
  bool run(const Domain& domain, int64_t limit) {
    std::vector<int32_t> sources(domain.last - domain.first);
    std::iota(sources.begin(), sources.end(), domain.first);
    std::stable_sort(
        sources.begin(), sources.end(), [&](int32_t a, int32_t b) { return load_[a] > load_[b]; });
    bool all_below = true;
    for (const int32_t source : sources) {
      for (const int32_t expert : own_experts(source)) {
        while (load_[source] > limit && export_once(source, expert, domain, limit)) {
        }
      }
      all_below = all_below && load_[source] <= limit;
    }
    return all_below;
  }

  int64_t load(int rank) const { return load_[rank]; }

 private:
  std::vector<int32_t> own_experts(int32_t source) const {
    std::vector<int32_t> experts;
    for (size_t expert = 0; expert < holders.size(); ++expert) {
      if (input_.owners[expert] == source) {
        experts.push_back(static_cast<int32_t>(expert));
      }
    }
    std::stable_sort(experts.begin(), experts.end(), [&](int32_t a, int32_t b) {
      return division[a][source] > division[b][source];
    });
    return experts;
  }

  /// To the least loaded rank that has a slot, room and not yet the expert; at least one token.
  bool export_once(int32_t source, int32_t expert, const Domain& domain, int64_t limit) {
    int32_t target = -1;
    for (int32_t rank = domain.first; rank < domain.last; ++rank) {
      if (free_[rank] > 0 && load_[rank] < limit && !holds(holders[expert], rank) &&
          (target < 0 || load_[rank] < load_[target])) {
        target = rank;
      }
    }
    if (target < 0 || division[expert][source] == 0) {
      return false;
    }
    const int64_t tokens =
        std::min({load_[source] - limit, limit - load_[target], division[expert][source]});
    holders[expert].push_back(target);
    --free_[target];
    division[expert][source] -= tokens;
    division[expert][target] += tokens;
    load_[source] -= tokens;
    load_[target] += tokens;
    return true;
  }

  const RuleInput& input_;

 public:
  Holders holders;
  Division division;

 private:
  std::vector<int64_t> load_;
  std::vector<int> free_;
};

/// The smallest limit that can be kept in a domain.
int64_t find_limit(const RuleInput& input, const LayerCounts& counts, const Domain& domain) {
  const Export before(input, counts);
  int64_t sum = 0;
  int64_t high = 0;
  for (int rank = domain.first; rank < domain.last; ++rank) {
    sum += before.load(rank);
    high = std::max(high, before.load(rank));
  }
  const int64_t ranks = domain.last - domain.first;
  int64_t low = (sum + ranks - 1) / ranks;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (Export(input, counts).run(domain, middle)) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return high;
}

LayerPlan plan(const RuleInput& input,
               const LayerCounts& counts,
               const std::vector<Domain>& domains) {
  Export result(input, counts);
  for (const Domain& domain : domains) {
    result.run(domain, find_limit(input, counts, domain));
  }
  for (std::vector<int32_t>& ranks : result.holders) {
    std::sort(ranks.begin(), ranks.end());
  }
  LayerPlan made = make_plan(input.owners, result.holders, result.division);
  made.transfers = count_transfers(made);
  return made;
}

}  // namespace

LayerPlan plan_ultraep(const RuleInput& input,
                       const LayerCounts& /*known*/,
                       const LayerCounts& counts) {
  std::vector<Domain> domains;
  for (int node = 0; node < input.topology.num_nodes(); ++node) {
    domains.push_back({input.topology.first_rank(node), input.topology.first_rank(node + 1)});
  }
  return plan(input, counts, domains);
}

LayerPlan plan_ultraep_global(const RuleInput& input,
                              const LayerCounts& /*known*/,
                              const LayerCounts& counts) {
  return plan(input, counts, {{0, input.topology.num_ranks()}});
}

}  // namespace enodia

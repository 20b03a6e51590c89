#include "trainer/forecast/step_forecast.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "common/error.h"
#include "models/flops.h"
#include "parallel/placement/expert_stripes.h"
#include "parallel/placement/slot_count.h"
#include "parallel/placement/token_split.h"
#include "trainer/config/cluster_file.h"
#include "trainer/forecast/layer_work.h"
#include "trainer/forecast/memory_forecast.h"

namespace enodia {
namespace {

/// Token copies of a micro-batch that a rank has as its own.
double own_copies(const TrainConfig& config) {
  return static_cast<double>(config.train.micro_batch_size * config.train.sequence_length *
                             config.model.num_experts_per_tok) /
         static_cast<double>(config.parallel.tp);
}

/// Seconds of one micro-batch's forward pass through one layer.
struct LayerSeconds {
  double experts = 0;         // of the slowest rank
  double tokens = 0;          // one way
  double gather = 0;          // of all replicas
  double gather_unasked = 0;  // of those that were not predicted
  double home = 0;            // of the replicas' gradients
  double imbalance = 1;
};

/// What plans for a layer come to on a cluster.
class LayerCost {
 public:
  LayerCost(const TrainConfig& config, const Cluster& cluster)
      : cluster_(cluster),
        topology_(cluster.topology()),
        work_(layer_work(config)),
        shape_(expert_shape(config)),
        compute_(static_cast<double>(size_of(config.model.dtype))) {}

  /// `scale` makes of the trace's copies those of the configuration.
  LayerSeconds evaluate(const LayerPlan& plan, const LayerCounts& counts, double scale) const {
    const ExpertPlan used = to_expert_plan(plan, topology_);
    LayerSeconds seconds;
    const std::vector<double> rows = rows_of_ranks(used);
    const double largest = *std::max_element(rows.begin(), rows.end());
    const double all = std::accumulate(rows.begin(), rows.end(), 0.0);
    seconds.imbalance = all > 0 ? largest * static_cast<double>(rows.size()) / all : 1.0;
    seconds.experts = compute_seconds(cluster_, largest * scale * work_.flops_of_copy);
    seconds.tokens = exchange_seconds(cluster_, token_exchange(used, counts, scale));
    seconds.gather = exchange_seconds(cluster_, replica_exchange(plan, /*unasked_only=*/false));
    seconds.gather_unasked =
        exchange_seconds(cluster_, replica_exchange(plan, /*unasked_only=*/true));
    seconds.home = seconds.gather * work_.bytes_of_gradients / work_.bytes_of_weights;
    return seconds;
  }

 private:
  std::vector<double> rows_of_ranks(const ExpertPlan& plan) const {
    std::vector<double> rows(topology_.num_ranks(), 0.0);
    for (int expert = 0; expert < plan.placement.num_experts(); ++expert) {
      int replica = plan.placement.first_replica(expert);
      for (const int32_t rank : plan.placement.ranks_of(expert)) {
        rows[rank] += static_cast<double>(plan.quota[replica++]);
      }
    }
    return rows;
  }

  Exchange token_exchange(const ExpertPlan& plan, const LayerCounts& counts, double scale) const {
    Exchange exchange(topology_.num_ranks());
    std::vector<int64_t> of_nodes(topology_.num_nodes());
    std::vector<ReplicaShare> shares;
    for (int expert = 0; expert < counts.num_experts; ++expert) {
      const auto hosts = plan.placement.ranks_of(expert);
      const auto quotas = std::span<const int64_t>(plan.quota)
                              .subspan(plan.placement.first_replica(expert), hosts.size());
      std::fill(of_nodes.begin(), of_nodes.end(), 0);
      for (int rank = 0; rank < topology_.num_ranks(); ++rank) {
        of_nodes[topology_.node_of(rank)] += counts.of(rank, expert);
      }
      for (int rank = 0; rank < topology_.num_ranks(); ++rank) {
        std::vector<int64_t> of_ranks;
        const int node = topology_.node_of(rank);
        for (int near = topology_.first_rank(node); near < topology_.first_rank(node + 1); ++near) {
          of_ranks.push_back(counts.of(near, expert));
        }
        shares.clear();
        split_tokens(topology_, rank, {hosts, quotas, of_nodes, of_ranks}, shares);
        for (const ReplicaShare& share : shares) {
          exchange.add(rank,
                       hosts[share.replica],
                       static_cast<double>(share.tokens) * scale * work_.bytes_of_copy);
        }
      }
    }
    return exchange;
  }

  /// From each owner of a stripe; to the home, too, where an expert has several.
  Exchange replica_exchange(const LayerPlan& plan, bool unasked_only) const {
    Exchange exchange(topology_.num_ranks());
    std::vector<int32_t> ranks;
    for (size_t expert = 0; expert < plan.owners.size(); ++expert) {
      const std::span<const int32_t> before = plan.predicted[expert];
      ranks.clear();
      for (const int32_t rank : plan.replicas[expert]) {
        if (!unasked_only || !std::binary_search(before.begin(), before.end(), rank)) {
          ranks.push_back(rank);
        }
      }
      if (!unasked_only) {
        ranks.push_back(plan.owners[expert]);
      }
      for (int stripe = 0; stripe < shape_.stripes; ++stripe) {
        const auto elements = static_cast<double>(shape_.stripe(stripe).count);
        send(owner_of_stripe(plan.owners[expert], stripe, shape_.stripes),
             ranks,
             elements * compute_,
             exchange);
      }
    }
    return exchange;
  }

  /// Once to each node, in as many parts as there are ranks that want it, which they exchange.
  void send(int32_t owner, std::span<const int32_t> ranks, double bytes, Exchange& exchange) const {
    for (const int32_t rank : ranks) {
      const int32_t node = topology_.node_of(rank);
      const auto is_near = [&](int32_t other) { return topology_.node_of(other) == node; };
      const auto near = std::count_if(ranks.begin(), ranks.end(), is_near);
      const bool is_home = is_near(owner);
      const double part = is_home ? bytes : bytes / static_cast<double>(near);
      exchange.add(owner, rank, part);
      for (const int32_t other : ranks) {
        if (!is_home && other != rank && is_near(other)) {
          exchange.add(rank, other, part);
        }
      }
    }
  }

  const Cluster& cluster_;
  Topology topology_;
  LayerWork work_;
  ExpertShape shape_;
  double compute_;  // bytes of a weight
};

/// Mean token copies of a rank in a micro-batch and layer of the trace.
double mean_copies(const LayerCounts& counts) {
  const std::vector<int64_t> totals = counts.totals();
  const auto all = static_cast<double>(std::accumulate(totals.begin(), totals.end(), int64_t{0}));
  return all / counts.num_rows();
}

void check_trace(const TrainConfig& config, const Cluster& cluster, const RoutingTrace& trace) {
  if (trace.num_ranks() != cluster.num_ranks()) {
    throw ConfigError("the routing is of " + std::to_string(trace.num_ranks()) +
                      " ranks, but the cluster " + cluster.name + " has nodes (" +
                      std::to_string(cluster.nodes) + ") times ranks_per_node (" +
                      std::to_string(cluster.ranks_per_node) +
                      "); take another recording, or change the cluster file");
  }
  if (trace.num_experts() != config.model.num_experts) {
    throw ConfigError("the routing is for " + std::to_string(trace.num_experts()) +
                      " experts, but model.num_experts is " +
                      std::to_string(config.model.num_experts) + "; set it to " +
                      std::to_string(trace.num_experts()));
  }
}

/// Adds one micro-batch's forward and backward through an MoE layer. `window` is what hides
/// communication forward beside the experts of the layer before; `is_kept`: replicas stay for
/// backward.
void add_layer(const LayerSeconds& layer, double window, bool is_kept, StepForecast& step) {
  step.experts += (1 + kBackwardOverForward) * layer.experts;
  step.tokens += 4 * layer.tokens;
  const double predicted = std::max(0.0, layer.gather - layer.gather_unasked);
  const double again = is_kept ? 0.0 : layer.gather;
  window += layer.experts;
  step.replicas += std::max(0.0, predicted - window) + layer.gather_unasked +
                   std::max(0.0, again + layer.home - kBackwardOverForward * window);
}

/// Seconds of what is alike on every rank: in one MoE layer, and in all of a forward pass.
struct CommonSeconds {
  double moe_layer = 0;
  double all = 0;
};

CommonSeconds common_seconds(const TrainConfig& config, const Cluster& cluster) {
  const ModelOptions& model = config.model;
  const ForwardFlops flops = micro_batch_flops(config);
  const auto share = [&](double of_group) {
    return compute_seconds(cluster, of_group / static_cast<double>(config.parallel.tp));
  };
  CommonSeconds seconds;
  seconds.moe_layer = share(flops.attention + flops.every_token);
  const auto moe_layers = static_cast<double>(num_moe_layers(model));
  const double dense_layers = static_cast<double>(model.num_hidden_layers) - moe_layers;
  seconds.all = moe_layers * seconds.moe_layer +
                dense_layers * share(flops.attention + flops.feed_forward) + share(flops.head);
  return seconds;
}

/// A token of the trace stands for as many copies as make it the configuration's.
PlanBudget budget_for_trace(const TrainConfig& config,
                            const Cluster& cluster,
                            const RoutingTrace& trace) {
  const PlacementConfig& placement = config.placement;
  if (config.budget_on(cluster.nodes) == PlacementConfig::kFixed) {
    return {};
  }
  LayerWork work = layer_work(config);
  const double scale = own_copies(config) / std::max(1.0, mean_copies(trace.at(0, 0)));
  work.flops_of_copy *= scale;
  work.bytes_of_copy *= scale;
  return plan_budget(placement.budget_is_file() ? read_cluster(placement.budget) : cluster,
                     static_cast<double>(cluster.ranks_per_node),
                     work);
}

}  // namespace

Json StepForecast::to_json() const {
  return {{"step_ms", 1e3 * total()},
          {"attention_ms", 1e3 * attention},
          {"experts_ms", 1e3 * experts},
          {"tokens_ms", 1e3 * tokens},
          {"replicas_ms", 1e3 * replicas},
          {"gradients_ms", 1e3 * gradients},
          {"imbalance", imbalance}};
}

StepForecast forecast_step(const TrainConfig& config,
                           const Cluster& cluster,
                           const RoutingTrace& trace,
                           const PolicyEntry& policy) {
  check_trace(config, cluster, trace);
  const int64_t moe_layers = num_moe_layers(config.model);
  const auto planner = policy.make(
      {cluster.topology(),
       static_cast<int>(moe_layers),
       trace.num_experts(),
       useful_slots(config.placement.extra_slots, trace.num_experts(), trace.num_ranks()),
       block_owners(static_cast<int>(moe_layers), trace.num_experts(), trace.num_ranks()),
       budget_for_trace(config, cluster, trace)});
  const LayerCost cost(config, cluster);
  const CommonSeconds common = common_seconds(config, cluster);
  const double copies = own_copies(config);
  const int first = trace.num_samples() > 1 ? 1 : 0;
  const int kept = kept_layers(config, cluster.num_ranks());
  StepForecast step;
  step.imbalance = 0;
  Replicas predicted;
  LayerPlan plan;
  for (int sample = 0; sample < trace.num_samples(); ++sample) {
    for (int layer = 0; layer < moe_layers; ++layer) {
      const LayerCounts counts = trace.at(sample, layer % trace.num_layers());
      planner->predict(layer, predicted);
      planner->resolve(layer, counts, predicted, plan);
      planner->observe(layer, counts);
      if (sample >= first) {
        const double scale = copies / std::max(1.0, mean_copies(counts));
        const LayerSeconds seconds = cost.evaluate(plan, counts, scale);
        add_layer(seconds, common.moe_layer, layer >= moe_layers - kept, step);
        step.imbalance += seconds.imbalance;
      }
    }
  }
  const int samples = trace.num_samples() - first;
  const auto micro_batches = static_cast<double>(config.micro_batches_of_rank(cluster.num_ranks()));
  for (double StepForecast::*part :
       {&StepForecast::experts, &StepForecast::tokens, &StepForecast::replicas}) {
    step.*part *= micro_batches / samples;
  }
  step.imbalance /= static_cast<double>(std::max<int64_t>(samples * moe_layers, 1));
  step.attention = micro_batches * (1 + kBackwardOverForward) * common.all;
  const auto dense_bytes =
      static_cast<double>(forecast_memory(config, cluster.num_ranks()).front().gradients.dense);
  const double backward = kBackwardOverForward / (1 + kBackwardOverForward) *
                          (step.attention + step.experts) / micro_batches;
  step.gradients = std::max(0.0, all_reduce_seconds(cluster, dense_bytes) - backward);
  return step;
}

RoutingTrace zipf_trace(const TrainConfig& config, int num_ranks, double exponent) {
  constexpr int kSamples = 3;
  const auto experts = static_cast<int>(config.model.num_experts);
  const auto layers = static_cast<int>(num_moe_layers(config.model));
  const double copies = own_copies(config);
  std::vector<double> parts(experts);
  for (int place = 0; place < experts; ++place) {
    parts[place] = std::pow(place + 1, -exponent);
  }
  const double sum = std::accumulate(parts.begin(), parts.end(), 0.0);
  std::vector<int32_t> counts;
  for (int sample = 0; sample < kSamples; ++sample) {
    for (int layer = 0; layer < layers; ++layer) {
      for (int rank = 0; rank < num_ranks; ++rank) {
        for (int expert = 0; expert < experts; ++expert) {
          const int place = (expert + layer * (experts / 2 + 1)) % experts;
          counts.push_back(static_cast<int32_t>(std::lround(copies * parts[place] / sum)));
        }
      }
    }
  }
  return {kSamples, layers, num_ranks, experts, std::move(counts)};
}

}  // namespace enodia

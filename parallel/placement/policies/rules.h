#pragma once

#include <cstdint>
#include <span>

#include "parallel/placement/layer_plan.h"

/// The published policies as rules: a plan of one layer from the counts that the rule plans by
/// (those before the micro-batch, or its own) and those that it divides, with rows of ranks or of
/// nodes, as its PolicyEntry reads.
namespace enodia {

struct RuleInput {
  const Topology& topology;
  std::span<const int32_t> owners;  ///< [experts]
  int extra_slots;                  ///< of a rank, beside the experts that it owns
};
using Rule = LayerPlan (*)(const RuleInput& input,
                           const LayerCounts& known,
                           const LayerCounts& counts);

/// Plain expert parallelism.
LayerPlan plan_owners(const RuleInput&, const LayerCounts& known, const LayerCounts& counts);
/// Every expert on every rank, whatever the slots: data parallelism.
LayerPlan plan_replicate_all(const RuleInput&, const LayerCounts& known, const LayerCounts& counts);
/// FasterMoE (He et al., PPoPP 2022, section 4.2), shadowing: the most loaded experts go to all
/// ranks while what the next one costs, plus 1500 tokens for each that was sent, falls. No limit of
/// slots.
LayerPlan plan_fastermoe(const RuleInput&, const LayerCounts& known, const LayerCounts& counts);
/// Hecate (arXiv 2502.02581v1, algorithm 1) with t = 2m: an expert of the t most loaded gets slots
/// by its share, spread over nodes.
LayerPlan plan_hecate(const RuleInput&, const LayerCounts& known, const LayerCounts& counts);
/// The same with t = m: those to all ranks.
LayerPlan plan_hecate_narrow(const RuleInput&, const LayerCounts& known, const LayerCounts& counts);
/// The same as plan_hecate, calibrated (section 3.2): algorithm 1 again for the exact counts and
/// the slots that are left, if the slowest rank's tokens fall by more than what has to come late
/// costs, 500 tokens for each expert of a rank.
LayerPlan plan_hecate_calibrated(const RuleInput&,
                                 const LayerCounts& known,
                                 const LayerCounts& counts);
/// DeepSeek's EPLB (github.com/deepseek-ai/EPLB), global: copies by load a copy, packed longest
/// first, tokens evenly over copies.
LayerPlan plan_eplb(const RuleInput&, const LayerCounts& known, const LayerCounts& counts);
/// The same by nodes: groups of four experts are packed to nodes first.
LayerPlan plan_eplb_hierarchical(const RuleInput&,
                                 const LayerCounts& known,
                                 const LayerCounts& counts);
/// LAER-MoE (arXiv 2602.11686, sections 4.2 and 4.3): every slot is filled anew (fully sharded
/// expert parallelism); the better of even copies and copies by load, which grow by whole rounds of
/// nodes.
LayerPlan plan_laer(const RuleInput&, const LayerCounts& known, const LayerCounts& counts);
/// UltraEP (arXiv 2606.04101): the smallest threshold above which each rank's tokens find room
/// elsewhere, by bisection; as published inside a node.
LayerPlan plan_ultraep(const RuleInput&, const LayerCounts& known, const LayerCounts& counts);
/// The same rule over all ranks.
LayerPlan plan_ultraep_global(const RuleInput&,
                              const LayerCounts& known,
                              const LayerCounts& counts);

}  // namespace enodia

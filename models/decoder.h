#pragma once

#include <memory>
#include <span>
#include <vector>

#include "models/block.h"
#include "models/emulation.h"
#include "models/model_options.h"
#include "models/model_parts.h"
#include "parallel/expert_planner.h"
#include "parallel/expert_store.h"
#include "parallel/mesh.h"
#include "parallel/parameter_registry.h"

namespace enodia {

/// How experts are spread over ranks, besides the mesh.
struct ExpertParallelOptions {
  std::optional<DType> dispatch_dtype;  ///< of tokens on their way; that of the model by default
  PlacementOptions placement;
  ScheduleRule schedule = {};  ///< how replicas travel
};

/// The language model as a list of blocks over one registry: embedding, then attention and
/// feed-forward (dense or MoE) of every layer, then the head. It owns all parameters of this rank.
class Decoder {
 public:
  /// Collective over the mesh. Parameters start at zero: initialize() or load a checkpoint.
  /// `parts` has the attention and the router that the options name (UsageError otherwise); `loss`
  /// is one of its losses, empty for cross-entropy. `sharding` is of the dense parameters. A policy
  /// of placement needs ep = world_size. Virtual computation takes the place of attention,
  /// feed-forwards and experts, whose parameters stay.
  Decoder(const ModelOptions& options,
          const RouterOptions& router,
          const ProcessMesh& mesh,
          const ModelParts& parts = {},
          LossFunction loss = {},
          const DenseSharding& sharding = {},
          const ExpertParallelOptions& expert_parallel = {},
          const Emulation& emulation = {});
  const ModelOptions& options() const { return options_; }
  const std::vector<std::unique_ptr<Block>>& blocks() const { return blocks_; }
  /// The layer, from 0, that a block belongs to; -1 for embedding and head.
  int layer_of(int block) const;
  ParameterRegistry& registry() { return registry_; }
  const ParameterRegistry& registry() const { return registry_; }
  /// Whether it trains on another loss than cross-entropy.
  bool has_own_loss() const { return has_own_loss_; }
  /// Null for a dense model.
  ExpertStore* experts() { return store_.get(); }
  /// Null for a dense model.
  ExpertPlanner* planner() { return planner_.get(); }
  /// Fresh parameters, the same for every layout. Collective.
  void initialize(uint64_t seed);
  /// After masters changed, each on the ranks that update it: makes what is computed with equal to
  /// them. After a step, `tokens` [MoE layers, E] are the copies of its valid tokens for each
  /// expert, and move the biases of experts (arXiv 2408.15664, algorithm 1). Collective. Weights
  /// change here only.
  void commit_step(std::span<const int64_t> tokens = {});
  /// Gives the experts other owners, [MoE layers][E]: their rows move (ExpertStore::move_owners),
  /// and plans follow. The model is the same afterwards, bit by bit. Between steps. Collective.
  MovedExperts move_owners(const ExpertOwners& owners);
  /// How often weights changed. What a forward saved is good for a backward of the same generation
  /// alone.
  int64_t generation() const { return generation_; }

 private:
  void move_expert_biases(std::span<const int64_t> tokens);

  const ModelOptions options_;
  const double bias_update_rate_;
  const ProcessMesh& mesh_;
  ParameterRegistry registry_;
  std::unique_ptr<ExpertStore> store_;
  std::unique_ptr<ExpertPlanner> planner_;
  std::vector<std::unique_ptr<Block>> blocks_;
  std::vector<const DenseParameter*> expert_biases_;  // [MoE layers], or none
  bool has_own_loss_;
  int64_t generation_ = 0;
};

}  // namespace enodia

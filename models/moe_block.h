#pragma once

#include <memory>
#include <optional>
#include <string>

#include "common/random.h"
#include "models/block.h"
#include "models/emulation.h"
#include "models/experts.h"
#include "models/model_options.h"
#include "models/model_parts.h"
#include "models/router/route.h"
#include "models/router/router_losses.h"
#include "models/shared_experts.h"
#include "parallel/expert_planner.h"
#include "parallel/expert_store.h"
#include "parallel/token_dispatcher.h"

namespace enodia {

/// x += MoE(norm(x)) in five phases, each of which a schedule may place on its own: gate (router),
/// counts, dispatch (with the shared experts), experts, combine.
class MoeBlock : public Block {
 public:
  struct Wiring {
    int index;      ///< of the block in its decoder
    int moe_layer;  ///< of the layer in the store
    ExpertStore* store;
    ExpertPlanner* planner;
    Communicator* group;                  ///< the expert-parallel group
    Communicator* world;                  ///< all ranks
    ComputeDevice device;                 ///< where the rank computes
    std::optional<DType> dispatch_dtype;  ///< of tokens on their way; their own by default
    Emulation emulation;
  };
  MoeBlock(const ModelOptions& options,
           const RouterOptions& router,
           const std::string& layer_name,
           const Wiring& wiring,
           ParameterRegistry& registry,
           const RouterFactory& make_router);
  /// The bias of the experts' scores, [E]; null unless the model has one. Changed in commit_step.
  const DenseParameter* expert_bias() const { return bias_; }
  int num_phases() const override;
  std::string_view phase_name(int phase) const override;
  void forward(BlockState& state, int phase) override;
  void backward(BlockState& state, int phase) override;
  void forget(BlockState& state) override;
  void recompute(BlockState& state, int phase) override;
  int fetching_phase() const override;
  void prefetch(BlockState& state, bool backward) override;
  void release_fetched(BlockState& state) override;

 private:
  struct Saved;
  /// Scores the tokens: the router's logits, from saved.hidden.
  at::Tensor make_logits(const BlockState& state, Saved& saved) const;
  void gate(BlockState& state, Saved& saved);
  void exchange(BlockState& state, Saved& saved);
  void dispatch(BlockState& state, Saved& saved);
  void experts(BlockState& state, Saved& saved);
  void combine(BlockState& state, Saved& saved);
  void gate_backward(BlockState& state, Saved& saved);
  void dispatch_backward(BlockState& state, Saved& saved);
  void experts_backward(BlockState& state, Saved& saved);
  void combine_backward(BlockState& state, Saved& saved);
  at::Tensor preference_bias(const BlockState& state, const Saved& saved) const;
  at::Tensor router_input(const BlockState& state, Saved& saved) const;
  void add_load(BlockState& state, const Saved& saved) const;
  void drop_copies(BlockState& state, Saved& saved) const;
  void send_tokens(Saved& saved) const;
  bool is_virtual() const { return wiring_.emulation.compute != nullptr; }
  void spend_on_every_token(const BlockState& state, double passes) const;
  void spend_on_rows(const Saved& saved, double passes) const;
  LayerPass pass_of(const BlockState& state) const {
    return {wiring_.moe_layer, state.context.micro_batch};
  }
  RandomKey random_key(const BlockState& state, std::string_view purpose) const;

  const ModelOptions options_;
  const RouterOptions router_options_;
  const RouteOptions route_options_;
  const RouterLosses losses_;
  const Wiring wiring_;
  const TokenDispatcher dispatcher_;
  const DenseParameter& norm_;
  const std::unique_ptr<Router> router_;
  const DenseParameter* bias_ = nullptr;
  std::optional<SharedExperts> shared_;
};

}  // namespace enodia

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include "models/model_options.h"
#include "models/sequence_layout.h"
#include "parallel/placement/layer_plan.h"
#include "parallel/sequence_parallel.h"

namespace enodia {

/// What a micro-batch is part of. Nothing a block needs to know is global.
struct StepContext {
  int64_t step = 0;
  int64_t micro_batch = 0;
  /// N: valid tokens of the whole step over all ranks and micro-batches. Gradients carry 1/N.
  int64_t valid_tokens_of_step = 1;
  /// False: forward only, nothing is saved for a backward.
  bool training = true;
  /// Of random numbers, which depend on it and on the place of a token in the run alone.
  uint64_t seed = 0;
  Recompute recompute = Recompute::kNone;
  /// Decoder::generation() when the micro-batch started.
  int64_t generation = 0;
};

/// Sums over this rank's own valid tokens of one micro-batch: float64 numbers where it computes,
/// since reading one would wait for it. Undefined = 0.
struct LossSums {
  at::Tensor cross_entropy;  ///< nats
  at::Tensor objective;      ///< of the loss of one's own
  at::Tensor aux;            ///< L_aux times valid tokens, summed over MoE layers
  at::Tensor device;         ///< L of groups of experts times valid tokens, summed likewise
  at::Tensor z;              ///< L_z times valid tokens, summed over MoE layers

  static void add(at::Tensor& sum, const at::Tensor& term) {
    if (term.defined()) {
      sum = sum.defined() ? sum.add(term) : term;
    }
  }
  LossSums& operator+=(const LossSums& other) {
    add(cross_entropy, other.cross_entropy);
    add(objective, other.objective);
    add(aux, other.aux);
    add(device, other.device);
    add(z, other.z);
    return *this;
  }
};

/// What the micro-batches of a step so far have sent to the experts, over all ranks.
struct StepCounts {
  /// [MoE layers]: copies of valid tokens for each of the E experts, and the number of those
  /// tokens.
  std::vector<std::vector<int64_t>> by_layer;
};

/// Where the router of one MoE layer sent the tokens, and how decided it was.
struct MoeLoad {
  /// [E] copies of this rank's valid tokens for each expert, before any are dropped.
  std::vector<int64_t> valid_copies;
  int64_t dropped = 0;        ///< of them
  int64_t computed_rows = 0;  ///< token copies that this rank's experts computed
  int64_t replicas = 0;       ///< of all ranks, besides those at home
  uint64_t plan_hash = 0;     ///< TokenMap::plan_hash
  PlanMode plan_mode = PlanMode::kOff;
  at::Tensor entropy;  ///< router_entropy of this rank's valid tokens
  at::Tensor margin;   ///< Route::margin of this rank's tokens
};

/// What the router of one MoE layer decided for this rank's own tokens of a micro-batch. On the
/// host.
struct RoutedTokens {
  int64_t step, micro_batch, moe_layer;
  int64_t first_token;    ///< number of the first of these tokens in the run
  at::Tensor chosen_ids;  ///< [Tr, K] int32
  at::Tensor expert_ids;  ///< the same, -1 for copies that were dropped
};
using ObserveRoutes = std::function<void(const RoutedTokens&)>;

/// What a block keeps from forward to backward.
struct SavedState {
  SavedState() = default;
  SavedState(const SavedState&) = delete;
  SavedState& operator=(const SavedState&) = delete;
  virtual ~SavedState() = default;
};

/// One micro-batch on its way through the blocks. It has T tokens, which the ranks of a tensor-
/// parallel group share: Tr are this rank's own. D model dim. Tensors are where the rank computes.
struct BlockState {
  StepContext context;
  SequenceParallel cut;     ///< which tokens are this rank's own
  at::Tensor tokens;        ///< [T] int64
  at::Tensor labels;        ///< [T] int64, -1 = none; undefined when only logits are wanted
  at::Tensor host_labels;   ///< the same on the host
  int64_t num_valid = 0;    ///< labels that are not -1
  SequenceLayout layout;    ///< of all T
  int64_t first_token = 0;  ///< number of the first of the T tokens in the run
  at::Tensor sequence_of;   ///< [T] int64 on the host, the sequence of each token, from 0
  int64_t num_sequences = 1;
  StepCounts* so_far = nullptr;                   ///< in training
  const ObserveRoutes* observe_routes = nullptr;  ///< told of each decision, when training
  /// Rows whose logits the head shall return when there are no labels, [N] int64.
  at::Tensor wanted_rows;

  at::Tensor hidden;       ///< [Tr, D] residual stream on the way forward
  at::Tensor grad_hidden;  ///< [Tr, D] its gradient on the way back
  at::Tensor logits;       ///< [N, V] of the wanted rows
  LossSums losses;
  std::vector<MoeLoad> moe_loads;  ///< [MoE layers]

  /// The labels of this rank's own tokens, [Tr].
  at::Tensor own_labels() const { return cut.own_rows(labels); }
  at::Tensor own_host_labels() const { return cut.own_rows(host_labels); }

  /// The saved state of block `index`, made on first use. A block always asks for one type.
  template <typename T>
  T& saved(int index) {
    if (saved_.size() <= static_cast<size_t>(index)) {
      saved_.resize(index + 1);
    }
    if (saved_[index] == nullptr) {
      saved_[index] = std::make_unique<T>();
    }
    return static_cast<T&>(*saved_[index]);
  }
  /// Replaces what block `index` kept by a fresh one.
  template <typename T>
  T& renew(int index) {
    release(index);
    return saved<T>(index);
  }
  /// Frees what block `index` kept.
  void release(int index) {
    if (static_cast<size_t>(index) < saved_.size()) {
      saved_[index].reset();
    }
  }

 private:
  std::vector<std::unique_ptr<SavedState>> saved_;
};

/// One link of the decoder: a list of named phases, each with a forward and a backward. Only the
/// driver (trainer/step) calls phases; all ranks call the same ones in the same order, so a phase
/// may communicate. Forward reads and replaces `hidden`; backward, called in reverse order of
/// phases, reads and replaces `grad_hidden` and adds to the gradients of the block's parameters.
/// Called without grad mode.
class Block {
 public:
  virtual ~Block() = default;
  virtual int num_phases() const { return 1; }
  virtual std::string_view phase_name(int phase) const = 0;
  virtual void forward(BlockState& state, int phase) = 0;
  virtual void backward(BlockState& state, int phase) = 0;
  /// Drops what recompute() makes again; called when the last phase of forward is over. By default
  /// everything is kept.
  virtual void forget(BlockState& /*state*/) {}
  /// Makes again what forget() dropped, phase by phase and before the first phase of backward, in
  /// the order of forward. Decisions (routes, plans) are replayed, never made anew; losses and
  /// statistics count the forward alone; `hidden` stays as it is.
  virtual void recompute(BlockState& /*state*/, int /*phase*/) {}

  /// The phase, in both directions, that needs more parameters than this rank keeps; -1 = none.
  virtual int fetching_phase() const { return -1; }
  /// Starts to bring what that phase needs here; it may foresee it only. Collective.
  virtual void prefetch(BlockState& /*state*/, bool /*backward*/) {}
  /// Frees what was brought.
  virtual void release_fetched(BlockState& /*state*/) {}
};

}  // namespace enodia

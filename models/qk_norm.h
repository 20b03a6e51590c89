#pragma once

#include <string>

#include "models/block.h"
#include "models/model_options.h"
#include "parallel/parameter_registry.h"

namespace enodia {

/// The RMSNorm of q or of k, before they are rotated: of each head with one weight of width d, or
/// of all heads together ("full", as in OLMoE). Heads are cut among the ranks of a tensor-parallel
/// group; a norm of all of them sums their squares over it.
class QkNorm {
 public:
  struct Saved {
    at::Tensor raw, rstd;
  };
  /// This rank's heads. Where several ranks hold the same, one of them is the first holder.
  struct Heads {
    int64_t total;
    Slice held;
    Holders holders;
    bool is_first_holder;
  };
  /// `name` is "model.layers.3.self_attn.q_norm.weight".
  QkNorm(const ModelOptions& options,
         const std::string& name,
         const Heads& heads,
         ParameterRegistry& registry);
  /// Normalizes columns [T, held d] in place. Collective over the group when it is of all heads.
  void forward(at::Tensor columns, const SequenceParallel& cut, Saved& saved) const;
  /// Turns the gradient of the normed columns into that of the raw ones, in place, and adds to the
  /// weight's.
  void backward(at::Tensor grad_columns, const SequenceParallel& cut, const Saved& saved) const;

 private:
  bool is_full() const { return options_.qk_norm == "full"; }
  /// Whether the group must be asked.
  bool is_shared(const SequenceParallel& cut) const { return is_full() && cut.is_cut(); }
  double full_width() const { return static_cast<double>(heads_.total * options_.head_dim); }
  void forward_shared(at::Tensor& columns, const SequenceParallel& cut, Saved& saved) const;
  void backward_shared(at::Tensor& grad_columns,
                       const SequenceParallel& cut,
                       const Saved& saved) const;

  const ModelOptions options_;
  const Heads heads_;
  const DenseParameter& weight_;
};

}  // namespace enodia

#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "parallel/expert_store.h"

namespace enodia {

/// Grouped SwiGLU experts over rows sorted by slot. R rows, D model dim, F hidden dim; slot s has
/// rows [slot_offsets[s], slot_offsets[s + 1]). Each row is scaled by its routing weight before the
/// down projection, so that neither backward nor combine needs the experts' outputs.
struct ExpertInput {
  at::Tensor x;        ///< [R, D]
  at::Tensor weights;  ///< [R]
  std::vector<int64_t> slot_offsets;
};

/// Returns [R, D]; gate_up [R, 2F] is what backward needs besides the input. Local.
at::Tensor experts_forward(const ExpertInput& input,
                           const std::vector<ExpertMatrices>& weights,
                           at::Tensor& gate_up);

/// That hidden product alone, [R, 2F]. Local.
at::Tensor experts_hidden(const ExpertInput& input, const std::vector<ExpertMatrices>& weights);

struct ExpertGradients {
  at::Tensor x, weights;  ///< of the input, [R, D] and [R]
  at::Tensor gate_up;     ///< of its hidden product, [R, 2F]
};
/// The gradients of the input, which the tokens' ranks wait for. Local.
ExpertGradients experts_backward_input(const at::Tensor& grad_y,
                                       const ExpertInput& input,
                                       const at::Tensor& gate_up,
                                       const std::vector<ExpertMatrices>& weights);

/// Adds the gradients of the experts to `gradients` (fp32 rows of owners or slots of replicas),
/// with what experts_backward_input returned. Local.
void experts_backward_weights(const at::Tensor& grad_y,
                              const ExpertInput& input,
                              const at::Tensor& gate_up,
                              const at::Tensor& grad_gate_up,
                              const std::vector<ExpertMatrices>& gradients);

}  // namespace enodia

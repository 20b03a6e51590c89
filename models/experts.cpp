#include "models/experts.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "models/ops.h"

namespace enodia {
namespace {

/// Calls body(slot, first row, number of rows) for every slot that has rows.
template <typename Body>
void for_each_slot(const std::vector<int64_t>& slot_offsets, const Body& body) {
  for (size_t slot = 0; slot + 1 < slot_offsets.size(); ++slot) {
    const int64_t rows = slot_offsets[slot + 1] - slot_offsets[slot];
    if (rows > 0) {
      body(slot, slot_offsets[slot], rows);
    }
  }
}

/// out = in W^T on the rows of each slot.
at::Tensor grouped_linear(const at::Tensor& in,
                          const std::vector<int64_t>& slot_offsets,
                          const std::vector<ExpertMatrices>& weights,
                          at::Tensor ExpertMatrices::*matrix,
                          int64_t out_width) {
  at::Tensor out = at::empty({in.size(0), out_width}, in.options());
  for_each_slot(slot_offsets, [&](size_t slot, int64_t first, int64_t rows) {
    ops::linear_into(out.narrow(0, first, rows), in.narrow(0, first, rows), weights[slot].*matrix);
  });
  return out;
}

/// Gradient of the input of grouped_linear; adds in^T grad to the weights' gradients.
at::Tensor grouped_linear_backward(const at::Tensor& grad,
                                   const at::Tensor& in,
                                   const std::vector<int64_t>& slot_offsets,
                                   const std::vector<ExpertMatrices>& weights,
                                   const std::vector<ExpertMatrices>& gradients,
                                   at::Tensor ExpertMatrices::*matrix) {
  at::Tensor grad_in = at::empty_like(in);
  for_each_slot(slot_offsets, [&](size_t slot, int64_t first, int64_t rows) {
    const at::Tensor grad_rows = grad.narrow(0, first, rows);
    ops::linear_backward_input_into(
        grad_in.narrow(0, first, rows), grad_rows, weights[slot].*matrix);
    ops::linear_backward_weight(grad_rows, in.narrow(0, first, rows), gradients[slot].*matrix);
  });
  return grad_in;
}

}  // namespace

at::Tensor experts_forward(const ExpertInput& input,
                           const std::vector<ExpertMatrices>& weights,
                           at::Tensor& gate_up) {
  const int64_t width = weights.empty() ? 0 : weights.front().gate_up.size(0);
  gate_up = grouped_linear(input.x, input.slot_offsets, weights, &ExpertMatrices::gate_up, width);
  return grouped_linear(ops::swiglu(gate_up, input.weights),
                        input.slot_offsets,
                        weights,
                        &ExpertMatrices::down,
                        input.x.size(1));
}

ExpertGradients experts_backward(const at::Tensor& grad_y,
                                 const ExpertInput& input,
                                 const at::Tensor& gate_up,
                                 const std::vector<ExpertMatrices>& weights,
                                 const std::vector<ExpertMatrices>& gradients) {
  const at::Tensor grad_act = grouped_linear_backward(grad_y,
                                                      ops::swiglu(gate_up, input.weights),
                                                      input.slot_offsets,
                                                      weights,
                                                      gradients,
                                                      &ExpertMatrices::down);
  const ops::SwigluGradients grad = ops::swiglu_backward(grad_act, gate_up, input.weights);
  return {
      grouped_linear_backward(
          grad.gate_up, input.x, input.slot_offsets, weights, gradients, &ExpertMatrices::gate_up),
      grad.row_weight};
}

}  // namespace enodia

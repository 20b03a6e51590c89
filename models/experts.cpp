#include "models/experts.h"

#include <utility>

#include <ATen/ops/empty.h>

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

/// Gradient of the input of grouped_linear.
at::Tensor grouped_linear_backward_input(const at::Tensor& grad,
                                         const std::vector<int64_t>& slot_offsets,
                                         const std::vector<ExpertMatrices>& weights,
                                         at::Tensor ExpertMatrices::*matrix,
                                         int64_t in_width) {
  at::Tensor grad_in = at::empty({grad.size(0), in_width}, grad.options());
  for_each_slot(slot_offsets, [&](size_t slot, int64_t first, int64_t rows) {
    ops::linear_backward_input_into(
        grad_in.narrow(0, first, rows), grad.narrow(0, first, rows), weights[slot].*matrix);
  });
  return grad_in;
}

/// Adds in^T grad to the weights' gradients.
void grouped_linear_backward_weights(const at::Tensor& grad,
                                     const at::Tensor& in,
                                     const std::vector<int64_t>& slot_offsets,
                                     const std::vector<ExpertMatrices>& gradients,
                                     at::Tensor ExpertMatrices::*matrix) {
  for_each_slot(slot_offsets, [&](size_t slot, int64_t first, int64_t rows) {
    ops::linear_backward_weight(
        grad.narrow(0, first, rows), in.narrow(0, first, rows), gradients[slot].*matrix);
  });
}

}  // namespace

at::Tensor experts_hidden(const ExpertInput& input, const std::vector<ExpertMatrices>& weights) {
  const int64_t width = weights.empty() ? 0 : weights.front().gate_up.size(0);
  return grouped_linear(input.x, input.slot_offsets, weights, &ExpertMatrices::gate_up, width);
}

at::Tensor experts_forward(const ExpertInput& input,
                           const std::vector<ExpertMatrices>& weights,
                           at::Tensor& gate_up) {
  gate_up = experts_hidden(input, weights);
  return grouped_linear(ops::swiglu(gate_up, input.weights),
                        input.slot_offsets,
                        weights,
                        &ExpertMatrices::down,
                        input.x.size(1));
}

ExpertGradients experts_backward_input(const at::Tensor& grad_y,
                                       const ExpertInput& input,
                                       const at::Tensor& gate_up,
                                       const std::vector<ExpertMatrices>& weights) {
  const at::Tensor grad_act = grouped_linear_backward_input(
      grad_y, input.slot_offsets, weights, &ExpertMatrices::down, gate_up.size(1) / 2);
  ops::SwigluGradients grad = ops::swiglu_backward(grad_act, gate_up, input.weights);
  at::Tensor grad_x = grouped_linear_backward_input(
      grad.gate_up, input.slot_offsets, weights, &ExpertMatrices::gate_up, input.x.size(1));
  return {std::move(grad_x), std::move(grad.row_weight), std::move(grad.gate_up)};
}

void experts_backward_weights(const at::Tensor& grad_y,
                              const ExpertInput& input,
                              const at::Tensor& gate_up,
                              const at::Tensor& grad_gate_up,
                              const std::vector<ExpertMatrices>& gradients) {
  grouped_linear_backward_weights(grad_y,
                                  ops::swiglu(gate_up, input.weights),
                                  input.slot_offsets,
                                  gradients,
                                  &ExpertMatrices::down);
  grouped_linear_backward_weights(
      grad_gate_up, input.x, input.slot_offsets, gradients, &ExpertMatrices::gate_up);
}

}  // namespace enodia

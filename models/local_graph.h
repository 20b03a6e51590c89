#pragma once

#include <functional>
#include <vector>

#include <ATen/core/Tensor.h>

namespace enodia {

/// The one place where autograd runs: a graph from a detached input to an output, built in forward,
/// run and freed in backward. It holds no communication, so ranks need not build the same ones.
struct LocalGraph {
  /// Ordinary differentiable ATen code; no in-place change of its argument.
  using Function = std::function<at::Tensor(const at::Tensor&)>;

  /// f(x) without its history, which the graph keeps.
  at::Tensor record(const Function& f, const at::Tensor& x);

  /// The gradients of the input and then of each of `parameters`, undefined where the output does
  /// not depend on one. The graph is empty afterwards.
  std::vector<at::Tensor> gradients(const at::Tensor& grad_output,
                                    const std::vector<at::Tensor>& parameters = {});

  at::Tensor input, output;
};

}  // namespace enodia

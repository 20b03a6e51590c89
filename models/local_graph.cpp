#include "models/local_graph.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

namespace enodia {

at::Tensor LocalGraph::record(const Function& f, const at::Tensor& x) {
  const at::AutoGradMode grad_mode(true);
  input = x.detach().requires_grad_(true);
  output = f(input);
  return output.detach();
}

std::vector<at::Tensor> LocalGraph::gradients(const at::Tensor& grad_output,
                                              const std::vector<at::Tensor>& parameters) {
  std::vector<at::Tensor> sources{input};
  sources.insert(sources.end(), parameters.begin(), parameters.end());
  std::vector<at::Tensor> gradients(sources.size());
  if (output.requires_grad()) {
    const at::AutoGradMode grad_mode(true);
    gradients = torch::autograd::grad({output},
                                      sources,
                                      {grad_output},
                                      /*retain_graph=*/false,
                                      /*create_graph=*/false,
                                      /*allow_unused=*/true);
  }
  *this = {};
  return gradients;
}

}  // namespace enodia

#include "models/autograd_block.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/nn/module.h>

namespace enodia {

struct AutogradBlock::Saved : SavedState {
  at::Tensor input, output;  // of the local graph
};

AutogradBlock::AutogradBlock(std::shared_ptr<torch::nn::Module> module,
                             DifferentiableForward forward,
                             const std::string& name,
                             int index,
                             ParameterRegistry& registry,
                             const std::function<bool(const std::string&)>& decays)
    : module_(std::move(module)),
      forward_(std::move(forward)),
      index_(index) {
  for (const auto& item : module_->named_parameters()) {
    const at::Tensor& parameter = item.value();
    const int64_t columns = parameter.dim() > 1 ? parameter.numel() / parameter.size(0) : 0;
    const DenseParameter& adopted = registry.add_dense(
        {{name + "." + item.key(), parameter.size(0)}},
        columns,
        {.decays = decays(item.key()),
         .initializer = columns > 0 ? Initializer::kNormal : Initializer::kOnes});
    parameters_.emplace_back(parameter, &adopted);
  }
}

AutogradBlock::~AutogradBlock() = default;

void AutogradBlock::bind() {
  for (auto& [parameter, adopted] : parameters_) {
    parameter.set_data(adopted->value.view(parameter.sizes()));
  }
  bound_ = true;
}

void AutogradBlock::forward(BlockState& state, int /*phase*/) {
  if (!bound_) {
    bind();
  }
  if (state.hidden.size(0) == 0) {
    return;
  }
  if (!state.context.training) {
    state.hidden = forward_(state.hidden, state.layout);
    return;
  }
  const at::AutoGradMode grad_mode(true);
  Saved& saved = state.saved<Saved>(index_);
  saved.input = state.hidden.detach().requires_grad_(true);
  saved.output = forward_(saved.input, state.layout);
  state.hidden = saved.output.detach();
}

void AutogradBlock::backward(BlockState& state, int /*phase*/) {
  if (state.grad_hidden.size(0) == 0) {
    return;
  }
  const at::AutoGradMode grad_mode(true);
  Saved& saved = state.saved<Saved>(index_);
  std::vector<at::Tensor> inputs{saved.input};
  for (const auto& [parameter, adopted] : parameters_) {
    inputs.push_back(parameter);
  }
  const std::vector<at::Tensor> gradients = torch::autograd::grad({saved.output},
                                                                  inputs,
                                                                  {state.grad_hidden},
                                                                  /*retain_graph=*/false,
                                                                  /*create_graph=*/false,
                                                                  /*allow_unused=*/true);
  const at::AutoGradMode no_grad(false);
  state.grad_hidden = gradients[0].defined() ? gradients[0] : at::zeros_like(saved.input);
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (gradients[i + 1].defined()) {  // undefined = the output does not depend on it
      at::Tensor row = parameters_[i].second->grad;
      row.add_(gradients[i + 1].view(row.sizes()));
    }
  }
  state.release(index_);
}

}  // namespace enodia

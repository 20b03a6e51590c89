#include "models/adopted_module.h"

#include <utility>

#include <ATen/ops/zeros_like.h>
#include <torch/nn/module.h>

#include "common/check.h"

namespace enodia {
namespace {

DenseOptions options_of(const at::Tensor& parameter,
                        const std::string& name,
                        const Decays& decays,
                        bool wide) {
  const bool is_matrix = parameter.dim() > 1;
  return {.decays = decays ? decays(name) : is_matrix,
          .initializer = is_matrix                ? Initializer::kNormal
                         : name.ends_with("bias") ? Initializer::kZeros
                                                  : Initializer::kOnes,
          .wide = wide};
}

}  // namespace

AdoptedModule::AdoptedModule(std::shared_ptr<torch::nn::Module> module,
                             const std::string& name,
                             ParameterRegistry& registry,
                             const Decays& decays,
                             bool wide)
    : module_(std::move(module)) {
  ENODIA_CHECK(module_->buffers().empty(),
               "the module ",
               name,
               " has a buffer, which no checkpoint would hold; make it a parameter or a constant");
  for (const auto& item : module_->named_parameters()) {
    const at::Tensor& parameter = item.value();
    const std::string full_name = name + "." + item.key();
    ENODIA_CHECK(parameter.dim() > 0 && parameter.numel() > 0 && parameter.requires_grad(),
                 "the parameter ",
                 full_name,
                 " must have a dim ({1} for a number), elements and a gradient");
    const int64_t columns = parameter.dim() > 1 ? parameter.numel() / parameter.size(0) : 0;
    parameters_.push_back(parameter);
    adopted_.push_back(&registry.add_dense({{full_name, parameter.size(0)}},
                                           columns,
                                           options_of(parameter, item.key(), decays, wide)));
  }
}

AdoptedModule::~AdoptedModule() = default;

void AdoptedModule::bind() {
  for (size_t i = 0; i < parameters_.size(); ++i) {
    parameters_[i].set_data(adopted_[i]->value.view(parameters_[i].sizes()));
  }
  bound_ = true;
}

at::Tensor AdoptedModule::forward(const LocalGraph::Function& f,
                                  const at::Tensor& x,
                                  LocalGraph* graph) {
  if (!bound_) {
    bind();
  }
  return (graph != nullptr ? graph->record(f, x) : f(x)).contiguous();
}

at::Tensor AdoptedModule::backward(LocalGraph& graph,
                                   const at::Tensor& grad_output,
                                   bool adds_gradients) {
  const at::Tensor x = graph.input;
  const std::vector<at::Tensor> gradients = graph.gradients(grad_output, parameters_);
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (adds_gradients && gradients[i + 1].defined()) {
      at::Tensor row = adopted_[i]->grad;
      row.add_(gradients[i + 1].reshape(row.sizes()));
    }
  }
  return gradients[0].defined() ? gradients[0].contiguous() : at::zeros_like(x);
}

}  // namespace enodia

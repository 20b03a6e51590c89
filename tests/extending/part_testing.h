#pragma once

#include <functional>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/randn.h>

#include "parallel/parameter_registry.h"

/// What the tests of parts share: random float64 tensors and central differences.
namespace enodia::testing {

class Random {
 public:
  at::Tensor draw(at::IntArrayRef shape) { return at::randn(shape, generator_, at::kDouble); }
  /// Allocates, then gives every parameter random values around what it starts with.
  void fill(ParameterRegistry& registry) {
    registry.allocate();
    registry.initialize(/*seed=*/1, /*standard_deviation=*/0.02);
    for (const LogicalParameter& parameter : registry.parameters()) {
      parameter.column("master").add_(draw(parameter.shape), 0.3);
    }
  }

 private:
  at::Generator generator_ = at::detail::createCPUGenerator(23);
};

/// |gradient - differences| / |differences| of a loss that is a function of what x holds.
inline double gradient_error(const std::function<double()>& loss,
                             const at::Tensor& x,
                             const at::Tensor& gradient) {
  constexpr double kStep = 1e-5;
  const at::Tensor differences = at::empty_like(x);
  double* const elements = x.data_ptr<double>();
  for (int64_t i = 0; i < x.numel(); ++i) {
    const double original = elements[i];
    elements[i] = original + kStep;
    const double above = loss();
    elements[i] = original - kStep;
    const double below = loss();
    elements[i] = original;
    differences.data_ptr<double>()[i] = (above - below) / (2 * kStep);
  }
  return ((gradient - differences).norm() / differences.norm()).item<double>();
}

}  // namespace enodia::testing

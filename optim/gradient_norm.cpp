#include "optim/gradient_norm.h"

#include <cmath>
#include <vector>

#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>

#include "collectives/collectives.h"

namespace enodia {
namespace {

/// Eight running sums in double: exact enough, vectorizable, and in a fixed order.
template <typename T>
double sum_of_squares(const T* values, int64_t count) {
  constexpr int64_t kLanes = 8;
  double sums[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const auto value = static_cast<double>(values[i + lane]);
      sums[lane] += value * value;
    }
  }
  for (; i < count; ++i) {
    const auto value = static_cast<double>(values[i]);
    sums[0] += value * value;
  }
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

double sum_of_squares(const at::Tensor& gradient) {
  return gradient.scalar_type() == at::kDouble
             ? sum_of_squares(gradient.const_data_ptr<double>(), gradient.numel())
             : sum_of_squares(gradient.const_data_ptr<float>(), gradient.numel());
}

/// On a device: norms in double, read with one copy.
double sum_of_squares_on_device(const std::vector<at::Tensor>& gradients) {
  std::vector<at::Tensor> norms;
  for (const at::Tensor& gradient : gradients) {
    norms.push_back(at::linalg_vector_norm(gradient, 2, {}, /*keepdim=*/false, at::kDouble));
  }
  const at::Tensor all = at::stack(norms);
  return all.mul(all).sum().item<double>();
}

}  // namespace

double gradient_norm(Communicator& communicator, const ParameterRegistry& registry) {
  double sum = 0.0;
  std::vector<at::Tensor> on_device;
  for (const LogicalParameter& parameter : registry.parameters()) {
    const at::Tensor gradient = parameter.rows("grad", parameter.owned_rows);
    if (gradient.is_cpu()) {
      sum += sum_of_squares(gradient);
    } else {
      on_device.push_back(gradient);
    }
  }
  if (!on_device.empty()) {
    sum += sum_of_squares_on_device(on_device);
  }
  return std::sqrt(all_reduce_value(communicator, sum, ReduceOp::kSum));
}

}  // namespace enodia

#include "tests/references/reference_problem.h"

#include <cmath>
#include <numbers>
#include <random>

#include <ATen/ops/empty.h>

namespace enodia {
namespace {

// std::normal_distribution differs between standard libraries; the engine does not.
double uniform(std::mt19937_64& engine) {
  return (static_cast<double>(engine() >> 11) + 0.5) * 0x1p-53;
}

double normal(std::mt19937_64& engine) {
  const double radius = std::sqrt(-2.0 * std::log(uniform(engine)));
  return radius * std::cos(2.0 * std::numbers::pi * uniform(engine));
}

}  // namespace

NamedTensors random_parameters(const ReferenceOptions& options, uint64_t seed) {
  std::mt19937_64 engine(seed);
  NamedTensors parameters;
  for (const auto& [name, shape] : reference_parameter_shapes(options)) {
    const bool is_norm = name.find("norm.weight") != std::string::npos;
    const bool is_bias = name.find("e_score_correction_bias") != std::string::npos;
    at::Tensor tensor = at::empty(shape, at::kDouble);
    double* value = tensor.mutable_data_ptr<double>();
    for (int64_t i = 0; i < tensor.numel(); ++i) {
      value[i] = is_norm   ? 1.0 + 0.2 * normal(engine)
                 : is_bias ? 0.05 * normal(engine)
                           : 0.5 * normal(engine);
    }
    parameters[name] = tensor;
  }
  return parameters;
}

ReferenceMicroBatch random_micro_batch(const ReferenceOptions& options,
                                       const std::vector<int64_t>& segment_lengths,
                                       uint64_t seed) {
  std::mt19937_64 engine(seed);
  ReferenceMicroBatch batch;
  batch.segment_lengths = segment_lengths;
  for (const int64_t length : segment_lengths) {
    for (int64_t t = 0; t < length; ++t) {
      const auto token = static_cast<int64_t>(engine() % static_cast<uint64_t>(options.vocab_size));
      if (t > 0) {
        batch.labels.back() = token;
      }
      batch.tokens.push_back(token);
      batch.labels.push_back(-1);
    }
  }
  return batch;
}

}  // namespace enodia

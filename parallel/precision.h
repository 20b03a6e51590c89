#pragma once

#include <string_view>

#include <c10/core/ScalarType.h>

namespace enodia {

/// The types of a model's numbers. bfloat16 is computed with float32 beside it (mixed precision,
/// Micikevicius et al., arXiv 1710.03740); float32 and float64 are their own wide type.
struct Precision {
  // Implicit: a plain type is a precision.
  Precision(at::ScalarType compute_type)
      : compute(compute_type),
        wide(compute_type == at::kBFloat16 ? at::kFloat : compute_type) {}

  bool is_mixed() const { return compute != wide; }
  /// The column of the weights that are computed with.
  std::string_view weights() const { return is_mixed() ? "compute" : "master"; }

  at::ScalarType compute;  ///< of activations, and of weights in products
  at::ScalarType wide;     ///< of masters, gradients, moments, sums and the router
};

}  // namespace enodia

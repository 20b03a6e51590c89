#include "models/router/jitter.h"

#include <ATen/ops/empty.h>

namespace enodia {

at::Tensor jitter_factors(RandomKey key,
                          int64_t first_token,
                          int64_t tokens,
                          int64_t width,
                          double eps,
                          const at::TensorOptions& options) {
  const at::Tensor factors = at::empty({tokens, width}, at::kDouble);
  auto* factor = factors.mutable_data_ptr<double>();
  const auto first = static_cast<uint64_t>(first_token * width);
  for (int64_t i = 0; i < factors.numel(); ++i) {
    factor[i] = 1.0 + eps * (2.0 * random_uniform(key, first + static_cast<uint64_t>(i)) - 1.0);
  }
  return factors.to(options);
}

}  // namespace enodia

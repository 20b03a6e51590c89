#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "common/random.h"

namespace enodia {

/// Factors for the router's input, uniform in [1 - eps, 1 + eps] (Switch Transformer, arXiv
/// 2101.03961, section 2.4): [tokens, width], that of channel c of token t number t * width + c of
/// the key's stream. `first_token` is the number of the first token in the run, so that factors
/// depend on no layout. In the type and on the device of `options`. Local.
at::Tensor jitter_factors(RandomKey key,
                          int64_t first_token,
                          int64_t tokens,
                          int64_t width,
                          double eps,
                          const at::TensorOptions& options);

}  // namespace enodia

#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "common/random.h"

namespace enodia {

/// Preferences for experts that leave a router no say: the K largest of a row are K experts drawn
/// without replacement with probabilities proportional to 1 / n^exponent (Zipf), n the place of an
/// expert in an order that the key alone decides (Gumbel's trick). [tokens, experts], far larger
/// than scores. `first_token` is the number of the first token in the run, so that nothing depends
/// on the layout. In the type and on the device of `options`. Local.
at::Tensor forced_preferences(RandomKey key,
                              int64_t first_token,
                              int64_t tokens,
                              int64_t experts,
                              double exponent,
                              const at::TensorOptions& options);

}  // namespace enodia

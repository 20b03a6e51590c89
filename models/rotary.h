#pragma once

#include <vector>

#include "models/model_options.h"

namespace enodia {

/// How a model turns pairs of dims of q and k. Free of torch.
struct Rotary {
  std::vector<double> frequencies;  ///< of each pair, in radians a token
  double magnitude = 1.0;           ///< multiplies cos and sin
  bool interleaved = false;         ///< pair j is (2j, 2j + 1), else (j, j + half)
};

/// Plain RoPE, or YaRN (arXiv 2309.00071, section 3.4) with the details of transformers.
Rotary rotary_of(const ModelOptions& options);

/// What multiplies the scores of mla besides 1 / sqrt(key_dim): YaRN's mscale for all dims, squared
/// (DeepSeek-V2, arXiv 2405.04434, section 3.1.4); 1 without it.
double latent_score_factor(const ModelOptions& options);

}  // namespace enodia

#pragma once

#include "models/model_options.h"
#include "models/sequence_layout.h"

namespace enodia {

/// Weights that one token is multiplied with: attention's projections, the dense or shared
/// feed-forward and its gate, the router, the K experts it is sent to, and the head. Not the
/// embedding (a look-up), norms and biases.
double active_weights(const ModelOptions& options);

/// Floating-point operations of one forward pass over a micro-batch, by part of the model.
struct ForwardFlops {
  double attention = 0;     ///< of one layer: projections, and pairs of a query and a key it sees
  double feed_forward = 0;  ///< of one dense layer
  double every_token = 0;   ///< of one MoE layer what all tokens pass: router and shared experts
  double token_copy = 0;    ///< of one copy of a token in one expert
  double head = 0;
};
ForwardFlops forward_flops(const ModelOptions& options, const SequenceLayout& layout);

/// Backward takes twice as many: at the input, at the weight.
constexpr double kBackwardOverForward = 2.0;

/// Floating-point operations that training on one micro-batch takes, forward and backward, however
/// they are computed: recomputation, padding and communication count nothing.
///
///   6 * active_weights * T + 6 * layers * H * (dk + dv) * sum over segments of L (L + 1) / 2
///
/// with dk and dv the widths of a head's keys and values, both d but for mla; after Chowdhery et
/// al. 2022 (PaLM, arXiv 2204.02311), appendix B, which has 6 N + 12 L H Q T a token: there T keys
/// are counted for every query, here the ones that it sees.
double training_flops(const ModelOptions& options, const SequenceLayout& layout);

}  // namespace enodia

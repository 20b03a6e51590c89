#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

/// Cross-entropy in nats of logits [N, V] whose columns are cut among ranks: a rank has the columns
/// [first, first + v), which may be none (Megatron-LM, arXiv 1909.08053, section 3). All functions
/// are local; between the first and the second every rank's parts are gathered. Labels are [N]
/// int64, -1 = none.
namespace enodia {

/// [N, 2] float64 of each row: the logsumexp of the rank's columns, and the label's logit where it
/// is among them (0 elsewhere).
at::Tensor cross_entropy_parts(const at::Tensor& logits, const at::Tensor& labels, int64_t first);

struct JoinedCrossEntropy {
  at::Tensor nats;       ///< [N] float64, 0 where there is no label
  at::Tensor logsumexp;  ///< [N] float64, over the whole vocabulary
};
/// From every rank's parts, [ranks, N, 2] in rank order: the same bits on all of them.
JoinedCrossEntropy join_cross_entropy(const at::Tensor& parts, const at::Tensor& labels);

/// Overwrites the rank's logits [N, v] by scale times the gradient of the sum of nats.
void cross_entropy_backward(at::Tensor logits,
                            const at::Tensor& labels,
                            int64_t first,
                            const at::Tensor& logsumexp,
                            double scale);

}  // namespace enodia

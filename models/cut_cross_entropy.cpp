#include "models/cut_cross_entropy.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

namespace enodia {
namespace {

/// Whether each row's label is among the columns, and which it is (any, if it is not). There is at
/// least one column.
struct LabelsHere {
  at::Tensor is_here, columns;  // [N, 1]
};
LabelsHere labels_here(const at::Tensor& logits, const at::Tensor& labels, int64_t first) {
  const at::Tensor columns = (labels - first).unsqueeze(1);
  const int64_t last = logits.size(1) - 1;
  return {(columns >= 0).logical_and(columns <= last), columns.clamp(0, last)};
}

}  // namespace

at::Tensor cross_entropy_parts(const at::Tensor& logits, const at::Tensor& labels, int64_t first) {
  at::Tensor label_logits = at::zeros({logits.size(0)}, logits.options().dtype(at::kDouble));
  if (logits.size(1) > 0) {
    const LabelsHere here = labels_here(logits, labels, first);
    label_logits =
        logits.gather(1, here.columns).masked_fill(here.is_here.logical_not(), 0).squeeze(1);
  }
  return at::stack({at::logsumexp(logits, {1}).to(at::kDouble), label_logits.to(at::kDouble)}, 1);
}

JoinedCrossEntropy join_cross_entropy(const at::Tensor& parts, const at::Tensor& labels) {
  const at::Tensor logsumexp = at::logsumexp(parts.select(2, 0), {0});
  const at::Tensor nats = (logsumexp - parts.select(2, 1).sum(0)) * labels.ge(0);
  return {nats, logsumexp};
}

void cross_entropy_backward(at::Tensor logits,
                            const at::Tensor& labels,
                            int64_t first,
                            const at::Tensor& logsumexp,
                            double scale) {
  if (logits.size(1) == 0) {
    return;
  }
  const LabelsHere here = labels_here(logits, labels, first);
  logits.sub_(logsumexp.to(logits.scalar_type()).unsqueeze(1)).exp_();
  logits.scatter_add_(1, here.columns, here.is_here.to(logits.scalar_type()).neg());
  logits.mul_(labels.ge(0).unsqueeze(1)).mul_(scale);
}

}  // namespace enodia

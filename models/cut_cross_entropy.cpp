#include "models/cut_cross_entropy.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

namespace enodia {
namespace {

/// Rows whose label is among the columns, and that label's column.
struct LabelsHere {
  at::Tensor rows, columns;
};
LabelsHere labels_here(const at::Tensor& logits, const at::Tensor& labels, int64_t first) {
  const at::Tensor is_here = (labels >= first).logical_and(labels < first + logits.size(1));
  const at::Tensor rows = at::nonzero(is_here).squeeze(1);
  return {rows, labels.index_select(0, rows) - first};
}

}  // namespace

at::Tensor cross_entropy_parts(const at::Tensor& logits, const at::Tensor& labels, int64_t first) {
  const LabelsHere here = labels_here(logits, labels, first);
  at::Tensor label_logits = at::zeros({logits.size(0)}, at::kDouble);
  const at::Tensor found =
      logits.index_select(0, here.rows).gather(1, here.columns.unsqueeze(1)).squeeze(1);
  label_logits.index_copy_(0, here.rows, found.to(at::kDouble));
  return at::stack({at::logsumexp(logits, {1}).to(at::kDouble), label_logits}, 1);
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
  const LabelsHere here = labels_here(logits, labels, first);
  logits.sub_(logsumexp.to(logits.scalar_type()).unsqueeze(1)).exp_();
  logits.index_put_({here.rows, here.columns},
                    at::zeros({here.rows.size(0)}, logits.options()).sub_(1),
                    /*accumulate=*/true);
  logits.mul_(labels.ge(0).unsqueeze(1)).mul_(scale);
}

}  // namespace enodia

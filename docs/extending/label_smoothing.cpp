#include <ATen/TensorOperators.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/nonzero.h>

#include "common/error.h"

#include "my_parts.h"

/// Cross-entropy with (1 - e) of the truth on the label and e spread evenly over the vocabulary
/// (arXiv 1512.00567, section 7).
enodia::LossFunction make_label_smoothing(const enodia::ModelOptions& options) {
  const double e = options.settings.at("smoothing");
  if (e < 0 || e >= 1) {
    throw enodia::ConfigError("parts.smoothing must be at least 0 and below 1");
  }
  return [e](const at::Tensor& logits_NV, const at::Tensor& labels_N) {
    const at::Tensor rows = at::nonzero(labels_N >= 0).squeeze(1);
    const at::Tensor log_p = at::log_softmax(logits_NV.index_select(0, rows), 1);
    const at::Tensor labels = labels_N.index_select(0, rows).unsqueeze(1);
    return -((1 - e) * log_p.gather(1, labels).sum() + e * log_p.mean(1).sum());
  };
}

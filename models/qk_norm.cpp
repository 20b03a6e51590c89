#include "models/qk_norm.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/rsqrt.h>

#include "models/ops.h"

namespace enodia {
namespace {

const DenseParameter& add_weight(const ModelOptions& options,
                                 const std::string& name,
                                 const QkNorm::Heads& heads,
                                 ParameterRegistry& registry) {
  DenseOptions norm{.decays = false, .initializer = Initializer::kOnes, .wide = true};
  const int64_t dim = options.head_dim;
  if (options.qk_norm != "full") {
    return registry.add_dense({{name, dim}}, 0, norm);
  }
  norm.holders = heads.holders;
  const Slice held{heads.held.first * dim, heads.held.count * dim};
  return registry.add_dense({{name, heads.total * dim, held}}, 0, norm);
}

}  // namespace

QkNorm::QkNorm(const ModelOptions& options,
               const std::string& name,
               const Heads& heads,
               ParameterRegistry& registry)
    : options_(options),
      heads_(heads),
      weight_(add_weight(options, name, heads, registry)) {}

void QkNorm::forward(at::Tensor columns, const SequenceParallel& cut, Saved& saved) const {
  if (is_shared(cut)) {
    return forward_shared(columns, cut, saved);
  }
  const int64_t row = is_full() ? columns.size(1) : options_.head_dim;
  saved.raw = columns.reshape({-1, row}).contiguous();
  auto [normed, rstd] = ops::rms_norm(saved.raw, weight_.value, options_.rms_norm_eps);
  saved.rstd = rstd;
  columns.copy_(normed.view(columns.sizes()));
}

void QkNorm::backward(at::Tensor grad_columns,
                      const SequenceParallel& cut,
                      const Saved& saved) const {
  if (is_shared(cut)) {
    return backward_shared(grad_columns, cut, saved);
  }
  at::Tensor weight_grad = weight_.grad;
  const at::Tensor grad =
      ops::rms_norm_backward(grad_columns.reshape(saved.raw.sizes()).contiguous(),
                             saved.raw,
                             weight_.value,
                             saved.rstd,
                             weight_grad);
  grad_columns.copy_(grad.view(grad_columns.sizes()));
}

void QkNorm::forward_shared(at::Tensor& columns, const SequenceParallel& cut, Saved& saved) const {
  saved.raw = columns.clone(at::MemoryFormat::Contiguous);
  const at::Tensor raw = ops::wide(saved.raw);
  at::Tensor squares = raw.square().sum(1);
  if (!heads_.is_first_holder) {
    squares.zero_();  // what several ranks hold counts once
  }
  cut.sum(squares);
  saved.rstd = at::rsqrt(squares / full_width() + options_.rms_norm_eps);
  columns.copy_(raw * saved.rstd.unsqueeze(1) * weight_.value);
}

/// Of heads that several ranks hold, each has the gradient that comes through its own queries. All
/// holders' gradients add up, so the part along x must come from one of them.
void QkNorm::backward_shared(at::Tensor& grad_columns,
                             const SequenceParallel& cut,
                             const Saved& saved) const {
  const at::Tensor normed = ops::wide(saved.raw) * saved.rstd.unsqueeze(1);
  at::Tensor(weight_.grad).add_((grad_columns * normed).sum(0));
  at::Tensor grad = grad_columns * weight_.value;
  const at::Tensor along_x = (grad * normed).sum(1);
  cut.sum(along_x);
  if (heads_.is_first_holder) {
    grad.sub_(normed * (along_x / full_width()).unsqueeze(1));
  }
  grad_columns.copy_(grad * saved.rstd.unsqueeze(1));
}

}  // namespace enodia

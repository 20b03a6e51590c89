#include "models/ops.h"

#include <numeric>
#include <vector>

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/zeros.h>

#include "models/ops_dispatch.h"
#include "models/ops_reference.h"

namespace enodia::ops {

using namespace detail;  // NOLINT(google-build-using-namespace): private to these sources

at::Tensor wide(const at::Tensor& x) {
  return is_mixed(x) ? x.to(at::kFloat) : x;
}

RmsNormResult rms_norm(const at::Tensor& x_TD, const at::Tensor& w_D, double eps) {
  if (is_mixed(x_TD, w_D)) {
    const RmsNormResult result = rms_norm(wide(x_TD), wide(w_D), eps);
    return {result.y.to(x_TD.scalar_type()), result.rstd};
  }
  if (!use_kernels(x_TD, w_D)) {
    return reference::rms_norm(x_TD, w_D, eps);
  }
  const int64_t dim = x_TD.size(1);
  RmsNormResult result{at::empty_like(x_TD), at::empty({x_TD.size(0)}, x_TD.options())};
  for_row_ranges(x_TD.size(0), dim, [&](int64_t first, int64_t rows) {
    cpu_kernels().rms_norm(floats(x_TD) + first * dim,
                           floats(w_D),
                           floats(result.y) + first * dim,
                           floats(result.rstd) + first,
                           rows,
                           dim,
                           static_cast<float>(eps));
  });
  return result;
}

at::Tensor rms_norm_backward(const at::Tensor& grad_y_TD,
                             const at::Tensor& x_TD,
                             const at::Tensor& w_D,
                             const at::Tensor& rstd_T,
                             at::Tensor& grad_w_D) {
  if (is_mixed(grad_y_TD, x_TD, w_D)) {
    return rms_norm_backward(wide(grad_y_TD), wide(x_TD), wide(w_D), rstd_T, grad_w_D)
        .to(x_TD.scalar_type());
  }
  if (!use_kernels(grad_y_TD, x_TD, w_D, rstd_T, grad_w_D)) {
    return reference::rms_norm_backward(grad_y_TD, x_TD, w_D, rstd_T, grad_w_D);
  }
  const int64_t dim = x_TD.size(1);
  const at::Tensor grad_x = at::empty_like(x_TD);
  const at::Tensor partial = at::zeros({chunks_of(x_TD.size(0)), dim}, x_TD.options());
  for_chunks(x_TD.size(0), [&](int64_t chunk, int64_t first, int64_t rows) {
    const int64_t at = first * dim;
    cpu_kernels().rms_norm_backward(floats(grad_y_TD) + at,
                                    floats(x_TD) + at,
                                    floats(w_D),
                                    floats(rstd_T) + first,
                                    floats(grad_x) + at,
                                    floats(partial) + chunk * dim,
                                    rows,
                                    dim);
  });
  cpu_kernels().column_sums(floats(partial), floats(grad_w_D), partial.size(0), dim, 0, dim);
  return grad_x;
}

at::Tensor swiglu(const at::Tensor& gate_up, const at::Tensor& row_weight) {
  if (is_mixed(gate_up)) {
    return rounded(swiglu(wide(gate_up), row_weight));
  }
  if (!use_kernels(gate_up, row_weight)) {
    return reference::swiglu(gate_up, row_weight);
  }
  const int64_t hidden = gate_up.size(1) / 2;
  const at::Tensor act = at::empty({gate_up.size(0), hidden}, gate_up.options());
  for_row_ranges(gate_up.size(0), 4 * hidden, [&](int64_t first, int64_t rows) {
    const float* weights = row_weight.defined() ? floats(row_weight) + first : nullptr;
    cpu_kernels().swiglu(
        floats(gate_up) + first * 2 * hidden, weights, floats(act) + first * hidden, rows, hidden);
  });
  return act;
}

SwigluGradients swiglu_backward(const at::Tensor& grad_act,
                                const at::Tensor& gate_up,
                                const at::Tensor& row_weight) {
  if (is_mixed(grad_act, gate_up)) {
    const SwigluGradients gradients = swiglu_backward(wide(grad_act), wide(gate_up), row_weight);
    return {rounded(gradients.gate_up), gradients.row_weight};
  }
  if (!use_kernels(grad_act, gate_up, row_weight)) {
    return reference::swiglu_backward(grad_act, gate_up, row_weight);
  }
  const int64_t hidden = gate_up.size(1) / 2;
  SwigluGradients gradients;
  gradients.gate_up = at::empty_like(gate_up);
  if (row_weight.defined()) {
    gradients.row_weight = at::empty_like(row_weight);
  }
  for_row_ranges(gate_up.size(0), 4 * hidden, [&](int64_t first, int64_t rows) {
    const auto at_first = [&](const at::Tensor& x) {
      return x.defined() ? floats(x) + first : nullptr;
    };
    cpu_kernels().swiglu_backward(floats(grad_act) + first * hidden,
                                  floats(gate_up) + first * 2 * hidden,
                                  at_first(row_weight),
                                  floats(gradients.gate_up) + first * 2 * hidden,
                                  at_first(gradients.row_weight),
                                  rows,
                                  hidden);
  });
  return gradients;
}

RotaryTable rotary_table(const SequenceLayout& layout,
                         const Rotary& rotary,
                         const at::TensorOptions& options) {
  const at::ScalarType dtype = at::typeMetaToScalarType(options.dtype());
  return reference::rotary_table(
      layout, rotary, options.dtype(dtype == at::kBFloat16 ? at::kFloat : dtype));
}

void rotate(at::Tensor x, const RotaryTable& table, int64_t heads, bool inverse) {
  const int64_t half = table.cos.size(1);
  ENODIA_CHECK_EQ(x.size(0), table.cos.size(0), "tokens of x and of the rotary table");
  ENODIA_CHECK(
      heads == 0 ? x.size(1) == 0 : x.size(1) % heads == 0 && x.size(1) / heads >= 2 * half,
      x.size(1),
      " columns do not hold ",
      heads,
      " heads of at least ",
      2 * half);
  if (x.numel() == 0) {
    return;
  }
  if (is_mixed(x)) {
    const at::Tensor turned = wide(x).contiguous();
    rotate(turned, table, heads, inverse);
    x.copy_(turned);
    return;
  }
  const bool plain = !table.interleaved && x.size(1) == heads * 2 * half;
  if (!plain || !has_kernel_rows(x) || !use_kernels(table.cos, table.sin)) {
    return reference::rotate(x, table, heads, inverse);
  }
  for_row_ranges(x.size(0), x.size(1), [&](int64_t first, int64_t rows) {
    cpu_kernels().rotate(floats(x) + first * x.stride(0),
                         x.stride(0),
                         floats(table.cos) + first * half,
                         floats(table.sin) + first * half,
                         rows,
                         heads,
                         half,
                         inverse ? -1.0F : 1.0F);
  });
}

at::Tensor cross_entropy(at::Tensor logits, const at::Tensor& labels, double scale) {
  const int64_t vocab = logits.size(1);
  check_indices(labels, -1, vocab, "label");
  ENODIA_CHECK_EQ(labels.numel(), logits.size(0), "labels and rows of logits");
  if (!use_kernels(logits)) {
    return reference::cross_entropy(logits, labels, scale);
  }
  std::vector<double> totals(static_cast<size_t>(chunks_of(logits.size(0))));
  for_chunks(logits.size(0), [&](int64_t chunk, int64_t first, int64_t rows) {
    totals[static_cast<size_t>(chunk)] = cpu_kernels().cross_entropy(floats(logits) + first * vocab,
                                                                     indices(labels) + first,
                                                                     rows,
                                                                     vocab,
                                                                     static_cast<float>(scale));
  });
  return at::scalar_tensor(std::accumulate(totals.begin(), totals.end(), 0.0), at::kDouble);
}

at::Tensor gather_rows(const at::Tensor& x, const at::Tensor& index) {
  if (!use_kernels(x)) {
    return reference::gather_rows(x, index);
  }
  check_indices(index, 0, x.size(0), "row");
  const int64_t dim = x.size(1);
  const at::Tensor out = at::empty({index.size(0), dim}, x.options());
  for_row_ranges(index.size(0), dim, [&](int64_t first, int64_t rows) {
    cpu_kernels().gather_sum(
        floats(x), indices(index) + first, floats(out) + first * dim, rows, 1, dim);
  });
  return out;
}

void scatter_add_rows(at::Tensor w, const at::Tensor& index_T, const at::Tensor& x) {
  if (is_mixed(x)) {
    return scatter_add_rows(w, index_T, wide(x));
  }
  if (!use_kernels(w, x)) {
    return reference::scatter_add_rows(w, index_T, x);
  }
  check_indices(index_T, 0, w.size(0), "row");
  const int64_t rows = index_T.size(0);
  ENODIA_CHECK_EQ(rows, x.size(0), "indices and rows");
  for_column_ranges(w.size(1), rows, [&](int64_t begin, int64_t end) {
    cpu_kernels().scatter_add(floats(w), indices(index_T), floats(x), rows, w.size(1), begin, end);
  });
}

}  // namespace enodia::ops

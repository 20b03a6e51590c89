#include <ATen/ops/empty.h>

#include "models/ops.h"
#include "models/ops_dispatch.h"
#include "models/ops_reference.h"

namespace enodia::ops {

using namespace detail;  // NOLINT(google-build-using-namespace): private to these sources

namespace {

constexpr int64_t kGrainFlops = 1 << 22;  // about 40 us of one core
constexpr int64_t kShareUnit = 48;        // columns of the widest panel, rows of whole tiles

/// Whether our product serves these matrices: where it was measured to be faster than at::mm.
template <typename... Matrices>
bool use_gemm(const Matrices&... matrices) {
  return cpu_kernels().gemm_beats_aten && (has_kernel_rows(matrices) && ...);
}

void run_gemm(const GemmProblem& p) {
  const at::Tensor workspace = at::empty({gemm_workspace(p.m, p.n, p.k)}, at::kFloat);
  cpu_kernels().gemm(p, workspace.data_ptr<float>());
}

/// The rows [begin, end) of the product, or its columns.
GemmProblem rows_of(GemmProblem p, int64_t begin, int64_t end) {
  p.m = end - begin;
  p.a += p.a_transposed ? begin : begin * p.a_stride;
  p.c += begin * p.c_stride;
  return p;
}
GemmProblem columns_of(GemmProblem p, int64_t begin, int64_t end) {
  p.n = end - begin;
  p.b += p.b_transposed ? begin * p.b_stride : begin;
  p.c += begin;
  return p;
}

/// Splits the longer side of C over the threads; no bit depends on how.
void run_gemm_in_parallel(const GemmProblem& p) {
  const bool by_columns = p.n >= p.m;
  const int64_t size = by_columns ? p.n : p.m;
  const int64_t units = (size + kShareUnit - 1) / kShareUnit;
  const int64_t flops_of_unit = 2 * kShareUnit * p.k * (by_columns ? p.m : p.n);
  const int64_t grain = std::max<int64_t>(1, kGrainFlops / std::max<int64_t>(1, flops_of_unit));
  at::parallel_for(0, units, grain, [&](int64_t first, int64_t last) {
    const int64_t begin = first * kShareUnit;
    const int64_t end = std::min(size, last * kShareUnit);
    run_gemm(by_columns ? columns_of(p, begin, end) : rows_of(p, begin, end));
  });
}

/// c (+)= op(a) op(b), where op transposes or not.
void multiply(const at::Tensor& a,
              bool a_transposed,
              const at::Tensor& b,
              bool b_transposed,
              const at::Tensor& c,
              bool accumulate) {
  const int64_t depth = a.size(a_transposed ? 0 : 1);
  ENODIA_CHECK_EQ(a.size(a_transposed ? 1 : 0), c.size(0), "rows of a product");
  ENODIA_CHECK_EQ(b.size(b_transposed ? 0 : 1), c.size(1), "columns of a product");
  ENODIA_CHECK_EQ(b.size(b_transposed ? 1 : 0), depth, "depth of a product");
  run_gemm_in_parallel({c.size(0),
                        c.size(1),
                        depth,
                        floats(a),
                        a.stride(0),
                        a_transposed,
                        floats(b),
                        b.stride(0),
                        b_transposed,
                        floats(c),
                        c.stride(0),
                        accumulate});
}

}  // namespace

at::Tensor linear(const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias) {
  if (is_mixed(x, w)) {
    return rounded(linear(wide(x), wide(w), bias.defined() ? wide(bias) : bias));
  }
  if (!use_gemm(x, w)) {
    return reference::linear(x, w, bias);
  }
  const at::Tensor y = at::empty({x.size(0), w.size(0)}, x.options());
  if (bias.defined()) {
    y.copy_(bias.expand_as(y));
  }
  multiply(x, false, w, true, y, /*accumulate=*/bias.defined());
  return y;
}

void linear_into(at::Tensor y, const at::Tensor& x, const at::Tensor& w) {
  if (is_mixed(y, x, w)) {
    y.copy_(linear(wide(x), wide(w)));
    return;
  }
  if (!use_gemm(y, x, w)) {
    return reference::linear_into(y, x, w);
  }
  multiply(x, false, w, true, y, /*accumulate=*/false);
}

at::Tensor linear_backward_input(const at::Tensor& grad_y, const at::Tensor& w) {
  const at::Tensor grad_x = at::empty({grad_y.size(0), w.size(1)}, grad_y.options());
  linear_backward_input_into(grad_x, grad_y, w);
  return grad_x;
}

void linear_backward_input_into(at::Tensor grad_x, const at::Tensor& grad_y, const at::Tensor& w) {
  if (is_mixed(grad_x, grad_y, w)) {
    grad_x.copy_(linear_backward_input(wide(grad_y), wide(w)));
    return;
  }
  if (!use_gemm(grad_x, grad_y, w)) {
    return reference::linear_backward_input_into(grad_x, grad_y, w);
  }
  multiply(grad_y, false, w, false, grad_x, /*accumulate=*/false);
}

void linear_backward_weight(const at::Tensor& grad_y,
                            const at::Tensor& x,
                            at::Tensor grad_w,
                            at::Tensor grad_bias) {
  if (is_mixed(grad_y, x)) {
    return linear_backward_weight(wide(grad_y), wide(x), grad_w, grad_bias);
  }
  if (!use_gemm(grad_y, x, grad_w)) {
    return reference::linear_backward_weight(grad_y, x, grad_w, grad_bias);
  }
  multiply(grad_y, true, x, false, grad_w, /*accumulate=*/true);
  if (grad_bias.defined()) {
    add_column_sums(grad_bias, grad_y);
  }
}

void add_column_sums(at::Tensor grad_bias, const at::Tensor& grad_y) {
  grad_bias.add_(wide(grad_y).sum(0));
}

}  // namespace enodia::ops

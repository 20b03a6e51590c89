#include <algorithm>
#include <vector>

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "models/ops.h"
#include "models/ops_dispatch.h"
#include "models/ops_reference.h"

namespace enodia::ops {

using namespace detail;  // NOLINT(google-build-using-namespace): private to these sources

namespace {

/// The heads of a call: H query heads, G key/value heads, d elements each.
struct Heads {
  int64_t query, key, dim;
  int64_t group() const { return query / key; }
  int64_t width() const { return (query + 2 * key) * dim; }
};

void check_shapes(const at::Tensor& qkv, const SequenceLayout& layout, const Heads& heads) {
  ENODIA_CHECK(heads.key > 0 && heads.query % heads.key == 0,
               "kv_heads (",
               heads.key,
               ") must divide heads (",
               heads.query,
               ")");
  ENODIA_CHECK_EQ(qkv.size(1), heads.width(), "columns of qkv");
  ENODIA_CHECK_EQ(qkv.size(0), static_cast<int64_t>(layout.cu_seqlens.back()), "tokens of qkv");
}

/// The problem of one segment and one key/value head.
AttentionProblem problem_of(const at::Tensor& qkv,
                            const AttentionResult& result,
                            const SequenceLayout& layout,
                            const Heads& heads,
                            size_t segment,
                            int64_t key_head) {
  const int64_t first = layout.cu_seqlens[segment];
  const int64_t head = key_head * heads.group();
  const float* row = floats(qkv) + first * heads.width();
  return {.length = layout.cu_seqlens[segment + 1] - first,
          .group = heads.group(),
          .head_dim = heads.dim,
          .q = row + head * heads.dim,
          .k = row + (heads.query + key_head) * heads.dim,
          .v = row + (heads.query + heads.key + key_head) * heads.dim,
          .qkv_stride = heads.width(),
          .out = floats(result.out) + (first * heads.query + head) * heads.dim,
          .out_stride = heads.query * heads.dim,
          .logsumexp = floats(result.logsumexp) + first * heads.query + head,
          .logsumexp_stride = heads.query};
}

/// fn(problem, workspace) for every segment and key/value head, shared among the threads.
template <typename Fn>
void for_problems(const at::Tensor& qkv,
                  const AttentionResult& result,
                  const SequenceLayout& layout,
                  const Heads& heads,
                  Fn fn) {
  const auto segments = static_cast<int64_t>(layout.cu_seqlens.size()) - 1;
  int64_t longest = 0;
  for (size_t s = 0; s + 1 < layout.cu_seqlens.size(); ++s) {
    longest = std::max<int64_t>(longest, layout.cu_seqlens[s + 1] - layout.cu_seqlens[s]);
  }
  at::parallel_for(0, segments * heads.key, 1, [&](int64_t begin, int64_t end) {
    const at::Tensor workspace =
        at::empty({attention_workspace(longest, heads.dim)}, qkv.options());
    for (int64_t i = begin; i < end; ++i) {
      const auto segment = static_cast<size_t>(i / heads.key);
      const AttentionProblem problem =
          problem_of(qkv, result, layout, heads, segment, i % heads.key);
      if (problem.length > 0) {
        fn(problem, floats(workspace));
      }
    }
  });
}

}  // namespace

AttentionResult attention(const at::Tensor& qkv,
                          const SequenceLayout& layout,
                          int64_t heads,
                          int64_t kv_heads,
                          int64_t head_dim) {
  const Heads shape{heads, kv_heads, head_dim};
  check_shapes(qkv, layout, shape);
  if (is_mixed(qkv)) {
    const AttentionResult result = attention(wide(qkv), layout, heads, kv_heads, head_dim);
    return {rounded(result.out), result.logsumexp};
  }
  if (!use_kernels(qkv)) {
    return reference::attention(qkv, layout, heads, kv_heads, head_dim);
  }
  const AttentionResult result{at::empty({qkv.size(0), heads * head_dim}, qkv.options()),
                               at::empty({qkv.size(0), heads}, qkv.options())};
  for_problems(qkv, result, layout, shape, [](const AttentionProblem& problem, float* workspace) {
    cpu_kernels().attention(problem, workspace);
  });
  return result;
}

at::Tensor attention_backward(const at::Tensor& grad_out,
                              const at::Tensor& qkv,
                              const AttentionResult& forward,
                              const SequenceLayout& layout,
                              int64_t heads,
                              int64_t kv_heads,
                              int64_t head_dim) {
  const Heads shape{heads, kv_heads, head_dim};
  check_shapes(qkv, layout, shape);
  ENODIA_CHECK_EQ(grad_out.sizes(), forward.out.sizes(), "shapes of grad_out and out");
  if (is_mixed(qkv, grad_out)) {
    const AttentionResult widened{wide(forward.out), forward.logsumexp};
    return rounded(
        attention_backward(wide(grad_out), wide(qkv), widened, layout, heads, kv_heads, head_dim));
  }
  if (!use_kernels(qkv, grad_out, forward.out, forward.logsumexp)) {
    return reference::attention_backward(grad_out, qkv, forward, layout, heads, kv_heads, head_dim);
  }
  const at::Tensor grad_qkv = at::empty_like(qkv);
  for_problems(qkv, forward, layout, shape, [&](const AttentionProblem& problem, float* workspace) {
    const auto gradient_of = [&](const float* x) { return floats(grad_qkv) + (x - floats(qkv)); };
    const AttentionGradients gradients{floats(grad_out) + (problem.out - floats(forward.out)),
                                       gradient_of(problem.q),
                                       gradient_of(problem.k),
                                       gradient_of(problem.v)};
    cpu_kernels().attention_backward(problem, gradients, workspace);
  });
  return grad_qkv;
}

}  // namespace enodia::ops

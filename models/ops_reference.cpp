#include "models/ops_reference.h"

#include <cmath>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/triu.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include "common/check.h"

namespace enodia::ops::reference {

RmsNormResult rms_norm(const at::Tensor& x_TD, const at::Tensor& w_D, double eps) {
  const at::Tensor rstd = at::rsqrt(x_TD.mul(x_TD).mean(-1) + eps);
  return {x_TD * rstd.unsqueeze(-1) * w_D, rstd};
}

at::Tensor rms_norm_backward(const at::Tensor& grad_y_TD,
                             const at::Tensor& x_TD,
                             const at::Tensor& w_D,
                             const at::Tensor& rstd_T,
                             at::Tensor& grad_w_D) {
  const at::Tensor normed = x_TD * rstd_T.unsqueeze(-1);
  grad_w_D.add_((grad_y_TD * normed).sum(0));
  const at::Tensor grad_normed = grad_y_TD * w_D;
  const at::Tensor along_x = (grad_normed * normed).mean(-1, /*keepdim=*/true);
  return (grad_normed - normed * along_x) * rstd_T.unsqueeze(-1);
}

at::Tensor linear(const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias) {
  return bias.defined() ? at::addmm(bias, x, w.t()) : at::mm(x, w.t());
}

at::Tensor linear_backward_input(const at::Tensor& grad_y, const at::Tensor& w) {
  return at::mm(grad_y, w);
}

void linear_into(at::Tensor y, const at::Tensor& x, const at::Tensor& w) {
  at::mm_out(y, x, w.t());
}

void linear_backward_input_into(at::Tensor grad_x, const at::Tensor& grad_y, const at::Tensor& w) {
  at::mm_out(grad_x, grad_y, w);
}

void linear_backward_weight(const at::Tensor& grad_y,
                            const at::Tensor& x,
                            at::Tensor grad_w,
                            at::Tensor grad_bias) {
  grad_w.addmm_(grad_y.t(), x);
  if (grad_bias.defined()) {
    grad_bias.add_(grad_y.sum(0));
  }
}

at::Tensor swiglu(const at::Tensor& gate_up, const at::Tensor& row_weight) {
  const int64_t hidden = gate_up.size(1) / 2;
  const at::Tensor act = at::silu(gate_up.narrow(1, 0, hidden)) * gate_up.narrow(1, hidden, hidden);
  return row_weight.defined() ? act * row_weight.unsqueeze(-1) : act;
}

SwigluGradients swiglu_backward(const at::Tensor& grad_act,
                                const at::Tensor& gate_up,
                                const at::Tensor& row_weight) {
  const int64_t hidden = gate_up.size(1) / 2;
  const at::Tensor gate = gate_up.narrow(1, 0, hidden);
  const at::Tensor up = gate_up.narrow(1, hidden, hidden);
  const at::Tensor sigmoid = at::sigmoid(gate);
  const at::Tensor silu = gate * sigmoid;
  SwigluGradients gradients;
  at::Tensor grad = grad_act;
  if (row_weight.defined()) {
    gradients.row_weight = (grad_act * silu * up).sum(-1);
    grad = grad_act * row_weight.unsqueeze(-1);
  }
  const at::Tensor grad_gate = grad * up * (sigmoid + silu * (1 - sigmoid));
  gradients.gate_up = at::cat({grad_gate, grad * silu}, 1);
  return gradients;
}

RotaryTable rotary_table(const SequenceLayout& layout,
                         const Rotary& rotary,
                         const at::TensorOptions& options) {
  const at::Tensor frequency = at::tensor(rotary.frequencies, at::kDouble);
  const at::Tensor position = at::tensor(layout.positions, at::kInt).to(at::kDouble);
  const at::Tensor angle = at::outer(position, frequency);
  return {(angle.cos() * rotary.magnitude).to(options),
          (angle.sin() * rotary.magnitude).to(options),
          rotary.interleaved};
}

void rotate(at::Tensor x, const RotaryTable& table, int64_t heads, bool inverse) {
  const int64_t half = table.cos.size(1);
  // A view however the columns lie: [T, heads, 2 half].
  const at::Tensor turning =
      x.unflatten(1, {heads, heads > 0 ? x.size(1) / heads : 0}).narrow(2, 0, 2 * half);
  const at::Tensor halves = turning.unflatten(2, {2, half});
  const at::Tensor neighbours = turning.unflatten(2, {half, 2}).transpose(2, 3);
  const at::Tensor& from = table.interleaved && !inverse ? neighbours : halves;
  at::Tensor to = table.interleaved && inverse ? neighbours : halves;
  const at::Tensor left = from.select(2, 0);
  const at::Tensor right = from.select(2, 1);
  const at::Tensor cos = table.cos.unsqueeze(1);
  const at::Tensor sin = inverse ? -table.sin.unsqueeze(1) : table.sin.unsqueeze(1);
  to.copy_(at::stack({left * cos - right * sin, right * cos + left * sin}, 2));
}

namespace {

/// One segment's heads as [H, n, d], keys and values repeated for every query head of their group.
struct SegmentHeads {
  at::Tensor q, k, v;
};

SegmentHeads heads_of(const at::Tensor& qkv,
                      int64_t begin,
                      int64_t length,
                      int64_t heads,
                      int64_t kv_heads,
                      int64_t head_dim) {
  const at::Tensor rows =
      qkv.narrow(0, begin, length).view({length, heads + 2 * kv_heads, head_dim}).transpose(0, 1);
  const int64_t group = heads / kv_heads;
  return {rows.narrow(0, 0, heads),
          rows.narrow(0, heads, kv_heads).repeat_interleave(group, 0),
          rows.narrow(0, heads + kv_heads, kv_heads).repeat_interleave(group, 0)};
}

/// Scaled scores [H, n, n] with -inf above the diagonal.
at::Tensor causal_scores(const SegmentHeads& segment) {
  const int64_t length = segment.q.size(1);
  const at::Tensor scores = at::matmul(segment.q, segment.k.transpose(1, 2)) /
                            std::sqrt(static_cast<double>(segment.q.size(2)));
  const at::Tensor future = at::ones({length, length}, scores.options().dtype(at::kBool)).triu(1);
  return scores.masked_fill(future, -INFINITY);
}

/// Calls fn(begin, length) for every segment that is not empty.
template <typename Fn>
void for_each_segment(const SequenceLayout& layout, Fn fn) {
  for (size_t s = 0; s + 1 < layout.cu_seqlens.size(); ++s) {
    const int64_t begin = layout.cu_seqlens[s];
    const int64_t length = layout.cu_seqlens[s + 1] - begin;
    if (length > 0) {
      fn(begin, length);
    }
  }
}

}  // namespace

AttentionResult attention(const at::Tensor& qkv,
                          const SequenceLayout& layout,
                          int64_t heads,
                          int64_t kv_heads,
                          int64_t head_dim) {
  const int64_t tokens = qkv.size(0);
  AttentionResult result{at::empty({tokens, heads * head_dim}, qkv.options()),
                         at::empty({tokens, heads}, qkv.options())};
  for_each_segment(layout, [&](int64_t begin, int64_t length) {
    const SegmentHeads segment = heads_of(qkv, begin, length, heads, kv_heads, head_dim);
    const at::Tensor scores = causal_scores(segment);
    result.logsumexp.narrow(0, begin, length).copy_(at::logsumexp(scores, {-1}).t());
    result.out.narrow(0, begin, length)
        .view({length, heads, head_dim})
        .copy_(at::matmul(at::softmax(scores, -1), segment.v).transpose(0, 1));
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
  at::Tensor grad_qkv = at::empty_like(qkv);
  const double scale = 1 / std::sqrt(static_cast<double>(head_dim));
  const int64_t group = heads / kv_heads;
  for_each_segment(layout, [&](int64_t begin, int64_t length) {
    const auto per_head = [&](const at::Tensor& rows) {
      return rows.narrow(0, begin, length).view({length, heads, head_dim}).transpose(0, 1);
    };
    const SegmentHeads segment = heads_of(qkv, begin, length, heads, kv_heads, head_dim);
    const at::Tensor grad = per_head(grad_out);
    const at::Tensor logsumexp = forward.logsumexp.narrow(0, begin, length).t().unsqueeze(-1);
    const at::Tensor probs = at::exp(causal_scores(segment) - logsumexp);
    const at::Tensor grad_probs = at::matmul(grad, segment.v.transpose(1, 2));
    const at::Tensor mean = (grad * per_head(forward.out)).sum(-1, /*keepdim=*/true);
    const at::Tensor grad_scores = probs * (grad_probs - mean) * scale;
    const auto over_group = [&](const at::Tensor& x) {
      return x.reshape({kv_heads, group, length, head_dim}).sum(1);
    };
    grad_qkv.narrow(0, begin, length)
        .view({length, heads + 2 * kv_heads, head_dim})
        .copy_(at::cat({at::matmul(grad_scores, segment.k),
                        over_group(at::matmul(grad_scores.transpose(1, 2), segment.q)),
                        over_group(at::matmul(probs.transpose(1, 2), grad))})
                   .transpose(0, 1));
  });
  return grad_qkv;
}

at::Tensor cross_entropy(at::Tensor logits, const at::Tensor& labels, double scale) {
  const at::Tensor valid = labels.ge(0);
  const at::Tensor target = labels.clamp_min(0).unsqueeze(-1);
  const at::Tensor logsumexp = at::logsumexp(logits, {-1}, /*keepdim=*/true);
  const at::Tensor losses = (logsumexp - logits.gather(-1, target)).squeeze(-1).to(at::kDouble);
  const at::Tensor total = at::where(valid, losses, at::zeros_like(losses)).sum();
  if (scale != 0) {
    logits.sub_(logsumexp).exp_();
    logits.scatter_add_(-1, target, at::zeros_like(logsumexp).sub_(1));
    logits.mul_(scale).masked_fill_(valid.logical_not().unsqueeze(-1), 0);
  }
  return total;
}

at::Tensor gather_rows(const at::Tensor& x, const at::Tensor& index) {
  return x.index_select(0, index);
}

at::Tensor gather_sum(const at::Tensor& x, const at::Tensor& index_TK) {
  at::Tensor y = at::zeros({index_TK.size(0), x.size(1)}, x.options());
  if (x.size(0) == 0) {
    return y;
  }
  for (int64_t k = 0; k < index_TK.size(1); ++k) {
    const at::Tensor index = index_TK.select(1, k);
    const at::Tensor rows = x.index_select(0, index.clamp_min(0));
    y.add_(rows.masked_fill(index.lt(0).unsqueeze(-1), 0));
  }
  return y;
}

void scatter_add_rows(at::Tensor w, const at::Tensor& index_T, const at::Tensor& x) {
  w.index_add_(0, index_T, x);
}

}  // namespace enodia::ops::reference

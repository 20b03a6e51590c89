#pragma once

// Causal attention by blocks of kQueryBlock queries; see vector.h for why all of it has internal
// linkage.
//
// Scores are kept transposed, [keys, queries]: the softmax over keys then runs down the vectors and
// needs no sums across lanes, and the scores serve as the left factor of the next product as they
// lie. A block sees the keys up to its last query. Queries beyond the segment are zeros in the last
// block; their scores are computed and never read.

#include "models/kernels/cpu/elementwise.h"
#include "models/kernels/cpu/gemm.h"

namespace enodia {
namespace {

constexpr int64_t kQueryBlock = 48;
constexpr int64_t kQueryVectors = kQueryBlock / kLanes;

/// Hands out pieces of the workspace.
struct Bump {
  float* next;
  float* take(int64_t floats) {
    float* piece = next;
    next += floats;
    return piece;
  }
};

/// The queries [first, first + count) of one head, and the keys that they see.
struct QueryBlock {
  int64_t head, first, count;
  int64_t keys() const { return first + count; }
};

template <typename Fn>
void for_query_blocks(const AttentionProblem& p, Fn fn) {
  for (int64_t head = 0; head < p.group; ++head) {
    for (int64_t first = 0; first < p.length; first += kQueryBlock) {
      fn(QueryBlock{head, first, lesser(kQueryBlock, p.length - first)});
    }
  }
}

/// scores[key, query] of a block: left [keys, d], packed by pack_rows, times right [count, d]^T.
void multiply_by_block(const float* left,
                       const float* right,
                       int64_t right_stride,
                       const QueryBlock& block,
                       int64_t head_dim,
                       float* packed,
                       float* scores) {
  constexpr int64_t kWidth = kTileVectors * kLanes;
  for (int64_t query = 0; query < kQueryBlock; query += kWidth) {
    pack_panel({right + query * right_stride, right_stride, true},
               block.count - query,
               head_dim,
               packed + query * head_dim,
               kTileVectors);
  }
  multiply_packed(packed_rows(left, head_dim),
                  {packed, head_dim},
                  block.keys(),
                  kQueryBlock,
                  head_dim,
                  scores,
                  kQueryBlock,
                  false);
}

/// Lane l of vector v is -infinity where query v * kLanes + l of the block comes before the key
/// `behind` places after the block's first query.
inline Vec mask_future(Vec scores, int64_t v, int64_t behind) {
  IntVec query;
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    query[lane] = static_cast<int32_t>(v * kLanes + lane);
  }
  return query < static_cast<int32_t>(behind) ? broadcast(-__builtin_inff()) : scores;
}

void mask_block(const QueryBlock& block, float* scores) {
  for (int64_t key = block.first + 1; key < block.keys(); ++key) {
    for (int64_t v = 0; v < kQueryVectors; ++v) {
      float* at = scores + key * kQueryBlock + v * kLanes;
      store(at, mask_future(load(at), v, key - block.first));
    }
  }
}

/// Turns scores into e^(scale * score - largest); writes the sums and logsumexps of the queries.
void exponentiate_block(
    const QueryBlock& block, float scale, float* scores, float* sums, float* logsumexps) {
  for (int64_t v = 0; v < kQueryVectors; ++v) {
    float* column = scores + v * kLanes;
    Vec largest = load(column);
    for (int64_t key = 1; key < block.keys(); ++key) {
      largest = max_of(load(column + key * kQueryBlock), largest);
    }
    largest = largest * scale;
    Vec sum{};
    for (int64_t key = 0; key < block.keys(); ++key) {
      const Vec e = exp_of(load(column + key * kQueryBlock) * scale - largest);
      store(column + key * kQueryBlock, e);
      sum += e;
    }
    store(sums + v * kLanes, sum);
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      logsumexps[v * kLanes + lane] = largest[lane] + __builtin_logf(sum[lane]);
    }
  }
}

float attention_scale(const AttentionProblem& p) {
  return 1.0F / __builtin_sqrtf(static_cast<float>(p.head_dim));
}

void attention(const AttentionProblem& p, float* workspace) {
  Bump bump{workspace};
  float* key_rows = bump.take(padded(p.length) * p.head_dim);
  float* value_columns = bump.take(p.length * padded(p.head_dim));
  float* packed = bump.take(kQueryBlock * p.head_dim);
  float* scores = bump.take(p.length * kQueryBlock);
  float sums[kQueryBlock];
  float logsumexps[kQueryBlock];
  pack_rows({p.k, p.qkv_stride, true}, p.length, p.head_dim, key_rows);
  pack_columns({p.v, p.qkv_stride, false}, p.head_dim, p.length, value_columns);
  for_query_blocks(p, [&](const QueryBlock& block) {
    const float* q = p.q + block.first * p.qkv_stride + block.head * p.head_dim;
    float* out = p.out + block.first * p.out_stride + block.head * p.head_dim;
    multiply_by_block(key_rows, q, p.qkv_stride, block, p.head_dim, packed, scores);
    mask_block(block, scores);
    exponentiate_block(block, attention_scale(p), scores, sums, logsumexps);
    multiply_packed(plain_columns(scores, kQueryBlock),
                    {value_columns, p.length},
                    block.count,
                    p.head_dim,
                    block.keys(),
                    out,
                    p.out_stride,
                    false);
    for (int64_t i = 0; i < block.count; ++i) {
      multiply(out + i * p.out_stride, p.head_dim, 1.0F / sums[i]);
      p.logsumexp[(block.first + i) * p.logsumexp_stride + block.head] = logsumexps[i];
    }
  });
}

float dot(const float* a, const float* b, int64_t n) {
  Vec sum{};
  for_lanes(0, n, [&](int64_t i, auto lanes) { sum += load(a + i, lanes) * load(b + i, lanes); });
  return sum_lanes(sum);
}

/// From scores and grad_probs [keys, queries] to probs and grad_scores, in place. The gradient of a
/// score is prob * (grad_prob - mean), with the mean of grad_prob over the probs: grad_out . out.
void differentiate_block(const AttentionProblem& p,
                         const float* grad_out,
                         const QueryBlock& block,
                         float* scores,
                         float* grads) {
  float logsumexps[kQueryBlock] = {};
  float means[kQueryBlock] = {};
  for (int64_t i = 0; i < block.count; ++i) {
    const int64_t row = (block.first + i) * p.out_stride + block.head * p.head_dim;
    logsumexps[i] = p.logsumexp[(block.first + i) * p.logsumexp_stride + block.head];
    means[i] = dot(grad_out + row, p.out + row, p.head_dim);
  }
  const float scale = attention_scale(p);
  for (int64_t key = 0; key < block.keys(); ++key) {
    for (int64_t v = 0; v < kQueryBlock; v += kLanes) {
      float* score = scores + key * kQueryBlock + v;
      float* grad = grads + key * kQueryBlock + v;
      const Vec prob = exp_of(load(score) * scale - load(logsumexps + v));
      store(score, prob);
      store(grad, prob * (load(grad) - load(means + v)) * scale);
    }
  }
}

void attention_backward(const AttentionProblem& p, const AttentionGradients& g, float* workspace) {
  const int64_t dim = p.head_dim;
  Bump bump{workspace};
  float* key_rows = bump.take(padded(p.length) * dim);
  float* value_rows = bump.take(padded(p.length) * dim);
  float* key_columns = bump.take(p.length * padded(dim));
  float* packed = bump.take(kQueryBlock * padded(dim));
  float* probs = bump.take(p.length * kQueryBlock);
  float* grads = bump.take(p.length * kQueryBlock);
  pack_rows({p.k, p.qkv_stride, true}, p.length, dim, key_rows);
  pack_rows({p.v, p.qkv_stride, true}, p.length, dim, value_rows);
  pack_columns({p.k, p.qkv_stride, false}, dim, p.length, key_columns);
  for (int64_t key = 0; key < p.length; ++key) {
    __builtin_memset(g.grad_k + key * p.qkv_stride, 0, static_cast<size_t>(dim) * sizeof(float));
    __builtin_memset(g.grad_v + key * p.qkv_stride, 0, static_cast<size_t>(dim) * sizeof(float));
  }
  for_query_blocks(p, [&](const QueryBlock& block) {
    const float* q = p.q + block.first * p.qkv_stride + block.head * dim;
    const float* grad_out = g.grad_out + block.first * p.out_stride + block.head * dim;
    float* grad_q = g.grad_q + block.first * p.qkv_stride + block.head * dim;
    multiply_by_block(key_rows, q, p.qkv_stride, block, dim, packed, probs);
    mask_block(block, probs);
    multiply_by_block(value_rows, grad_out, p.out_stride, block, dim, packed, grads);
    differentiate_block(p, g.grad_out, block, probs, grads);

    multiply_packed(plain_columns(grads, kQueryBlock),
                    {key_columns, p.length},
                    block.count,
                    dim,
                    block.keys(),
                    grad_q,
                    p.qkv_stride,
                    false);
    const auto add_to_keys = [&](float* left, const float* right, int64_t stride, float* sum) {
      pack_columns({right, stride, false}, dim, block.count, packed);
      multiply_packed<LeftLayout::kRows>({left, kQueryBlock, 0},
                                         {packed, block.count},
                                         block.keys(),
                                         dim,
                                         block.count,
                                         sum,
                                         p.qkv_stride,
                                         true);
    };
    add_to_keys(grads, q, p.qkv_stride, g.grad_k);
    add_to_keys(probs, grad_out, p.out_stride, g.grad_v);
  });
}

}  // namespace
}  // namespace enodia

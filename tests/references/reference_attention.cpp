#include <cmath>
#include <limits>
#include <numbers>

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>

#include "tests/references/reference_decoder.h"

namespace enodia::detail {
namespace {

using at::Tensor;
using TensorList = std::vector<Tensor>;

// YaRN's frequency of pair j of `dim` dims (arXiv 2309.00071, section 3.2): with r turns within the
// old length, pairs of many turns stay and pairs of few are slowed down by the factor.
double yarn_frequency(const ReferenceOptions& o, int64_t j, int64_t dim) {
  const double plain =
      1.0 / std::pow(o.rope_theta, 2.0 * static_cast<double>(j) / static_cast<double>(dim));
  // The pair that makes this many turns: L / (2 pi theta^(2 pair / dim)) = turns.
  const auto pair_of = [&](double turns) {
    return static_cast<double>(dim) / 2 *
           std::log(o.yarn_original_length / (2 * std::numbers::pi * turns)) /
           std::log(o.rope_theta);
  };
  double first = pair_of(o.yarn_beta_fast);
  double last = pair_of(o.yarn_beta_slow);
  if (o.yarn_truncate) {
    first = std::floor(first);
    last = std::ceil(last);
  }
  first = first < 0 ? 0 : first;
  last = last > static_cast<double>(dim - 1) ? static_cast<double>(dim - 1) : last;
  last = last == first ? last + 0.001 : last;
  double slowed = (static_cast<double>(j) - first) / (last - first);
  slowed = slowed < 0 ? 0 : slowed > 1 ? 1 : slowed;
  return plain * (1 - slowed) + plain / o.yarn_factor * slowed;
}

double mscale(double factor, double weight) {
  return factor > 1 ? 1 + 0.1 * weight * std::log(factor) : 1.0;
}

// What cos and sin are multiplied with.
double rotary_magnitude(const ReferenceOptions& o) {
  if (!o.yarn) {
    return 1;
  }
  if (o.yarn_attention_factor > 0) {
    return o.yarn_attention_factor;
  }
  const bool both = o.yarn_mscale > 0 && o.yarn_mscale_all_dim > 0;
  return both ? mscale(o.yarn_factor, o.yarn_mscale) / mscale(o.yarn_factor, o.yarn_mscale_all_dim)
              : mscale(o.yarn_factor, 1);
}

// x is one head of one segment, [S, d]; its rows stand at positions 0, 1, ... The first `dim` dims
// are turned, pair by pair: neighbors, or one of each half.
Tensor rotate(const ReferenceOptions& o, const Tensor& x, int64_t dim) {
  std::vector<double> frequencies;
  for (int64_t j = 0; j < dim / 2; ++j) {
    frequencies.push_back(
        o.yarn ? yarn_frequency(o, j, dim)
               : std::pow(o.rope_theta, -2.0 * static_cast<double>(j) / static_cast<double>(dim)));
  }
  const Tensor angles =
      at::outer(at::arange(x.size(0), at::kDouble), at::tensor(frequencies, at::kDouble));
  const Tensor cos = at::cos(angles) * rotary_magnitude(o);
  const Tensor sin = at::sin(angles) * rotary_magnitude(o);
  const int64_t stride = o.rope_interleave ? 2 : 1;
  const int64_t offset = o.rope_interleave ? 1 : dim / 2;
  const Tensor a = x.slice(1, 0, dim - offset, stride);
  const Tensor b = x.slice(1, offset, dim, stride);
  const TensorList turned{a * cos - b * sin, b * cos + a * sin};
  return at::cat(
      {o.rope_interleave ? at::stack(turned, 2).flatten(1) : at::cat(turned, 1), x.slice(1, dim)},
      1);
}

// Head h of a projection.
Tensor head_of(const Tensor& y, int64_t h, int64_t dim) {
  return y.slice(1, h * dim, (h + 1) * dim);
}

Tensor biased(const NamedTensors& p, const std::string& name, const Tensor& x, bool has_bias) {
  const Tensor y = project(x, p.at(name + ".weight"));
  return has_bias ? y + p.at(name + ".bias") : y;
}

// Causal attention of one head: token t reads tokens 0..t.
Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v, double scale) {
  const Tensor later = at::ones({q.size(0), q.size(0)}, at::kBool).triu(1);
  const Tensor scores = q.matmul(k.t()) * scale;
  return at::softmax(scores.masked_fill(later, -std::numeric_limits<double>::infinity()), 1)
      .matmul(v);
}

// The heads of q or k of a segment, normed and rotated: `count` tensors [S, d].
TensorList turned_heads(const ReferenceOptions& o,
                        const NamedTensors& p,
                        const std::string& prefix,
                        const std::string& letter,
                        int64_t count,
                        const Tensor& x) {
  Tensor y = biased(p, prefix + letter + "_proj", x, o.attention_bias);
  if (o.use_qk_norm && o.full_qk_norm) {
    y = rms_norm(y, p.at(prefix + letter + "_norm.weight"), o.rms_norm_eps);
  }
  TensorList heads;
  for (int64_t h = 0; h < count; ++h) {
    Tensor head = head_of(y, h, o.head_dim);
    if (o.use_qk_norm && !o.full_qk_norm) {
      head = rms_norm(head, p.at(prefix + letter + "_norm.weight"), o.rms_norm_eps);
    }
    heads.push_back(rotate(
        o, head, static_cast<int64_t>(static_cast<double>(o.head_dim) * o.partial_rotary_factor)));
  }
  return heads;
}

Tensor grouped_query(const ReferenceOptions& o,
                     const NamedTensors& p,
                     const std::string& prefix,
                     const Tensor& x) {
  const TensorList q = turned_heads(o, p, prefix, "q", o.num_attention_heads, x);
  const TensorList k = turned_heads(o, p, prefix, "k", o.num_key_value_heads, x);
  const Tensor v = biased(p, prefix + "v_proj", x, o.attention_bias);
  const int64_t queries_of_key = o.num_attention_heads / o.num_key_value_heads;
  TensorList out;
  for (int64_t h = 0; h < o.num_attention_heads; ++h) {
    const int64_t g = h / queries_of_key;
    out.push_back(attend(
        q[h], k[g], head_of(v, g, o.head_dim), 1.0 / std::sqrt(static_cast<double>(o.head_dim))));
  }
  return at::cat(out, 1);
}

// Multi-head latent attention, head by head: arXiv 2405.04434, equations 9 to 19.
Tensor latent(const ReferenceOptions& o,
              const NamedTensors& p,
              const std::string& prefix,
              const Tensor& x) {
  constexpr double kEps = 1e-6;
  const int64_t nope = o.qk_nope_head_dim;
  const int64_t rope = o.qk_rope_head_dim;
  Tensor queries;
  if (o.q_lora_rank > 0) {
    const Tensor latent_q = biased(p, prefix + "q_a_proj", x, o.attention_bias);
    queries = project(rms_norm(latent_q, p.at(prefix + "q_a_layernorm.weight"), kEps),
                      p.at(prefix + "q_b_proj.weight"));
  } else {
    queries = project(x, p.at(prefix + "q_proj.weight"));
  }
  const Tensor both = biased(p, prefix + "kv_a_proj_with_mqa", x, o.attention_bias);
  const Tensor latent_kv =
      rms_norm(both.slice(1, 0, o.kv_lora_rank), p.at(prefix + "kv_a_layernorm.weight"), kEps);
  const Tensor shared_key = rotate(o, both.slice(1, o.kv_lora_rank, o.kv_lora_rank + rope), rope);
  const Tensor keys_and_values = project(latent_kv, p.at(prefix + "kv_b_proj.weight"));
  double scale = 1.0 / std::sqrt(static_cast<double>(nope + rope));
  if (o.yarn && o.yarn_mscale_all_dim > 0) {
    scale *= std::pow(mscale(o.yarn_factor, o.yarn_mscale_all_dim), 2);
  }
  TensorList out;
  for (int64_t h = 0; h < o.num_attention_heads; ++h) {
    const Tensor query = head_of(queries, h, nope + rope);
    const Tensor key_value = head_of(keys_and_values, h, nope + o.v_head_dim);
    const Tensor q =
        at::cat({query.slice(1, 0, nope), rotate(o, query.slice(1, nope, nope + rope), rope)}, 1);
    const Tensor k = at::cat({key_value.slice(1, 0, nope), shared_key}, 1);
    out.push_back(attend(q, k, key_value.slice(1, nope, nope + o.v_head_dim), scale));
  }
  return at::cat(out, 1);
}

}  // namespace

Tensor reference_attention(const ReferenceOptions& o,
                           const NamedTensors& p,
                           int64_t layer,
                           const ReferenceMicroBatch& batch,
                           const Tensor& x) {
  const std::string prefix = layer_prefix(layer) + "self_attn.";
  TensorList segments;
  int64_t begin = 0;
  for (const int64_t length : batch.segment_lengths) {
    const Tensor segment = x.slice(0, begin, begin + length);
    const Tensor heads =
        o.latent_attention ? latent(o, p, prefix, segment) : grouped_query(o, p, prefix, segment);
    segments.push_back(biased(p, prefix + "o_proj", heads, o.attention_output_bias));
    begin += length;
  }
  return at::cat(segments, 0);
}

std::map<std::string, std::vector<int64_t>> reference_attention_shapes(const ReferenceOptions& o) {
  std::map<std::string, std::vector<int64_t>> shapes;
  const int64_t hidden = o.hidden_size;
  const int64_t heads = o.num_attention_heads;
  const auto add = [&](const std::string& name, int64_t rows, int64_t columns, bool has_bias) {
    shapes[name + ".weight"] = {rows, columns};
    if (has_bias) {
      shapes[name + ".bias"] = {rows};
    }
  };
  if (o.latent_attention) {
    const int64_t dim = o.qk_nope_head_dim + o.qk_rope_head_dim;
    if (o.q_lora_rank > 0) {
      add("q_a_proj", o.q_lora_rank, hidden, o.attention_bias);
      shapes["q_a_layernorm.weight"] = {o.q_lora_rank};
      add("q_b_proj", heads * dim, o.q_lora_rank, false);
    } else {
      add("q_proj", heads * dim, hidden, false);
    }
    add("kv_a_proj_with_mqa", o.kv_lora_rank + o.qk_rope_head_dim, hidden, o.attention_bias);
    shapes["kv_a_layernorm.weight"] = {o.kv_lora_rank};
    add("kv_b_proj", heads * (o.qk_nope_head_dim + o.v_head_dim), o.kv_lora_rank, false);
    add("o_proj", hidden, heads * o.v_head_dim, o.attention_output_bias);
    return shapes;
  }
  const int64_t queries = heads * o.head_dim;
  const int64_t keys = o.num_key_value_heads * o.head_dim;
  add("q_proj", queries, hidden, o.attention_bias);
  add("k_proj", keys, hidden, o.attention_bias);
  add("v_proj", keys, hidden, o.attention_bias);
  add("o_proj", hidden, queries, o.attention_output_bias);
  if (o.use_qk_norm) {
    shapes["q_norm.weight"] = {o.full_qk_norm ? queries : o.head_dim};
    shapes["k_norm.weight"] = {o.full_qk_norm ? keys : o.head_dim};
  }
  return shapes;
}

}  // namespace enodia::detail

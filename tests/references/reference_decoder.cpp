#include "tests/references/reference_decoder.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/xlogy.h>
#include <ATen/ops/zeros.h>

namespace enodia::detail {
namespace {

using at::Tensor;
using TensorList = std::vector<Tensor>;

Tensor zero() {
  return at::zeros({}, at::kDouble);
}

Tensor project(const Tensor& x, const Tensor& w) {
  return x.matmul(w.t());
}

Tensor rms_norm(const Tensor& x, const Tensor& w, double eps) {
  return w * x / (x.square().mean(-1, /*keepdim=*/true) + eps).sqrt();
}

Tensor swiglu(const NamedTensors& p, const std::string& prefix, const Tensor& x) {
  const Tensor gate = project(x, p.at(prefix + "gate_proj.weight"));
  const Tensor up = project(x, p.at(prefix + "up_proj.weight"));
  return project(at::silu(gate) * up, p.at(prefix + "down_proj.weight"));
}

// x is one head of one segment, [S, d]; its rows stand at positions 0, 1, ...
Tensor rotate(const Tensor& x, double theta) {
  const int64_t d = x.size(1);
  const Tensor position = at::arange(x.size(0), at::kDouble);
  const Tensor pair = at::arange(d / 2, at::kDouble);
  const Tensor angle = at::outer(position, at::pow(theta, -2.0 * pair / static_cast<double>(d)));
  const Tensor first = x.slice(1, 0, d / 2);
  const Tensor second = x.slice(1, d / 2, d);
  return at::cat({first * at::cos(angle) - second * at::sin(angle),
                  second * at::cos(angle) + first * at::sin(angle)},
                 1);
}

// The heads of one of q, k, v of a segment: `count` tensors [S, d].
TensorList heads_of(const ReferenceOptions& o,
                    const NamedTensors& p,
                    const std::string& name,
                    int64_t count,
                    const Tensor& x) {
  Tensor y = project(x, p.at(name + ".weight"));
  if (o.attention_bias) {
    y = y + p.at(name + ".bias");
  }
  TensorList heads;
  for (int64_t h = 0; h < count; ++h) {
    heads.push_back(y.slice(1, h * o.head_dim, (h + 1) * o.head_dim));
  }
  return heads;
}

// Causal attention of one head: token t reads tokens 0..t.
Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v) {
  const double scale = 1.0 / std::sqrt(static_cast<double>(q.size(1)));
  TensorList rows;
  for (int64_t t = 0; t < q.size(0); ++t) {
    const Tensor scores = k.slice(0, 0, t + 1).matmul(q[t]) * scale;
    rows.push_back(at::softmax(scores, 0).matmul(v.slice(0, 0, t + 1)));
  }
  return at::stack(rows);
}

Tensor attention_of_segment(const ReferenceOptions& o,
                            const NamedTensors& p,
                            const std::string& prefix,
                            const Tensor& x) {
  TensorList q = heads_of(o, p, prefix + "q_proj", o.num_attention_heads, x);
  TensorList k = heads_of(o, p, prefix + "k_proj", o.num_key_value_heads, x);
  const TensorList v = heads_of(o, p, prefix + "v_proj", o.num_key_value_heads, x);
  for (Tensor& head : q) {
    const Tensor y =
        o.use_qk_norm ? rms_norm(head, p.at(prefix + "q_norm.weight"), o.rms_norm_eps) : head;
    head = rotate(y, o.rope_theta);
  }
  for (Tensor& head : k) {
    const Tensor y =
        o.use_qk_norm ? rms_norm(head, p.at(prefix + "k_norm.weight"), o.rms_norm_eps) : head;
    head = rotate(y, o.rope_theta);
  }
  const int64_t queries_of_key = o.num_attention_heads / o.num_key_value_heads;
  TensorList out;
  for (int64_t h = 0; h < o.num_attention_heads; ++h) {
    out.push_back(attend(q[h], k[h / queries_of_key], v[h / queries_of_key]));
  }
  const Tensor y = project(at::cat(out, 1), p.at(prefix + "o_proj.weight"));
  return o.attention_output_bias ? y + p.at(prefix + "o_proj.bias") : y;
}

Tensor attention(const ReferenceOptions& o,
                 const NamedTensors& p,
                 int64_t layer,
                 const ReferenceMicroBatch& batch,
                 const Tensor& x) {
  TensorList segments;
  int64_t begin = 0;
  for (const int64_t length : batch.segment_lengths) {
    const Tensor segment = x.slice(0, begin, begin + length);
    segments.push_back(attention_of_segment(o, p, layer_prefix(layer) + "self_attn.", segment));
    begin += length;
  }
  return at::cat(segments, 0);
}

// The experts of one token from the largest score down; of equal ones the smaller id first.
std::vector<int64_t> ranked_experts(const Tensor& scores) {
  const Tensor p = scores.detach().contiguous();
  const double* value = p.const_data_ptr<double>();
  std::vector<int64_t> ids(static_cast<size_t>(p.numel()));
  std::iota(ids.begin(), ids.end(), int64_t{0});
  std::stable_sort(
      ids.begin(), ids.end(), [value](int64_t a, int64_t b) { return value[a] > value[b]; });
  return ids;
}

// Notes how clear a token's choice is, and whether the replayed experts are the same set.
void tally_decision(const Tensor& scores,
                    const std::vector<int64_t>& ranked,
                    std::vector<int64_t> chosen,
                    ReferenceStep& step) {
  const size_t k = chosen.size();
  if (k == ranked.size()) {
    return;
  }
  const double margin = scores[ranked[k - 1]].item<double>() -  //
                        scores[ranked[k]].item<double>();
  step.smallest_margin = std::min(step.smallest_margin, margin);
  std::vector<int64_t> own(ranked.begin(), ranked.begin() + static_cast<std::ptrdiff_t>(k));
  std::sort(own.begin(), own.end());
  std::sort(chosen.begin(), chosen.end());
  if (own != chosen) {
    step.disagreements += 1;
    step.widest_disagreement = std::max(step.widest_disagreement, margin);
  }
}

// The experts of every token of the micro-batch, [T][K]: chosen here or replayed.
std::vector<std::vector<int64_t>> route_tokens(const Tensor& scores,
                                               const ReferencePlace& place,
                                               ReferenceTally& tally) {
  const ReferenceOptions& o = tally.options;
  auto& routes = tally.step.routes.at(place.micro_batch);
  const int64_t tokens = scores.size(0);
  Tensor ids = at::empty({tokens, o.num_experts_per_tok}, at::kLong);
  if (tally.replay != nullptr) {
    const Tensor given = tally.replay->at(place.micro_batch).at(routes.size()).expert_ids;
    require(given.sizes() == ids.sizes(), "a replayed route is not [T, K]");
    ids = given.to(at::kLong).contiguous();
  }
  std::vector<std::vector<int64_t>> chosen;
  for (int64_t t = 0; t < tokens; ++t) {
    const std::vector<int64_t> ranked = ranked_experts(scores[t]);
    int64_t* row = ids.mutable_data_ptr<int64_t>() + t * o.num_experts_per_tok;
    if (tally.replay == nullptr) {
      std::copy_n(ranked.begin(), o.num_experts_per_tok, row);
    }
    chosen.emplace_back(row, row + o.num_experts_per_tok);
    tally_decision(scores[t], ranked, chosen.back(), tally.step);
  }
  routes.push_back({ids});
  return chosen;
}

// Adds the layer's L_aux and L_z of this micro-batch, its entropy, and counts its load.
void add_router_losses(const Tensor& logits,
                       const Tensor& probabilities,
                       const std::vector<std::vector<int64_t>>& chosen,
                       const ReferencePlace& place,
                       ReferenceTally& tally) {
  const ReferenceOptions& o = tally.options;
  std::vector<int64_t> counts(static_cast<size_t>(o.num_experts), 0);
  Tensor probability_sum = at::zeros({o.num_experts}, at::kDouble);
  Tensor square_sum = zero();
  for (const int64_t t : place.valid) {
    for (const int64_t expert : chosen[t]) {
      counts.at(expert) += 1;
    }
    probability_sum = probability_sum + probabilities[t];
    square_sum = square_sum + at::logsumexp(logits[t], 0).square();
  }
  const size_t moe_layer = tally.step.routes.at(place.micro_batch).size() - 1;
  for (size_t e = 0; e < counts.size(); ++e) {
    tally.step.load.at(moe_layer * counts.size() + e) += counts[e];
  }
  for (const int64_t t : place.valid) {
    const Tensor p = probabilities[t].detach();
    tally.step.router_entropy.at(moe_layer) +=
        -at::xlogy(p, p).sum().item<double>() / static_cast<double>(tally.valid_of_step);
  }
  if (place.valid.empty()) {
    return;
  }
  const double n_mb = static_cast<double>(place.valid.size());
  Tensor aux = zero();
  for (int64_t e = 0; e < o.num_experts; ++e) {
    const double f =
        static_cast<double>(counts[e]) / (static_cast<double>(o.num_experts_per_tok) * n_mb);
    aux = aux + static_cast<double>(o.num_experts) * f * probability_sum[e] / n_mb;
  }
  const Tensor z = square_sum / n_mb;
  const double share = n_mb / static_cast<double>(tally.valid_of_step);
  const double layers = static_cast<double>(o.num_hidden_layers - o.first_k_dense_replace);
  tally.router_objective =
      tally.router_objective + share * (o.aux_loss_coef * aux + o.z_loss_coef * z);
  tally.step.aux_loss += share * aux.item<double>() / layers;
  tally.step.z_loss += share * z.item<double>() / layers;
}

// y_t = sum over the chosen experts of weight * FFN_e(x_t), plus the shared FFN.
Tensor moe(const NamedTensors& p,
           int64_t layer,
           const Tensor& x,
           const ReferencePlace& place,
           ReferenceTally& tally) {
  const ReferenceOptions& o = tally.options;
  const Tensor logits = project(x, p.at(layer_prefix(layer) + "mlp.gate.weight"));
  const Tensor scores = o.sigmoid_scores ? 1.0 / (1.0 + (-logits).exp()) : at::softmax(logits, 1);
  const auto chosen = route_tokens(scores, place, tally);
  const Tensor probabilities = o.sigmoid_scores ? scores / scores.sum(1, /*keepdim=*/true) : scores;
  add_router_losses(logits, probabilities, chosen, place, tally);
  TensorList rows;
  for (int64_t t = 0; t < x.size(0); ++t) {
    Tensor score_sum = zero();
    for (const int64_t expert : chosen[t]) {
      score_sum = score_sum + scores[t][expert];
    }
    Tensor y = at::zeros({o.hidden_size}, at::kDouble);
    for (const int64_t expert : chosen[t]) {
      Tensor weight = scores[t][expert];
      if (o.norm_topk_prob) {
        weight = weight / score_sum;
      }
      y = y + o.routed_scaling_factor * weight *
                  swiglu(p, expert_prefix(layer, expert), x.slice(0, t, t + 1)).squeeze(0);
    }
    rows.push_back(y);
  }
  Tensor out = at::stack(rows);
  if (o.num_shared_experts > 0) {
    out = out + swiglu(p, layer_prefix(layer) + "mlp.shared_experts.", x);
  }
  return out;
}

}  // namespace

void require(bool condition, const std::string& sentence) {
  if (!condition) {
    throw std::invalid_argument("reference model: " + sentence);
  }
}

std::string layer_prefix(int64_t layer) {
  return "model.layers." + std::to_string(layer) + ".";
}

std::string expert_prefix(int64_t layer, int64_t expert) {
  return layer_prefix(layer) + "mlp.experts." + std::to_string(expert) + ".";
}

Tensor reference_decode(const NamedTensors& p,
                        const ReferenceMicroBatch& batch,
                        const ReferencePlace& place,
                        ReferenceTally& tally) {
  const ReferenceOptions& o = tally.options;
  TensorList rows;
  for (const int64_t token : batch.tokens) {
    require(token >= 0 && token < o.vocab_size, "a token is not in the vocabulary");
    rows.push_back(p.at("model.embed_tokens.weight")[token]);
  }
  Tensor x = at::stack(rows);
  for (int64_t layer = 0; layer < o.num_hidden_layers; ++layer) {
    const std::string prefix = layer_prefix(layer);
    x = x + attention(o,
                      p,
                      layer,
                      batch,
                      rms_norm(x, p.at(prefix + "input_layernorm.weight"), o.rms_norm_eps));
    const Tensor y = rms_norm(x, p.at(prefix + "post_attention_layernorm.weight"), o.rms_norm_eps);
    x = x +
        (o.is_moe_layer(layer) ? moe(p, layer, y, place, tally) : swiglu(p, prefix + "mlp.", y));
  }
  x = rms_norm(x, p.at("model.norm.weight"), o.rms_norm_eps);
  return project(x, p.at(o.tie_word_embeddings ? "model.embed_tokens.weight" : "lm_head.weight"));
}

}  // namespace enodia::detail

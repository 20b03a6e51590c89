#include "tests/references/reference_decoder.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/xlogy.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include "tests/references/reference_random.h"

namespace enodia::detail {
namespace {

using at::Tensor;

Tensor zero() {
  return at::zeros({}, at::kDouble);
}

Tensor swiglu(const NamedTensors& p, const std::string& prefix, const Tensor& x) {
  const Tensor gate = project(x, p.at(prefix + "gate_proj.weight"));
  const Tensor up = project(x, p.at(prefix + "up_proj.weight"));
  return project(at::silu(gate) * up, p.at(prefix + "down_proj.weight"));
}

// The places of a list of values from the largest down; of equal ones the smaller place first.
std::vector<int64_t> ranked(const std::vector<double>& values) {
  std::vector<int64_t> places(values.size());
  std::iota(places.begin(), places.end(), int64_t{0});
  std::stable_sort(
      places.begin(), places.end(), [&](int64_t a, int64_t b) { return values[a] > values[b]; });
  return places;
}

// The experts of one token from the most preferred down, those of groups that are left out last.
// Also how clear the choice of groups is.
std::vector<int64_t> ranked_experts(const Tensor& preferences,
                                    const ReferenceOptions& o,
                                    double& group_margin) {
  const Tensor p = preferences.detach().contiguous();
  std::vector<double> values(p.const_data_ptr<double>(), p.const_data_ptr<double>() + p.numel());
  const int64_t size = o.num_experts / o.n_group;
  std::vector<double> group_scores;
  for (int64_t group = 0; group < o.n_group; ++group) {
    std::vector<double> members(values.begin() + group * size, values.begin() + (group + 1) * size);
    std::sort(members.rbegin(), members.rend());
    const double second = size > 1 && !o.group_score_is_max ? members[1] : 0.0;
    group_scores.push_back(members[0] + second);
  }
  const std::vector<int64_t> groups = ranked(group_scores);
  if (o.topk_group < o.n_group) {
    group_margin = group_scores[groups[o.topk_group - 1]] - group_scores[groups[o.topk_group]];
  }
  for (int64_t i = o.topk_group; i < o.n_group; ++i) {
    for (int64_t expert = groups[i] * size; expert < (groups[i] + 1) * size; ++expert) {
      values[expert] = -1e300;
    }
  }
  return ranked(values);
}

// Notes how clear a token's choice is, and whether the replayed experts are the same set.
void tally_decision(const Tensor& scores,
                    const std::vector<int64_t>& ranked,
                    double group_margin,
                    std::vector<int64_t> chosen,
                    ReferenceStep& step) {
  step.smallest_margin = std::min(step.smallest_margin, group_margin);
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
    step.widest_disagreement = std::max(step.widest_disagreement, std::min(margin, group_margin));
  }
}

// The experts of every token of the micro-batch, [T][K]: chosen here or replayed.
std::vector<std::vector<int64_t>> route_tokens(const Tensor& preferences,
                                               const ReferencePlace& place,
                                               ReferenceTally& tally) {
  const ReferenceOptions& o = tally.options;
  auto& routes = tally.step.routes.at(place.micro_batch);
  const int64_t tokens = preferences.size(0);
  Tensor ids = at::empty({tokens, o.num_experts_per_tok}, at::kLong);
  if (tally.replay != nullptr) {
    const Tensor given = tally.replay->at(place.micro_batch).at(routes.size()).expert_ids;
    require(given.sizes() == ids.sizes(), "a replayed route is not [T, K]");
    ids = given.to(at::kLong).contiguous();
  }
  std::vector<std::vector<int64_t>> chosen;
  for (int64_t t = 0; t < tokens; ++t) {
    double group_margin = std::numeric_limits<double>::infinity();
    const std::vector<int64_t> order = ranked_experts(preferences[t], o, group_margin);
    int64_t* row = ids.mutable_data_ptr<int64_t>() + t * o.num_experts_per_tok;
    if (tally.replay == nullptr) {
      std::copy_n(order.begin(), o.num_experts_per_tok, row);
    }
    chosen.emplace_back(row, row + o.num_experts_per_tok);
    tally_decision(preferences[t], order, group_margin, chosen.back(), tally.step);
  }
  routes.push_back({ids});
  return chosen;
}

// The number of a MoE layer whose routes have just been noted.
int64_t moe_layer_of(const ReferencePlace& place, const ReferenceTally& tally) {
  return static_cast<int64_t>(tally.step.routes.at(place.micro_batch).size()) - 1;
}

// A set of tokens whose load is evened out together: which of this micro-batch are in it, and how
// many copies its valid tokens, wherever they are, send to each expert.
struct BalancedSet {
  std::vector<int64_t> valid;
  std::vector<double> fractions;
};

std::vector<double> fractions_of(const std::vector<int64_t>& counts, int64_t valid, int64_t k) {
  std::vector<double> fractions;
  for (const int64_t count : counts) {
    fractions.push_back(valid == 0 ? 0.0
                                   : static_cast<double>(count) / static_cast<double>(k * valid));
  }
  return fractions;
}

std::vector<int64_t> count_copies(const std::vector<std::vector<int64_t>>& chosen,
                                  const std::vector<int64_t>& tokens,
                                  int64_t experts) {
  std::vector<int64_t> counts(static_cast<size_t>(experts), 0);
  for (const int64_t t : tokens) {
    for (const int64_t expert : chosen[t]) {
      counts.at(expert) += 1;
    }
  }
  return counts;
}

BalancedSet whole_micro_batch(const std::vector<std::vector<int64_t>>& chosen,
                              const ReferencePlace& place,
                              const ReferenceOptions& o) {
  return {place.valid,
          fractions_of(count_copies(chosen, place.valid, o.num_experts),
                       static_cast<int64_t>(place.valid.size()),
                       o.num_experts_per_tok)};
}

BalancedSet step_so_far(const ReferencePlace& place, const ReferenceTally& tally) {
  const ReferenceOptions& o = tally.options;
  const int64_t round = place.micro_batch / o.micro_batches_at_once;
  std::vector<int64_t> counts(static_cast<size_t>(o.num_experts), 0);
  int64_t valid = 0;
  for (int64_t m = 0; m < static_cast<int64_t>(tally.counts.size()); ++m) {
    if (m / o.micro_batches_at_once <= round && !tally.counts[m].empty()) {
      const std::vector<int64_t>& more = tally.counts[m].at(moe_layer_of(place, tally));
      for (size_t e = 0; e < counts.size(); ++e) {
        counts[e] += more[e];
      }
      valid += place.valid_of_micro_batches[m];
    }
  }
  return {place.valid, fractions_of(counts, valid, o.num_experts_per_tok)};
}

std::vector<BalancedSet> by_sequence(const ReferenceMicroBatch& batch,
                                     const std::vector<std::vector<int64_t>>& chosen,
                                     const ReferencePlace& place,
                                     const ReferenceOptions& o) {
  std::vector<BalancedSet> sets;
  int64_t first = 0;
  for (const int64_t length : batch.sequence_lengths) {
    BalancedSet set;
    for (const int64_t t : place.valid) {
      if (t >= first && t < first + length) {
        set.valid.push_back(t);
      }
    }
    set.fractions = fractions_of(count_copies(chosen, set.valid, o.num_experts),
                                 static_cast<int64_t>(set.valid.size()),
                                 o.num_experts_per_tok);
    sets.push_back(set);
    first += length;
  }
  return sets;
}

Tensor rows_of(const Tensor& x, const std::vector<int64_t>& rows) {
  return x.index_select(0, at::tensor(rows, at::kLong));
}

// E sum_i f_i sum_t p_ti: the loss of a set, times its tokens.
Tensor balance_sum(const BalancedSet& set, const Tensor& probabilities) {
  const Tensor f = at::tensor(set.fractions, at::kDouble);
  return static_cast<double>(set.fractions.size()) *
         (f * rows_of(probabilities, set.valid).sum(0)).sum();
}

// Each expert's f replaced by the mean of its group's.
std::vector<double> group_means(const std::vector<double>& fractions, int64_t groups) {
  const auto size = static_cast<int64_t>(fractions.size()) / groups;
  std::vector<double> means;
  for (size_t e = 0; e < fractions.size(); ++e) {
    const auto first = fractions.begin() + static_cast<int64_t>(e) / size * size;
    means.push_back(std::accumulate(first, first + size, 0.0) / static_cast<double>(size));
  }
  return means;
}

// Adds the layer's losses of this micro-batch to the objective and to what is logged, its entropy,
// and its load.
void add_router_losses(const Tensor& logits,
                       const Tensor& probabilities,
                       const std::vector<std::vector<int64_t>>& chosen,
                       const ReferenceMicroBatch& batch,
                       const ReferencePlace& place,
                       ReferenceTally& tally) {
  const ReferenceOptions& o = tally.options;
  const size_t moe_layer = static_cast<size_t>(moe_layer_of(place, tally));
  const std::vector<int64_t> counts = count_copies(chosen, place.valid, o.num_experts);
  if (tally.count_only) {
    tally.counts.at(place.micro_batch).push_back(counts);
    return;
  }
  const Tensor square_sum = at::logsumexp(rows_of(logits, place.valid), 1).square().sum();
  const Tensor p = rows_of(probabilities, place.valid).detach();
  tally.step.router_entropy.at(moe_layer) +=
      -at::xlogy(p, p).sum().item<double>() / static_cast<double>(tally.valid_of_step);
  for (size_t e = 0; e < counts.size(); ++e) {
    tally.step.load.at(moe_layer * counts.size() + e) += counts[e];
  }
  std::vector<BalancedSet> sets{whole_micro_batch(chosen, place, o)};
  BalancedSet device = sets[0];
  device.fractions = group_means(device.fractions, o.device_groups);
  if (o.aux_loss_scope == "global_batch") {
    sets = {step_so_far(place, tally)};
  } else if (o.aux_loss_scope == "sequence" && !batch.sequence_lengths.empty()) {
    sets = by_sequence(batch, chosen, place, o);
  }
  Tensor aux_sum = zero();
  for (const BalancedSet& set : sets) {
    aux_sum = aux_sum + balance_sum(set, probabilities);
  }
  const Tensor device_sum = balance_sum(device, probabilities);
  const double n = static_cast<double>(tally.valid_of_step);
  const double layers = static_cast<double>(o.num_hidden_layers - o.first_k_dense_replace);
  tally.router_objective =
      tally.router_objective +
      (o.aux_loss_coef * aux_sum + o.device_loss_coef * device_sum + o.z_loss_coef * square_sum) /
          n;
  tally.step.aux_loss += aux_sum.item<double>() / n / layers;
  tally.step.z_loss += square_sum.item<double>() / n / layers;
  if (o.device_loss_coef > 0) {
    tally.step.device_loss += device_sum.item<double>() / n / layers;
  }
}

// A copy that wants to be admitted.
struct Copy {
  bool masked;
  double worth;  // scores, random numbers, or 0 for all
  size_t t, k;
};

// How much more the last admitted copy is worth than the first that is dropped: of equal scores
// rounding decides. Copies of equal worth by position are in the order of their tokens.
double admission_margin(const std::vector<Copy>& sorted, double room) {
  const auto first_dropped = static_cast<size_t>(room);
  const double never = std::numeric_limits<double>::infinity();
  if (first_dropped == 0 || first_dropped >= sorted.size()) {
    return never;
  }
  const Copy& in = sorted[first_dropped - 1];
  const Copy& out = sorted[first_dropped];
  const bool by_position = in.worth == 0.0 && out.worth == 0.0;
  return in.masked != out.masked || by_position ? never : in.worth - out.worth;
}

// The worth of the first copy without room, where there is one: by how much others may be wrong.
double worth_of_room(const std::vector<Copy>& sorted, double room) {
  return room < static_cast<double>(sorted.size()) ? sorted[static_cast<size_t>(room)].worth : 0.0;
}

// What is replayed of admission, compared with what is decided here.
void replay_admission(const std::vector<Copy>& sorted,
                      double room,
                      const Tensor& replayed,
                      std::vector<std::vector<bool>>& admitted,
                      ReferenceStep& step) {
  const double cut = worth_of_room(sorted, room);
  bool agrees = true;
  double widest = 0.0;
  for (const Copy& copy : sorted) {
    const bool given =
        replayed[static_cast<int64_t>(copy.t)][static_cast<int64_t>(copy.k)].item<bool>();
    if (given != admitted[copy.t][copy.k]) {
      agrees = false;
      widest = std::max(widest, copy.masked ? 1.0 : std::abs(copy.worth - cut));
      admitted[copy.t][copy.k] = given;
    }
  }
  step.disagreements += agrees ? 0 : 1;
  step.widest_disagreement = std::max(step.widest_disagreement, widest);
}

// Whether each copy finds room at its expert, [T][K].
std::vector<std::vector<bool>> admitted_copies(const Tensor& scores,
                                               const std::vector<std::vector<int64_t>>& chosen,
                                               const ReferenceMicroBatch& batch,
                                               const ReferencePlace& place,
                                               ReferenceTally& tally) {
  const ReferenceOptions& o = tally.options;
  std::vector<std::vector<bool>> admitted(
      chosen.size(), std::vector<bool>(static_cast<size_t>(o.num_experts_per_tok), true));
  if (o.capacity_factor == 0.0) {
    return admitted;
  }
  const double even = static_cast<double>(place.valid.size() * o.num_experts_per_tok) /
                      static_cast<double>(o.num_experts);
  const double room = std::ceil(o.capacity_factor * even);
  const ReferenceKey key = ReferenceKey(o.seed)
                               .and_also("admission")
                               .and_also(tally.step_number)
                               .and_also(moe_layer_of(place, tally));
  for (int64_t expert = 0; expert < o.num_experts; ++expert) {
    std::vector<Copy> copies;
    for (size_t t = 0; t < chosen.size(); ++t) {
      for (size_t k = 0; k < chosen[t].size(); ++k) {
        if (chosen[t][k] != expert) {
          continue;
        }
        double worth = 0.0;
        if (o.drop_policy == "probs") {
          worth = scores[static_cast<int64_t>(t)][expert].item<double>();
        } else if (o.drop_policy == "random") {
          worth = key.and_also(expert).uniform(batch.first_token + static_cast<int64_t>(t));
        }
        copies.push_back({batch.labels[t] == -1, worth, t, k});
      }
    }
    std::stable_sort(copies.begin(), copies.end(), [](const Copy& a, const Copy& b) {
      return a.masked != b.masked ? b.masked : a.worth > b.worth;
    });
    tally.step.smallest_margin =
        std::min(tally.step.smallest_margin, admission_margin(copies, room));
    for (size_t i = 0; i < copies.size(); ++i) {
      if (static_cast<double>(i) >= room) {
        admitted[copies[i].t][copies[i].k] = false;
        tally.step.dropped += copies[i].masked || tally.count_only ? 0 : 1;
      }
    }
    if (tally.replay != nullptr) {
      const Tensor replayed =
          tally.replay->at(place.micro_batch).at(moe_layer_of(place, tally)).admitted;
      if (replayed.defined()) {
        replay_admission(copies, room, replayed, admitted, tally.step);
      }
    }
  }
  return admitted;
}

// The router's input with random factors.
Tensor jittered(const Tensor& x,
                const ReferenceMicroBatch& batch,
                const ReferencePlace& place,
                const ReferenceTally& tally) {
  const ReferenceOptions& o = tally.options;
  if (o.jitter_eps == 0.0) {
    return x;
  }
  const ReferenceKey key = ReferenceKey(o.seed)
                               .and_also("jitter")
                               .and_also(tally.step_number)
                               .and_also(moe_layer_of(place, tally) + 1);  // not noted yet
  Tensor factors = at::empty(x.sizes(), at::kDouble);
  double* factor = factors.mutable_data_ptr<double>();
  for (int64_t t = 0; t < x.size(0); ++t) {
    for (int64_t c = 0; c < x.size(1); ++c) {
      const double u = key.uniform((batch.first_token + t) * x.size(1) + c);
      *factor++ = 1.0 - o.jitter_eps + 2.0 * o.jitter_eps * u;
    }
  }
  return x * factors;
}

// Which tokens' copies an expert computes.
std::vector<int64_t> tokens_of(int64_t expert,
                               const std::vector<std::vector<int64_t>>& chosen,
                               const std::vector<std::vector<bool>>& admitted) {
  std::vector<int64_t> tokens;
  for (size_t t = 0; t < chosen.size(); ++t) {
    for (size_t k = 0; k < chosen[t].size(); ++k) {
      if (chosen[t][k] == expert && admitted[t][k]) {
        tokens.push_back(static_cast<int64_t>(t));
      }
    }
  }
  return tokens;
}

// y_t = sum over the chosen experts of weight * FFN_e(x_t), plus the shared FFN.
Tensor moe(const NamedTensors& p,
           int64_t layer,
           const Tensor& x,
           const ReferenceMicroBatch& batch,
           const ReferencePlace& place,
           ReferenceTally& tally) {
  const ReferenceOptions& o = tally.options;
  const Tensor logits =
      project(jittered(x, batch, place, tally), p.at(layer_prefix(layer) + "mlp.gate.weight"));
  const Tensor scores = o.sigmoid_scores ? 1.0 / (1.0 + (-logits).exp()) : at::softmax(logits, 1);
  const std::string bias = layer_prefix(layer) + "mlp.gate.e_score_correction_bias";
  const auto chosen = route_tokens(o.use_expert_bias ? scores + p.at(bias) : scores, place, tally);
  const Tensor probabilities = o.sigmoid_scores ? scores / scores.sum(1, /*keepdim=*/true) : scores;
  add_router_losses(logits, probabilities, chosen, batch, place, tally);
  const auto admitted = admitted_copies(scores, chosen, batch, place, tally);
  const Tensor ids = tally.step.routes.at(place.micro_batch).back().expert_ids;
  const Tensor score_sums = scores.gather(1, ids).sum(1);
  Tensor out = at::zeros_like(x);
  for (int64_t expert = 0; expert < o.num_experts; ++expert) {
    const std::vector<int64_t> tokens = tokens_of(expert, chosen, admitted);
    if (tokens.empty()) {
      continue;
    }
    Tensor weight = rows_of(scores.select(1, expert), tokens);
    if (o.norm_topk_prob) {
      weight = weight / rows_of(score_sums, tokens);
    }
    const Tensor y = swiglu(p, expert_prefix(layer, expert), rows_of(x, tokens));
    out = out.index_add(
        0, at::tensor(tokens, at::kLong), o.routed_scaling_factor * weight.unsqueeze(1) * y);
  }
  if (o.num_shared_experts > 0) {
    Tensor shared = swiglu(p, layer_prefix(layer) + "mlp.shared_experts.", x);
    if (o.shared_expert_gate) {
      const Tensor gate = project(x, p.at(layer_prefix(layer) + "mlp.shared_expert_gate.weight"));
      shared = shared / (1.0 + (-gate).exp());
    }
    out = out + shared;
  }
  return out;
}

}  // namespace

Tensor project(const Tensor& x, const Tensor& w) {
  return x.matmul(w.t());
}

Tensor rms_norm(const Tensor& x, const Tensor& w, double eps) {
  return w * x / (x.square().mean(-1, /*keepdim=*/true) + eps).sqrt();
}

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
  for (const int64_t token : batch.tokens) {
    require(token >= 0 && token < o.vocab_size, "a token is not in the vocabulary");
  }
  Tensor x = rows_of(p.at("model.embed_tokens.weight"), batch.tokens);
  for (int64_t layer = 0; layer < o.num_hidden_layers; ++layer) {
    const std::string prefix = layer_prefix(layer);
    x = x +
        reference_attention(o,
                            p,
                            layer,
                            batch,
                            rms_norm(x, p.at(prefix + "input_layernorm.weight"), o.rms_norm_eps));
    const Tensor y = rms_norm(x, p.at(prefix + "post_attention_layernorm.weight"), o.rms_norm_eps);
    x = x + (o.is_moe_layer(layer) ? moe(p, layer, y, batch, place, tally)
                                   : swiglu(p, prefix + "mlp.", y));
  }
  x = rms_norm(x, p.at("model.norm.weight"), o.rms_norm_eps);
  return project(x, p.at(o.tie_word_embeddings ? "model.embed_tokens.weight" : "lm_head.weight"));
}

}  // namespace enodia::detail

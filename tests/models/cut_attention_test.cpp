// Attention whose heads are cut among the ranks of a tensor-parallel group against the same
// attention on one rank, and multi-head latent attention against an obvious form of it.
#include <cmath>
#include <map>
#include <mutex>
#include <string>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "collectives/loopback/loopback.h"
#include "models/model_parts.h"
#include "models/parameter_list.h"
#include "parallel/mesh.h"

namespace enodia {
namespace {

using Named = std::map<std::string, at::Tensor>;

constexpr const char* kName = "model.layers.0";

ModelOptions latent_options(int64_t q_lora_rank) {
  ModelOptions options;
  options.vocab_size = 3;
  options.hidden_size = 14;
  options.num_hidden_layers = 1;
  options.num_attention_heads = options.num_key_value_heads = 3;
  options.use_qk_norm = false;
  options.attention = kLatentAttention;
  options.q_lora_rank = q_lora_rank;
  options.kv_lora_rank = 7;
  options.qk_nope_head_dim = 3;
  options.qk_rope_head_dim = 4;
  options.v_head_dim = q_lora_rank > 0 ? 5 : 9;
  options.attention_bias = options.attention_output_bias = q_lora_rank > 0;
  options.rope_interleave = q_lora_rank > 0;
  options.rope_theta = 100.0;
  options.rms_norm_eps = 0.02;  // the latents' norms have their own
  return options;
}

ModelOptions stretched(ModelOptions options) {
  options.rope_scaling = "yarn";
  options.rope_factor = 4.0;
  options.rope_original_max_position_embeddings = 9;
  options.rope_beta_fast = 1.0;
  options.rope_beta_slow = 0.1;
  options.rope_mscale = 0.7;
  options.rope_mscale_all_dim = 1.3;
  return options;
}

ModelOptions full_norm_options(int64_t kv_heads) {
  ModelOptions options;
  options.vocab_size = 3;
  options.hidden_size = 14;
  options.num_hidden_layers = 1;
  options.num_attention_heads = 4;
  options.num_key_value_heads = kv_heads;
  options.head_dim = 8;
  options.qk_norm = "full";
  options.partial_rotary_factor = 0.5;
  options.attention_bias = true;
  return options;
}

/// The same for every layout.
at::Tensor drawn(const std::string& name, at::IntArrayRef shape) {
  const at::Generator generator = at::detail::createCPUGenerator(std::hash<std::string>{}(name));
  const at::Tensor values = at::randn(shape, generator, at::kDouble) * 0.5;
  return name.ends_with("norm.weight") ? values + 1 : values;
}

at::Tensor box_of(at::Tensor whole, const LogicalParameter& parameter) {
  for (size_t dim = 0; dim < parameter.size.size(); ++dim) {
    whole = whole.narrow(static_cast<int64_t>(dim), parameter.offset[dim], parameter.size[dim]);
  }
  return whole;
}

/// The new hidden state, the gradient of the old one, and the parameters' gradients.
struct Result {
  at::Tensor hidden, grad_hidden;
  Named gradients;
};

const std::vector<int64_t> kLengths{7, 1, 3};

SequenceLayout layout(const std::vector<int64_t>& lengths = kLengths) {
  return SequenceLayout::from_lengths(lengths);
}

/// One rank's part of what run_on adds up.
void run_rank(const ModelOptions& options,
              const SequenceLayout& segments,
              const ProcessMesh& mesh,
              Result& sum,
              std::mutex& one) {
  const at::AutoGradMode no_grad(false);
  ParameterRegistry registry(mesh.place(), at::kDouble);
  const auto block = ModelParts().attentions.at(options.attention)(options, kName, 0, registry);
  registry.allocate();
  for (const LogicalParameter& parameter : registry.parameters()) {
    parameter.column("master").copy_(box_of(drawn(parameter.name, parameter.shape), parameter));
  }
  BlockState state;
  state.layout = segments;
  state.cut = SequenceParallel(mesh.tensor(), segments.num_tokens());
  const std::vector<int64_t> shape{segments.num_tokens(), options.hidden_size};
  state.hidden = state.cut.own_rows(drawn("hidden", shape));
  state.grad_hidden = state.cut.own_rows(drawn("grad_hidden", shape));
  block->forward(state, 0);
  const at::Tensor hidden = state.cut.gather(state.hidden);
  block->backward(state, 0);
  const at::Tensor grad_hidden = state.cut.gather(state.grad_hidden);
  const std::lock_guard lock(one);
  sum.hidden = hidden;
  sum.grad_hidden = grad_hidden;
  for (const LogicalParameter& parameter : registry.parameters()) {
    at::Tensor& whole = sum.gradients[parameter.name];
    whole = whole.defined() ? whole : at::zeros(parameter.shape, at::kDouble);
    box_of(whole, parameter).add_(parameter.column("grad"));
  }
}

Result run_on(int ranks,
              const ModelOptions& options,
              const std::vector<int64_t>& lengths = kLengths) {
  Result sum;
  std::mutex one;
  run_loopback(ranks, [&](Communicator& world) {
    const ProcessMesh mesh(
        world, {.dp = 1, .tp = ranks, .ep = ranks, .key_value_heads = options.num_key_value_heads});
    run_rank(options, layout(lengths), mesh, sum, one);
  });
  return sum;
}

/// Of something whose size is about one, unless it is zero.
double error_of(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).norm() / b.norm().clamp_min(1e-3)).item<double>();
}

void expect_equal(const Result& found, const Result& expected) {
  EXPECT_LE(error_of(found.hidden, expected.hidden), 1e-12);
  EXPECT_LE(error_of(found.grad_hidden, expected.grad_hidden), 1e-12);
  ASSERT_EQ(found.gradients.size(), expected.gradients.size());
  for (const auto& [name, gradient] : expected.gradients) {
    EXPECT_LE(error_of(found.gradients.at(name), gradient), 1e-11) << name;
  }
}

TEST(CutAttention, ComputesWhatOneRankComputes) {
  for (const ModelOptions& options : {stretched(latent_options(6)),
                                      latent_options(0),
                                      full_norm_options(4),
                                      full_norm_options(2),
                                      full_norm_options(1)}) {
    const Result whole = run_on(1, options);
    for (const int ranks : {2, 3, 5}) {  // with five some have no heads
      SCOPED_TRACE(options.attention + " on " + std::to_string(ranks));
      expect_equal(run_on(ranks, options), whole);
    }
  }
}

// A reshape of one token's one head shares memory with what it is made of.
TEST(CutAttention, ComputesOneTokenWithOneHead) {
  for (ModelOptions options : {latent_options(6), latent_options(0), full_norm_options(2)}) {
    options.num_attention_heads = options.num_key_value_heads = 2;
    expect_equal(run_on(2, options, {1}), run_on(1, options, {1}));
    options.num_attention_heads = options.num_key_value_heads = 1;
    expect_equal(run_on(2, options, {1}), run_on(1, options, {1}));
  }
}

/// docs/numerics.md head by head, with autograd.
class ObviousLatentAttention {
 public:
  ObviousLatentAttention(const ModelOptions& options, Named parameters)
      : o_(options),
        p_(std::move(parameters)) {}

  at::Tensor forward(const at::Tensor& x) const {
    std::vector<at::Tensor> segments;
    for (int64_t i = 0; i < layout().num_segments(); ++i) {
      const int64_t first = layout().cu_seqlens[i];
      segments.push_back(segment(x.narrow(0, first, layout().cu_seqlens[i + 1] - first)));
    }
    return at::cat(segments, 0);
  }

 private:
  at::Tensor get(const std::string& name) const {
    const auto found = p_.find(kName + std::string(".") + name);
    return found == p_.end() ? at::Tensor() : found->second;
  }
  at::Tensor norm(const at::Tensor& x, const std::string& name, double eps) const {
    return get(name) * x / (x.square().mean(-1, true) + eps).sqrt();
  }
  at::Tensor project(const at::Tensor& x, const std::string& name) const {
    const at::Tensor y = x.matmul(get("self_attn." + name + ".weight").t());
    const at::Tensor bias = get("self_attn." + name + ".bias");
    return bias.defined() ? y + bias : y;
  }
  /// Each pair as a complex number times exp(i angle).
  at::Tensor turned(const at::Tensor& x) const {
    const int64_t half = o_.qk_rope_head_dim / 2;
    std::vector<at::Tensor> columns(static_cast<size_t>(2 * half));
    for (int64_t j = 0; j < half; ++j) {
      const int64_t a = o_.rope_interleave ? 2 * j : j;
      const int64_t b = o_.rope_interleave ? 2 * j + 1 : j + half;
      at::Tensor cos = at::zeros({x.size(0)}, at::kDouble);
      at::Tensor sin = at::zeros({x.size(0)}, at::kDouble);
      for (int64_t t = 0; t < x.size(0); ++t) {
        const double angle =
            static_cast<double>(t) *
            std::pow(o_.rope_theta, -static_cast<double>(j) / static_cast<double>(half));
        cos[t] = std::cos(angle);
        sin[t] = std::sin(angle);
      }
      columns[a] = x.select(1, a) * cos - x.select(1, b) * sin;
      columns[b] = x.select(1, b) * cos + x.select(1, a) * sin;
    }
    return at::stack(columns, 1);
  }
  at::Tensor segment(const at::Tensor& x) const {
    const int64_t nope = o_.qk_nope_head_dim;
    const at::Tensor normed = norm(x, "input_layernorm.weight", o_.rms_norm_eps);
    const at::Tensor queries =
        o_.q_lora_rank > 0
            ? project(norm(project(normed, "q_a_proj"), "self_attn.q_a_layernorm.weight", 1e-6),
                      "q_b_proj")
            : project(normed, "q_proj");
    const at::Tensor both = project(normed, "kv_a_proj_with_mqa");
    const at::Tensor keys_values =
        project(norm(both.slice(1, 0, o_.kv_lora_rank), "self_attn.kv_a_layernorm.weight", 1e-6),
                "kv_b_proj");
    const at::Tensor key_rope = turned(both.slice(1, o_.kv_lora_rank));
    const at::Tensor future = at::ones({x.size(0), x.size(0)}, at::kDouble).triu(1) > 0;
    std::vector<at::Tensor> out;
    for (int64_t h = 0; h < o_.num_attention_heads; ++h) {
      const at::Tensor query = queries.narrow(1, h * o_.key_dim(), o_.key_dim());
      const at::Tensor key_value =
          keys_values.narrow(1, h * (nope + o_.v_head_dim), nope + o_.v_head_dim);
      const at::Tensor q = at::cat({query.slice(1, 0, nope), turned(query.slice(1, nope))}, 1);
      const at::Tensor k = at::cat({key_value.slice(1, 0, nope), key_rope}, 1);
      const at::Tensor scores = q.matmul(k.t()) / std::sqrt(static_cast<double>(o_.key_dim()));
      out.push_back(
          at::softmax(scores.masked_fill(future, -INFINITY), -1).matmul(key_value.slice(1, nope)));
    }
    return x + project(at::cat(out, 1), "o_proj");
  }

  const ModelOptions o_;
  const Named p_;
};

TEST(LatentAttention, AgreesWithItsObviousFormAndAutograd) {
  for (const int64_t rank : {6, 0}) {
    const ModelOptions options = latent_options(rank);
    const Result found = run_on(1, options);
    Named leaves;
    std::vector<std::string> names;
    std::vector<at::Tensor> sources;
    for (const auto& [name, gradient] : found.gradients) {
      leaves[name] = drawn(name, gradient.sizes()).requires_grad_(true);
      names.push_back(name);
      sources.push_back(leaves[name]);
    }
    const std::vector<int64_t> shape{layout().num_tokens(), options.hidden_size};
    sources.push_back(drawn("hidden", shape).requires_grad_(true));
    const at::Tensor hidden = ObviousLatentAttention(options, leaves).forward(sources.back());
    const auto gradients = torch::autograd::grad({hidden}, sources, {drawn("grad_hidden", shape)});
    Result expected{hidden.detach(), gradients.back(), {}};
    for (size_t i = 0; i < names.size(); ++i) {
      expected.gradients[names[i]] = gradients[i];
    }
    expect_equal(found, expected);
  }
}

}  // namespace
}  // namespace enodia

#include "models/ops.h"

#include <cmath>
#include <limits>
#include <vector>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "models/kernels/cpu/cpu_kernels.h"

// Every function against an independently written float64 forward and torch's autograd of it.
// Inputs are float32 values, so that the float32 path sees exactly the oracle's inputs.
namespace enodia {
namespace {

double cross_entropy(const at::Tensor& logits, const at::Tensor& labels, double scale) {
  return ops::cross_entropy(logits, labels, scale).item<double>();
}

/// |a - b| / |b| in the Euclidean norm.
double relative_error(const at::Tensor& a, const at::Tensor& b) {
  const double norm = b.detach().norm().item<double>();
  const double difference = (a.to(at::kDouble) - b.detach()).norm().item<double>();
  return difference / std::max(norm, 1e-30);
}

SequenceLayout layout_of(const std::vector<int32_t>& lengths) {
  SequenceLayout layout{{0}, {}, {}};
  for (size_t s = 0; s < lengths.size(); ++s) {
    layout.cu_seqlens.push_back(layout.cu_seqlens.back() + lengths[s]);
    for (int32_t position = 0; position < lengths[s]; ++position) {
      layout.positions.push_back(position);
      layout.documents.push_back(static_cast<int32_t>(s));
    }
  }
  return layout;
}

class Ops : public testing::TestWithParam<at::ScalarType> {
 protected:
  /// A float64 leaf that holds float32 values.
  at::Tensor leaf(at::IntArrayRef shape) {
    return at::randn(shape, generator_, at::kFloat).to(at::kDouble).set_requires_grad(true);
  }
  /// The operand of the function under test: no gradient, in the dtype under test.
  at::Tensor cast(const at::Tensor& x) const { return x.detach().to(GetParam()).clone(); }
  at::Tensor indices(int64_t low, int64_t high, at::IntArrayRef shape) {
    return at::randint(low, high, shape, generator_, at::kLong);
  }

  void expect_near(const at::Tensor& actual, const at::Tensor& expected, const char* what) const {
    ASSERT_EQ(actual.sizes(), expected.sizes()) << what;
    EXPECT_EQ(actual.scalar_type(), GetParam()) << what;
    EXPECT_LT(relative_error(actual, expected), GetParam() == at::kDouble ? 1e-9 : 1e-5) << what;
  }

 private:
  at::Generator generator_ = at::detail::createCPUGenerator(17);
};

TEST_P(Ops, RmsNormMatchesAutograd) {
  for (const int64_t tokens : {1, 7, 33}) {
    for (const int64_t dim : {1, 20, 64, 77}) {
      const at::Tensor x = leaf({tokens, dim});
      const at::Tensor w = leaf({dim});
      const at::Tensor y = w * x / (x.pow(2).mean(-1, true) + 1e-6).sqrt();
      const at::Tensor grad = leaf({tokens, dim}).detach();
      y.backward(grad);

      at::Tensor grad_w = at::ones({dim}, GetParam());
      const auto result = ops::rms_norm(cast(x), cast(w), 1e-6);
      const at::Tensor grad_x =
          ops::rms_norm_backward(cast(grad), cast(x), cast(w), result.rstd, grad_w);
      expect_near(result.y, y, "y");
      expect_near(grad_w, w.grad() + 1, "grad_w");
      if (dim > 1) {  // of one element the gradient is about zero
        expect_near(grad_x, x.grad(), "grad_x");
      }
    }
  }
}

TEST_P(Ops, LinearMatchesAutograd) {
  for (const int64_t rows : {1, 5, 70}) {
    for (const bool with_bias : {false, true}) {
      const at::Tensor x = leaf({rows, 37});
      const at::Tensor w = leaf({29, 37});
      const at::Tensor bias = leaf({29});
      at::Tensor y = (x.unsqueeze(1) * w).sum(-1);
      if (with_bias) {
        y = y + bias;
      }
      const at::Tensor grad = leaf({rows, 29}).detach();
      y.backward(grad);

      at::Tensor grad_w = at::ones({29, 37}, GetParam());
      at::Tensor grad_bias = with_bias ? at::ones({29}, GetParam()) : at::Tensor();
      expect_near(ops::linear(cast(x), cast(w), with_bias ? cast(bias) : at::Tensor()), y, "y");
      expect_near(ops::linear_backward_input(cast(grad), cast(w)), x.grad(), "grad_x");
      if (!with_bias) {  // into rows 2... of wider matrices
        const at::Tensor y_rows = at::ones({rows + 2, 40}, GetParam());
        const at::Tensor grad_rows = at::ones({rows + 2, 40}, GetParam());
        ops::linear_into(y_rows.slice(0, 2).slice(1, 0, 29), cast(x), cast(w));
        ops::linear_backward_input_into(grad_rows.slice(0, 2).slice(1, 3), cast(grad), cast(w));
        expect_near(y_rows.slice(0, 2).slice(1, 0, 29), y, "y into rows");
        expect_near(grad_rows.slice(0, 2).slice(1, 3), x.grad(), "grad_x into rows");
        EXPECT_EQ(y_rows.slice(1, 29).sum().item<double>(), 11 * (rows + 2));
        EXPECT_EQ(grad_rows.slice(1, 0, 3).sum().item<double>(), 3 * (rows + 2));
      }
      ops::linear_backward_weight(cast(grad), cast(x), grad_w, grad_bias);
      expect_near(grad_w, w.grad() + 1, "grad_w");
      if (with_bias) {
        expect_near(grad_bias, bias.grad() + 1, "grad_bias");
      }
    }
  }
}

TEST_P(Ops, SwigluMatchesAutograd) {
  for (const int64_t hidden : {1, 8, 21, 130}) {
    for (const bool weighted : {false, true}) {
      const at::Tensor gate_up = leaf({9, 2 * hidden});
      const at::Tensor weight = leaf({9});
      const at::Tensor gate = gate_up.slice(1, 0, hidden);
      at::Tensor act = gate / (1 + (-gate).exp()) * gate_up.slice(1, hidden);
      if (weighted) {
        act = act * weight.unsqueeze(-1);
      }
      const at::Tensor grad = leaf({9, hidden}).detach();
      act.backward(grad);

      const at::Tensor row_weight = weighted ? cast(weight) : at::Tensor();
      const auto gradients = ops::swiglu_backward(cast(grad), cast(gate_up), row_weight);
      expect_near(ops::swiglu(cast(gate_up), row_weight), act, "act");
      expect_near(gradients.gate_up, gate_up.grad(), "grad gate_up");
      ASSERT_EQ(gradients.row_weight.defined(), weighted);
      if (weighted) {
        expect_near(gradients.row_weight, weight.grad(), "grad row_weight");
      }
    }
  }
}

TEST_P(Ops, SwigluIsFiniteForLargeGates) {
  const at::Tensor gate_up =
      at::tensor({-1e30, -200.0, -90.0, 90.0, 1.0, 1.0, 1.0, 1.0}, at::kDouble)
          .view({1, 8})
          .to(GetParam());
  const at::Tensor act = ops::swiglu(gate_up);
  const auto gradients = ops::swiglu_backward(at::ones({1, 4}, GetParam()), gate_up);
  EXPECT_TRUE(act.isfinite().all().item<bool>()) << act;
  EXPECT_TRUE(gradients.gate_up.isfinite().all().item<bool>()) << gradients.gate_up;
  EXPECT_DOUBLE_EQ(act[0][3].item<double>(), 90.0);
  EXPECT_LT(std::abs(act[0][1].item<double>()), 1e-30);
}

/// Oracle of RoPE: complex multiplication written out per pair.
at::Tensor rotated(const at::Tensor& x_Thd, const SequenceLayout& layout, double theta) {
  const int64_t half = x_Thd.size(-1) / 2;
  std::vector<at::Tensor> columns(static_cast<size_t>(2 * half));
  for (int64_t j = 0; j < half; ++j) {
    std::vector<double> cos, sin;
    for (const int32_t position : layout.positions) {
      const double angle =
          position * std::pow(theta, -2.0 * static_cast<double>(j) / static_cast<double>(2 * half));
      cos.push_back(std::cos(angle));
      sin.push_back(std::sin(angle));
    }
    const at::Tensor c = at::tensor(cos, at::kDouble).unsqueeze(-1);
    const at::Tensor s = at::tensor(sin, at::kDouble).unsqueeze(-1);
    const at::Tensor a = x_Thd.select(-1, j);
    const at::Tensor b = x_Thd.select(-1, j + half);
    columns[static_cast<size_t>(j)] = a * c - b * s;
    columns[static_cast<size_t>(j + half)] = b * c + a * s;
  }
  return at::stack(columns, -1);
}

Rotary plain_rotary(int64_t dim) {
  ModelOptions options;
  options.head_dim = dim;
  return rotary_of(options);
}

TEST_P(Ops, RotateMatchesComplexMultiplicationAndInverts) {
  const SequenceLayout layout = layout_of({5, 1, 11});
  const at::Tensor x = leaf({17, 3 * 20 + 7});
  const at::Tensor expected = rotated(x.slice(1, 0, 60).view({17, 3, 20}), layout, 1e4);
  const auto table = ops::rotary_table(layout, plain_rotary(20), at::TensorOptions(GetParam()));
  const at::Tensor wide = cast(x);
  at::Tensor heads = wide.slice(1, 0, 60);
  ops::rotate(heads, table, 3);
  expect_near(heads.contiguous(), expected.reshape({17, 60}), "rotated");
  expect_near(wide.slice(1, 60), x.slice(1, 60), "beyond the heads");
  ops::rotate(heads, table, 3, /*inverse=*/true);
  expect_near(wide, x, "turned back");
}

TEST_P(Ops, RotateTurnsAPartOfAHeadAndPairsOfNeighbours) {
  const SequenceLayout layout = layout_of({5, 1, 11});
  ModelOptions options;
  options.head_dim = 20;
  options.partial_rotary_factor = 0.4;
  const at::Tensor x = leaf({17, 60}).detach();
  const at::Tensor heads = x.view({17, 3, 20});
  at::Tensor partly = cast(x).clone();
  ops::rotate(
      partly, ops::rotary_table(layout, rotary_of(options), at::TensorOptions(GetParam())), 3);
  expect_near(partly.view({17, 3, 20}).slice(2, 0, 8).contiguous(),
              rotated(heads.slice(2, 0, 8), layout, 1e4),
              "rotated part");
  expect_near(partly.view({17, 3, 20}).slice(2, 8).contiguous(), heads.slice(2, 8), "the rest");

  options.partial_rotary_factor = 1;
  options.rope_interleave = true;
  const auto table = ops::rotary_table(layout, rotary_of(options), at::TensorOptions(GetParam()));
  at::Tensor neighbours = cast(x).clone();
  ops::rotate(neighbours, table, 3);
  const at::Tensor apart = heads.unflatten(2, {10, 2}).transpose(2, 3).reshape({17, 3, 20});
  expect_near(
      neighbours, rotated(apart, layout, 1e4).reshape({17, 60}), "pairs of neighbours, apart");
  ops::rotate(neighbours, table, 3, /*inverse=*/true);
  expect_near(neighbours, x, "turned back");
}

/// YaRN for 8 dims, theta 10000 and 64 tokens: pairs turn 10.2, 1.02, 0.102 and 0.0102 times, so
/// with beta_fast 2 the ramp begins at pair 0.71, and with beta_slow 0.2 it ends at pair 1.71.
TEST(Rotary, YarnSlowsDownPairsOfFewTurns) {
  ModelOptions options;
  options.head_dim = 8;
  options.rope_scaling = "yarn";
  options.rope_factor = 4;
  options.rope_original_max_position_embeddings = 64;
  options.rope_beta_fast = 2;
  options.rope_beta_slow = 0.2;
  options.rope_truncate = false;
  const Rotary rotary = rotary_of(options);
  ASSERT_EQ(rotary.frequencies.size(), 4U);
  EXPECT_DOUBLE_EQ(rotary.frequencies[0], 1.0);
  const double begin = std::log10(64 / (2 * 2 * M_PI));
  const double slowed = (1 - begin) / (std::log10(64 / (0.2 * 2 * M_PI)) - begin);
  EXPECT_NEAR(rotary.frequencies[1], 0.1 * (1 - slowed + slowed / 4), 1e-15);
  EXPECT_NEAR(rotary.frequencies[2], 0.01 / 4, 1e-15);
  EXPECT_NEAR(rotary.magnitude, 1 + 0.1 * std::log(4.0), 1e-15);
  options.rope_truncate = true;  // from pair 0 to pair 2
  EXPECT_NEAR(rotary_of(options).frequencies[1], 0.1 * (0.5 + 0.5 / 4), 1e-15);
  options.rope_mscale = 0.5;
  options.rope_mscale_all_dim = 2;
  EXPECT_NEAR(
      rotary_of(options).magnitude, (1 + 0.05 * std::log(4.0)) / (1 + 0.2 * std::log(4.0)), 1e-15);
  EXPECT_NEAR(latent_score_factor(options), std::pow(1 + 0.2 * std::log(4.0), 2), 1e-15);
  options.rope_attention_factor = 1.75;
  EXPECT_EQ(rotary_of(options).magnitude, 1.75);
}

/// Oracle of attention: token by token, head by head.
at::Tensor attended(const at::Tensor& qkv,
                    const SequenceLayout& layout,
                    int64_t heads,
                    int64_t kv_heads,
                    int64_t dim) {
  const at::Tensor rows = qkv.view({qkv.size(0), heads + 2 * kv_heads, dim});
  std::vector<at::Tensor> out;
  for (int64_t t = 0; t < qkv.size(0); ++t) {
    const int64_t begin = t - layout.positions[static_cast<size_t>(t)];
    for (int64_t h = 0; h < heads; ++h) {
      const int64_t shared = heads + h / (heads / kv_heads);
      const at::Tensor keys = rows.slice(0, begin, t + 1).select(1, shared);
      const at::Tensor values = rows.slice(0, begin, t + 1).select(1, shared + kv_heads);
      const at::Tensor scores = keys.mv(rows[t][h]) / std::sqrt(static_cast<double>(dim));
      out.push_back(values.t().mv(at::softmax(scores, 0)));
    }
  }
  return at::cat(out).view({qkv.size(0), heads * dim});
}

struct AttentionCase {
  std::vector<int32_t> lengths;
  int64_t heads, kv_heads, dim;
};

TEST_P(Ops, AttentionMatchesAutograd) {
  const std::vector<AttentionCase> cases = {{{1}, 1, 1, 2},
                                            {{7, 1, 3}, 3, 1, 20},
                                            {{33, 17}, 4, 2, 32},
                                            {{130}, 2, 2, 18},
                                            {{5, 0, 4}, 6, 3, 64}};
  for (const AttentionCase& c : cases) {
    const SequenceLayout layout = layout_of(c.lengths);
    const int64_t tokens = layout.cu_seqlens.back();
    const at::Tensor qkv = leaf({tokens, (c.heads + 2 * c.kv_heads) * c.dim});
    const at::Tensor out = attended(qkv, layout, c.heads, c.kv_heads, c.dim);
    const at::Tensor grad = leaf({tokens, c.heads * c.dim}).detach();
    out.backward(grad);

    const auto result = ops::attention(cast(qkv), layout, c.heads, c.kv_heads, c.dim);
    expect_near(result.out, out, "out");
    EXPECT_EQ(result.logsumexp.sizes(), (std::vector<int64_t>{tokens, c.heads}));
    expect_near(
        ops::attention_backward(cast(grad), cast(qkv), result, layout, c.heads, c.kv_heads, c.dim),
        qkv.grad(),
        "grad qkv");
  }
}

TEST_P(Ops, AttentionDoesNotSeeOtherSegmentsOrTheFuture) {
  const SequenceLayout layout = layout_of({6, 5});
  const at::Tensor qkv = leaf({11, 3 * 20});
  const at::Tensor changed = qkv.detach().clone();
  changed.slice(0, 3, 6).add_(100);
  const at::Tensor before = ops::attention(cast(qkv), layout, 1, 1, 20).out;
  const at::Tensor after = ops::attention(cast(changed), layout, 1, 1, 20).out;
  EXPECT_TRUE(before.slice(0, 0, 3).equal(after.slice(0, 0, 3)));
  EXPECT_FALSE(before.slice(0, 3, 6).equal(after.slice(0, 3, 6)));
  EXPECT_TRUE(before.slice(0, 6).equal(after.slice(0, 6)));
}

TEST_P(Ops, CrossEntropyMatchesAutograd) {
  for (const int64_t vocab : {2, 19, 300}) {
    const at::Tensor logits = leaf({13, vocab});
    const at::Tensor labels = indices(-1, vocab, {13});
    const at::Tensor log_probs = at::log_softmax(logits, -1);
    const at::Tensor picked = log_probs.gather(1, labels.clamp_min(0).unsqueeze(-1)).squeeze(-1);
    const at::Tensor loss = -(picked * labels.ge(0)).sum();
    (0.25 * loss).backward();

    const at::Tensor inout = cast(logits);
    const double tolerance = GetParam() == at::kDouble ? 1e-12 : 1e-6;
    const double expected = loss.item<double>();
    EXPECT_NEAR(cross_entropy(inout, labels, 0), expected, tolerance * expected);
    expect_near(inout, logits, "logits left alone");
    EXPECT_NEAR(cross_entropy(inout, labels, 0.25), expected, tolerance * expected);
    expect_near(inout, logits.grad(), "grad logits");
  }
}

TEST_P(Ops, CrossEntropySurvivesLargeLogitsAndNoLabels) {
  const at::Tensor logits =
      at::tensor({1000.0, -1000.0, 0.0, -1e30, 1e30, 0.0}, at::kDouble).view({2, 3}).to(GetParam());
  const at::Tensor labels = at::tensor({0, 1}, at::kLong);
  EXPECT_EQ(cross_entropy(logits.clone(), labels, 1), 0);
  EXPECT_EQ(cross_entropy(logits, at::full({2}, -1, at::kLong), 1), 0);
  EXPECT_TRUE(logits.equal(at::zeros({2, 3}, GetParam())));
}

TEST_P(Ops, CrossEntropyShowsNotANumber) {
  at::Tensor logits = at::zeros({1, 40}, GetParam());
  logits[0][7] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(std::isnan(cross_entropy(logits, at::zeros({1}, at::kLong), 1)));
  EXPECT_TRUE(logits.isnan().any().item<bool>());
}

TEST_P(Ops, GathersAreTransposesOfScatters) {
  const at::Tensor x = leaf({10, 23});
  const at::Tensor index = indices(0, 10, {14});
  expect_near(ops::gather_rows(cast(x), index), x.index_select(0, index), "gather_rows");

  at::Tensor scattered = at::ones({10, 23}, at::kDouble);
  const at::Tensor rows = leaf({14, 23}).detach();
  for (int64_t t = 0; t < 14; ++t) {
    scattered[index[t].item<int64_t>()] += rows[t];
  }
  at::Tensor table = at::ones({10, 23}, GetParam());
  ops::scatter_add_rows(table, index, cast(rows));
  expect_near(table, scattered, "scatter_add_rows");
}

TEST_P(Ops, ZeroRowsAreOrdinary) {
  const auto none = [](at::IntArrayRef shape) { return at::zeros(shape, GetParam()); };
  const at::Tensor w = at::ones({6}, GetParam());
  at::Tensor grad_w = none({6});
  const auto norm = ops::rms_norm(none({0, 6}), w, 1e-6);
  EXPECT_EQ(norm.y.numel(), 0);
  EXPECT_EQ(ops::rms_norm_backward(none({0, 6}), none({0, 6}), w, norm.rstd, grad_w).numel(), 0);

  const at::Tensor matrix = at::ones({5, 6}, GetParam());
  at::Tensor grad_matrix = at::ones({5, 6}, GetParam());
  at::Tensor grad_bias = at::ones({5}, GetParam());
  const at::Tensor y = ops::linear(none({0, 6}), matrix, none({5}));
  EXPECT_EQ(y.sizes(), (std::vector<int64_t>{0, 5}));
  EXPECT_EQ(ops::linear_backward_input(y, matrix).sizes(), (std::vector<int64_t>{0, 6}));
  ops::linear_backward_weight(y, none({0, 6}), grad_matrix, grad_bias);
  EXPECT_TRUE(grad_matrix.equal(matrix));
  EXPECT_TRUE(grad_bias.equal(at::ones({5}, GetParam())));

  const at::Tensor act = ops::swiglu(none({0, 8}), none({0}));
  EXPECT_EQ(act.sizes(), (std::vector<int64_t>{0, 4}));
  EXPECT_EQ(ops::swiglu_backward(act, none({0, 8}), none({0})).row_weight.numel(), 0);

  const SequenceLayout layout = layout_of({});
  at::Tensor qkv = none({0, 12});
  ops::rotate(qkv, ops::rotary_table(layout, plain_rotary(4), at::TensorOptions(GetParam())), 3);
  const auto attention = ops::attention(qkv, layout, 1, 1, 4);
  EXPECT_EQ(ops::attention_backward(attention.out, qkv, attention, layout, 1, 1, 4).sizes(),
            qkv.sizes());

  EXPECT_EQ(cross_entropy(none({0, 9}), at::zeros({0}, at::kLong), 1), 0);
  EXPECT_EQ(ops::gather_rows(none({4, 6}), at::zeros({0}, at::kLong)).size(0), 0);
  ops::scatter_add_rows(grad_matrix, at::zeros({0}, at::kLong), none({0, 6}));
  EXPECT_TRUE(grad_matrix.equal(matrix));
}

/// The results of every function that shares work among threads.
/// Products are among the results only where they are our own: at::mm promises nothing of the kind.
std::vector<at::Tensor> everything(const at::Tensor& x,
                                   const at::Tensor& w,
                                   const at::Tensor& y,
                                   const at::Tensor& qkv,
                                   const at::Tensor& labels,
                                   const SequenceLayout& layout) {
  const auto norm = ops::rms_norm(x, w[0], 1e-6);
  at::Tensor grad_scale = w[1].clone();
  at::Tensor grad_w = w.clone();
  const at::Tensor logits = y.clone();
  const double loss = cross_entropy(logits, labels, 1);
  const auto attention = ops::attention(qkv, layout, 4, 2, 20);
  at::Tensor scattered = w.clone();
  ops::scatter_add_rows(scattered, labels.clamp_min(0), x);
  std::vector<at::Tensor> results{
      norm.y,
      ops::rms_norm_backward(x, x, w[0], norm.rstd, grad_scale),
      grad_scale,
      logits,
      at::full({1}, loss, at::kDouble),
      ops::swiglu(y),
      ops::swiglu_backward(y.slice(1, 0, 150).contiguous(), y).gate_up,
      attention.out,
      ops::attention_backward(attention.out, qkv, attention, layout, 4, 2, 20),
      scattered};
  if (cpu_kernels().gemm_beats_aten) {
    ops::linear_backward_weight(y, x, grad_w);
    results.insert(results.end(), {ops::linear(x, w), ops::linear_backward_input(y, w), grad_w});
  }
  return results;
}

TEST(OpsOnThreads, TheirNumberChangesNoBit) {
  const SequenceLayout layout = layout_of({400, 1, 333});
  const at::Generator generator = at::detail::createCPUGenerator(23);
  const at::Tensor x = at::randn({734, 210}, generator, at::kFloat);
  const at::Tensor w = at::randn({300, 210}, generator, at::kFloat);
  const at::Tensor qkv = at::randn({734, 160}, generator, at::kFloat);
  const at::Tensor labels = at::randint(-1, 300, {734}, generator, at::kLong);
  const at::Tensor y = at::randn({734, 300}, generator, at::kFloat);
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const auto expected = everything(x, w, y, qkv, labels, layout);
  for (const int count : {2, 3}) {
    at::set_num_threads(count);
    const auto actual = everything(x, w, y, qkv, labels, layout);
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_TRUE(actual[i].equal(expected[i])) << "result " << i << ", threads " << count;
    }
  }
  at::set_num_threads(threads);
}

INSTANTIATE_TEST_SUITE_P(Types,
                         Ops,
                         testing::Values(at::kDouble, at::kFloat),
                         [](const auto& type) { return std::string(at::toString(type.param)); });

}  // namespace
}  // namespace enodia

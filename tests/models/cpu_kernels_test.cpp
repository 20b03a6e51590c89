#include "models/kernels/cpu/cpu_kernels.h"

#include <array>
#include <cmath>
#include <string>
#include <vector>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "models/ops_reference.h"

// The kernels of every instruction set that the machine has against the plain ATen twins in
// float64, on odd sizes, with pointers that are off by one element and canaries behind the results.
namespace enodia {
namespace {

namespace twin = ops::reference;

constexpr int64_t kMargin = 33;
constexpr float kCanary = 12345.0F;

/// A contiguous float32 tensor, one element off every alignment, between canaries.
class Operand {
 public:
  explicit Operand(const at::Tensor& values)
      : storage_(at::full({values.numel() + 1 + kMargin}, kCanary, at::kFloat)),
        inside_(storage_.narrow(0, 1, values.numel()).view(values.sizes())) {
    inside_.copy_(values);
  }
  float* data() const { return inside_.data_ptr<float>(); }
  at::Tensor wide() const { return inside_.to(at::kDouble); }

  void expect_near(const at::Tensor& expected, const char* what, double tolerance = 2e-6) const {
    const double norm = expected.norm().item<double>();
    const double error = (wide() - expected).norm().item<double>();
    EXPECT_LE(error, tolerance * norm + 1e-30) << what;
    SCOPED_TRACE(what);
    expect_untouched_outside();
  }
  void expect_untouched_outside() const {
    EXPECT_EQ(storage_[0].item<float>(), kCanary);
    EXPECT_TRUE(storage_.slice(0, 1 + inside_.numel()).eq(kCanary).all().item<bool>());
  }

 private:
  at::Tensor storage_, inside_;
};

class CpuKernelsTest : public testing::TestWithParam<InstructionSet> {
 protected:
  void SetUp() override {
    kernels_ = cpu_kernels_of(GetParam());
    if (kernels_ == nullptr) {
      GTEST_SKIP() << "this machine lacks the instruction set";
    }
  }
  const CpuKernels& kernels() const { return *kernels_; }
  Operand random(at::IntArrayRef shape) {
    return Operand(at::randn(shape, generator_, at::kFloat));
  }
  static Operand zeros(at::IntArrayRef shape) { return Operand(at::zeros(shape, at::kFloat)); }
  /// The rows of a matrix, each followed by `gap` elements of noise.
  Operand strided(const at::Tensor& matrix, int64_t gap) {
    const at::Tensor noise = random({matrix.size(0), gap}).wide();
    return Operand(at::cat({matrix, noise}, 1));
  }
  at::Tensor indices(int64_t low, int64_t high, at::IntArrayRef shape) {
    return at::randint(low, high, shape, generator_, at::kLong);
  }

  const std::vector<int64_t> sizes_ = {1, 3, 4, 7, 8, 15, 16, 17, 33, 100};

 private:
  const CpuKernels* kernels_ = nullptr;
  at::Generator generator_ = at::detail::createCPUGenerator(5);
};

TEST_P(CpuKernelsTest, RmsNorm) {
  for (const int64_t dim : sizes_) {
    const Operand x = random({5, dim}), w = random({dim}), y = zeros({5, dim}), rstd = zeros({5});
    kernels().rms_norm(x.data(), w.data(), y.data(), rstd.data(), 5, dim, 1e-5F);
    const auto expected = twin::rms_norm(x.wide(), w.wide(), 1e-5);
    y.expect_near(expected.y, "y");
    rstd.expect_near(expected.rstd, "rstd");
  }
}

TEST_P(CpuKernelsTest, RmsNormBackward) {
  for (const int64_t dim : sizes_) {
    const Operand grad_y = random({5, dim}), x = random({5, dim}), w = random({dim});
    const Operand grad_x = zeros({5, dim}), grad_w = random({dim});
    // A large eps keeps the gradient of a single column away from zero.
    const at::Tensor rstd = twin::rms_norm(x.wide(), w.wide(), 1.0).rstd;
    at::Tensor expected_w = grad_w.wide();
    const at::Tensor expected_x =
        twin::rms_norm_backward(grad_y.wide(), x.wide(), w.wide(), rstd, expected_w);
    kernels().rms_norm_backward(grad_y.data(),
                                x.data(),
                                w.data(),
                                Operand(rstd).data(),
                                grad_x.data(),
                                grad_w.data(),
                                5,
                                dim);
    grad_x.expect_near(expected_x, "grad_x");
    grad_w.expect_near(expected_w, "grad_w");
  }
}

TEST_P(CpuKernelsTest, Swiglu) {
  for (const int64_t hidden : sizes_) {
    for (const bool weighted : {false, true}) {
      const Operand gate_up = random({5, 2 * hidden}), weight = random({5});
      const Operand grad = random({5, hidden}), act = zeros({5, hidden});
      const Operand grad_gate_up = zeros({5, 2 * hidden}), grad_weight = zeros({5});
      const float* weights = weighted ? weight.data() : nullptr;
      float* grad_weights = weighted ? grad_weight.data() : nullptr;
      kernels().swiglu(gate_up.data(), weights, act.data(), 5, hidden);
      kernels().swiglu_backward(
          grad.data(), gate_up.data(), weights, grad_gate_up.data(), grad_weights, 5, hidden);
      const at::Tensor row_weight = weighted ? weight.wide() : at::Tensor();
      act.expect_near(twin::swiglu(gate_up.wide(), row_weight), "act");
      const auto expected = twin::swiglu_backward(grad.wide(), gate_up.wide(), row_weight);
      grad_gate_up.expect_near(expected.gate_up, "grad gate_up");
      if (weighted) {
        grad_weight.expect_near(expected.row_weight, "grad row_weight");
      }
    }
  }
}

TEST_P(CpuKernelsTest, SwigluFollowsTheExponentialOverItsWholeRange) {
  std::vector<float> gates;
  for (int i = -1200; i <= 1200; ++i) {
    gates.push_back(static_cast<float>(i) * 0.0831F);
  }
  for (const float gate : gates) {
    const float gate_up[2] = {gate, 1.0F};
    float act = 0;
    kernels().swiglu(gate_up, nullptr, &act, 1, 1);
    const double exact = gate / (1 + std::exp(-static_cast<double>(gate)));
    EXPECT_NEAR(act, exact, 5e-7 * std::abs(exact) + 1e-36) << gate;
  }
}

TEST_P(CpuKernelsTest, Rotate) {
  for (const int64_t half : sizes_) {
    const Operand x = random({5, 3 * 2 * half + 2}), cos = random({5, half}),
                  sin = random({5, half});
    const at::Tensor expected = x.wide();
    twin::rotate(expected.slice(1, 0, 6 * half), {cos.wide(), sin.wide()}, 3, true);
    kernels().rotate(x.data(), 6 * half + 2, cos.data(), sin.data(), 5, 3, half, -1.0F);
    x.expect_near(expected, "x");
  }
}

TEST_P(CpuKernelsTest, CrossEntropy) {
  for (const int64_t vocab : sizes_) {
    const Operand logits = random({9, vocab});
    const at::Tensor labels = indices(-1, vocab, {9});
    const at::Tensor expected = logits.wide();
    const double expected_loss = twin::cross_entropy(expected, labels, 0.5).item<double>();
    const auto* label = labels.const_data_ptr<int64_t>();
    EXPECT_NEAR(kernels().cross_entropy(logits.data(), label, 9, vocab, 0),
                expected_loss,
                1e-6 * expected_loss);
    EXPECT_NEAR(kernels().cross_entropy(logits.data(), label, 9, vocab, 0.5F),
                expected_loss,
                1e-6 * expected_loss);
    if (vocab > 1) {
      logits.expect_near(expected, "logits");
    }
  }
}

TEST_P(CpuKernelsTest, GatherSumAndScatterAdd) {
  for (const int64_t dim : sizes_) {
    const Operand x = random({6, dim}), out = zeros({5, dim}), table = random({5, dim});
    const at::Tensor combine = indices(-1, 6, {5, 3});
    kernels().gather_sum(x.data(), combine.const_data_ptr<int64_t>(), out.data(), 5, 3, dim);
    out.expect_near(twin::gather_sum(x.wide(), combine), "gather_sum");

    const at::Tensor index = indices(0, 5, {6});
    const at::Tensor expected = table.wide();
    twin::scatter_add_rows(expected.slice(1, dim / 3), index, x.wide().slice(1, dim / 3));
    kernels().scatter_add(
        table.data(), index.const_data_ptr<int64_t>(), x.data(), 6, dim, dim / 3, dim);
    table.expect_near(expected, "scatter_add");
  }
}

TEST_P(CpuKernelsTest, ColumnSums) {
  for (const int64_t dim : sizes_) {
    const Operand x = random({6, dim}), out = random({dim});
    const at::Tensor expected = out.wide();
    expected.slice(0, 0, dim - dim / 3).add_(x.wide().sum(0).slice(0, 0, dim - dim / 3));
    kernels().column_sums(x.data(), out.data(), 6, dim, 0, dim - dim / 3);
    out.expect_near(expected, "sums");
  }
}

struct GemmSize {
  int64_t m, n, k;
};

/// Tiles, their edges, and blocks of every dimension crossed.
const std::vector<GemmSize> kGemmSizes = {{1, 1, 1},
                                          {3, 5, 7},
                                          {4, 12, 9},
                                          {8, 48, 33},
                                          {9, 49, 1},
                                          {17, 64, 40},
                                          {70, 100, 50},
                                          {kGemmBlockM + 5, 30, 20},
                                          {5, kGemmBlockN + 19, 12},
                                          {6, 10, 2 * kGemmBlockK + 3}};

TEST_P(CpuKernelsTest, Gemm) {
  for (const auto [m, n, k] : kGemmSizes) {
    const Operand workspace = zeros({gemm_workspace(m, n, k)});
    for (const int flags : {0, 1, 2, 3, 4, 5, 6, 7}) {
      const bool a_transposed = (flags & 1) != 0, b_transposed = (flags & 2) != 0;
      const bool accumulate = (flags & 4) != 0;
      const at::Tensor a_wide = random({m, k}).wide(), b_wide = random({k, n}).wide();
      // Rows of a and b lie 2, those of c 3 elements further apart than they are long.
      const Operand a = strided(a_transposed ? a_wide.t() : a_wide, 2);
      const Operand b = strided(b_transposed ? b_wide.t() : b_wide, 2);
      const Operand c = random({m, n + 3});
      const at::Tensor expected = c.wide();
      const at::Tensor product = at::mm(a_wide, b_wide);
      at::Tensor inside = expected.slice(1, 0, n);
      inside.copy_(accumulate ? inside + product : product);
      kernels().gemm({m,
                      n,
                      k,
                      a.data(),
                      (a_transposed ? m : k) + 2,
                      a_transposed,
                      b.data(),
                      (b_transposed ? k : n) + 2,
                      b_transposed,
                      c.data(),
                      n + 3,
                      accumulate},
                     workspace.data());
      SCOPED_TRACE(testing::Message() << m << " " << n << " " << k << " flags " << flags);
      c.expect_near(expected, "c");
      workspace.expect_untouched_outside();
    }
  }
}

TEST_P(CpuKernelsTest, GemmHasTheSameBitsInAnyShare) {
  const Operand workspace = zeros({gemm_workspace(61, 131, 400)});
  const Operand a = random({61, 400}), b = random({400, 131});
  const Operand whole = zeros({61, 131}), parts = zeros({61, 131});
  kernels().gemm(
      {61, 131, 400, a.data(), 400, false, b.data(), 131, false, whole.data(), 131, false},
      workspace.data());
  for (const auto [m, n, rows, columns] :
       std::vector<std::array<int64_t, 4>>{{0, 0, 61, 7}, {0, 7, 30, 124}, {30, 7, 31, 124}}) {
    kernels().gemm({rows,
                    columns,
                    400,
                    a.data() + m * 400,
                    400,
                    false,
                    b.data() + n,
                    131,
                    false,
                    parts.data() + m * 131 + n,
                    131,
                    false},
                   workspace.data());
  }
  EXPECT_TRUE(whole.wide().equal(parts.wide()));
}

TEST_P(CpuKernelsTest, GemmOfNoDepthIsZeroAndOfNoRowsIsNothing) {
  const Operand workspace = zeros({1}), c = random({3, 4});
  const at::Tensor before = c.wide();
  GemmProblem problem{3, 4, 0, nullptr, 0, false, nullptr, 4, false, c.data(), 4, true};
  kernels().gemm(problem, workspace.data());
  EXPECT_TRUE(c.wide().equal(before));
  problem.accumulate = false;
  kernels().gemm(problem, workspace.data());
  EXPECT_TRUE(c.wide().equal(at::zeros({3, 4}, at::kDouble)));
  kernels().gemm({0, 0, 3, nullptr, 3, false, nullptr, 0, false, nullptr, 0, false},
                 workspace.data());
}

TEST_P(CpuKernelsTest, Attention) {
  struct Case {
    int64_t length, group, dim;
  };
  for (const auto [length, group, dim] : std::vector<Case>{
           {1, 1, 2}, {5, 3, 20}, {48, 1, 32}, {49, 2, 16}, {131, 1, 64}, {97, 2, 7}}) {
    SCOPED_TRACE(testing::Message() << length << " " << group << " " << dim);
    const SequenceLayout layout{{0, static_cast<int32_t>(length)}, {}, {}};
    const int64_t width = (group + 2) * dim;
    const Operand qkv = random({length, width}), grad_out = random({length, group * dim});
    const Operand out = random({length, group * dim}), logsumexp = random({length, group});
    const Operand grad_qkv = random({length, width});
    const Operand workspace = zeros({attention_workspace(length, dim)});
    const AttentionProblem problem{length,
                                   group,
                                   dim,
                                   qkv.data(),
                                   qkv.data() + group * dim,
                                   qkv.data() + (group + 1) * dim,
                                   width,
                                   out.data(),
                                   group * dim,
                                   logsumexp.data(),
                                   group};
    kernels().attention(problem, workspace.data());
    const auto expected = twin::attention(qkv.wide(), layout, group, 1, dim);
    out.expect_near(expected.out, "out");
    logsumexp.expect_near(expected.logsumexp, "logsumexp");

    kernels().attention_backward(problem,
                                 {grad_out.data(),
                                  grad_qkv.data(),
                                  grad_qkv.data() + group * dim,
                                  grad_qkv.data() + (group + 1) * dim},
                                 workspace.data());
    const at::Tensor expected_grad =
        twin::attention_backward(grad_out.wide(), qkv.wide(), expected, layout, group, 1, dim);
    grad_qkv.expect_near(expected_grad, "grad_qkv");
    workspace.expect_untouched_outside();
  }
}

TEST_P(CpuKernelsTest, AttentionSurvivesLargeScores) {
  const Operand qkv(random({60, 12}).wide() * 1000);
  const Operand out = zeros({60, 4}), logsumexp = zeros({60, 1});
  const Operand workspace = zeros({attention_workspace(60, 4)});
  kernels().attention({60,
                       1,
                       4,
                       qkv.data(),
                       qkv.data() + 4,
                       qkv.data() + 8,
                       12,
                       out.data(),
                       4,
                       logsumexp.data(),
                       1},
                      workspace.data());
  out.expect_near(twin::attention(qkv.wide(), {{0, 60}, {}, {}}, 1, 1, 4).out, "out", 1e-2);
}

TEST_P(CpuKernelsTest, ZeroRowsTouchNothing) {
  kernels().rms_norm(nullptr, nullptr, nullptr, nullptr, 0, 8, 1e-6F);
  kernels().swiglu(nullptr, nullptr, nullptr, 0, 8);
  kernels().gather_sum(nullptr, nullptr, nullptr, 0, 2, 8);
  EXPECT_EQ(kernels().cross_entropy(nullptr, nullptr, 0, 8, 1.0F), 0);
}

TEST(CpuKernels, TheFastestSetOfTheMachineIsChosen) {
  const CpuKernels* expected = cpu_kernels_of(InstructionSet::kPortable);
  for (const InstructionSet set : {InstructionSet::kAvx2, InstructionSet::kAvx512}) {
    if (cpu_kernels_of(set) != nullptr) {
      expected = cpu_kernels_of(set);
    }
  }
  EXPECT_EQ(&cpu_kernels(), expected);
}

INSTANTIATE_TEST_SUITE_P(Sets,
                         CpuKernelsTest,
                         testing::Values(InstructionSet::kPortable,
                                         InstructionSet::kAvx2,
                                         InstructionSet::kAvx512),
                         [](const auto& set) -> std::string {
                           switch (set.param) {
                             case InstructionSet::kPortable:
                               return "Portable";
                             case InstructionSet::kAvx2:
                               return "Avx2";
                             case InstructionSet::kAvx512:
                               return "Avx512";
                           }
                           return "Unknown";
                         });

}  // namespace
}  // namespace enodia

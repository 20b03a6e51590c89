#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "common/error.h"
#include "tests/extending/part_testing.h"

#include "docs/extending/my_parts.h"

namespace enodia {
namespace {

class SlidingWindow : public ::testing::Test {
 protected:
  SlidingWindow() {
    options_.hidden_size = 6;
    options_.num_attention_heads = 2;
    options_.head_dim = 4;
    options_.settings["window"] = 3;
    block_ = make_sliding_window(options_, "layer", 0, registry_);
    random_.fill(registry_);
  }

  /// Hidden after the block, of two segments of 5 and 3 tokens.
  at::Tensor run(const at::Tensor& x, BlockState& state) const {
    state.layout = SequenceLayout::from_lengths(std::vector<int64_t>{5, 3});
    state.hidden = x;
    block_->forward(state, 0);
    return state.hidden;
  }

  const at::AutoGradMode no_grad_{false};
  ModelOptions options_;
  testing::Random random_;
  ParameterRegistry registry_{0, 1, at::kDouble};
  std::unique_ptr<Block> block_;
};

TEST_F(SlidingWindow, SeesItselfAndTheTokensBeforeItInItsSegment) {
  const at::Tensor x = random_.draw({8, 6});
  BlockState state;
  const at::Tensor before = run(x, state);
  for (int64_t changed = 0; changed < 8; ++changed) {
    at::Tensor other = x.clone();
    other[changed] += 1;
    const at::Tensor after = run(other, state);
    for (int64_t token = 0; token < 8; ++token) {
      const bool seen = changed <= token && token < changed + 3 && (changed < 5) == (token < 5);
      EXPECT_EQ(!after[token].equal(before[token]), seen) << changed << " at " << token;
    }
  }
}

TEST_F(SlidingWindow, HasTheGradientOfItsDifferences) {
  const at::Tensor x = random_.draw({8, 6}), weights = random_.draw({8, 6});
  BlockState state;
  const auto loss = [&] { return (run(x, state) * weights).sum().item<double>(); };
  loss();
  state.grad_hidden = weights;
  block_->backward(state, 0);
  EXPECT_LE(testing::gradient_error(loss, x, state.grad_hidden), 1e-8);
  for (const LogicalParameter& parameter : registry_.parameters()) {
    EXPECT_LE(testing::gradient_error(loss, parameter.column("master"), parameter.column("grad")),
              1e-8)
        << parameter.name;
  }
}

TEST_F(SlidingWindow, RefusesAWindowWithoutTokens) {
  options_.settings["window"] = 0;
  EXPECT_THROW(make_sliding_window(options_, "other", 0, registry_), ConfigError);
}

}  // namespace
}  // namespace enodia

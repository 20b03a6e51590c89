#include "models/virtual_compute.h"

#include <chrono>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "common/check.h"

namespace enodia {
namespace {

/// A block that must not compute.
class NeverBlock : public Block {
 public:
  std::string_view phase_name(int) const override { return "never"; }
  void forward(BlockState&, int) override { ENODIA_CHECK(false, "was computed"); }
  void backward(BlockState&, int) override { ENODIA_CHECK(false, "was computed"); }
};

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

TEST(VirtualCompute, DilatesTheTimeOfTheCluster) {
  EXPECT_DOUBLE_EQ(VirtualCompute(1e12, 1).seconds_of(5e9), 0.005);
  EXPECT_DOUBLE_EQ(VirtualCompute(1e12, 100).seconds_of(5e9), 0.5);
  EXPECT_GE(seconds_of([] { VirtualCompute(1e12, 10).spend(2e9); }), 0.02);
}

TEST(VirtualCompute, ABlockPassesThroughAndTakesItsTimeTwiceBackward) {
  const std::vector<int64_t> lengths{3};
  BlockState state;
  state.layout = SequenceLayout::from_lengths(lengths);
  VirtualBlock block(
      std::make_unique<NeverBlock>(),
      std::make_shared<VirtualCompute>(1e3, 1),
      [](const SequenceLayout& layout) { return 5.0 * static_cast<double>(layout.num_tokens()); });
  EXPECT_EQ(block.phase_name(0), "never");
  EXPECT_GE(seconds_of([&] { block.forward(state, 0); }), 0.015);
  EXPECT_GE(seconds_of([&] { block.backward(state, 0); }), 0.03);
}

}  // namespace
}  // namespace enodia

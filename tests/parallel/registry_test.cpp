#include <algorithm>

#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>
#include <gmock/gmock.h>

#include "collectives/loopback/loopback.h"
#include "common/error.h"
#include "parallel/parameter_registry.h"
#include "tests/parallel/small_model.h"

namespace enodia {
namespace {

using testing::ElementsAre;

class Registry : public testing::Test {
 protected:
  std::unique_ptr<Communicator> world_ = make_single_rank_communicator();
};

TEST_F(Registry, ListsParametersInNameOrderAndFindsThem) {
  Model model(*world_, 1, 1);
  std::vector<std::string> names;
  for (const LogicalParameter& parameter : model.registry.parameters()) {
    names.push_back(parameter.name);
    EXPECT_EQ(&model.registry.find(parameter.name), &parameter);
  }
  EXPECT_EQ(names.size(), 4u + 9);
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  EXPECT_THROW(model.registry.find("q"), UsageError);
  EXPECT_THROW(model.registry.find("zzz"), UsageError);
  EXPECT_FALSE(model.registry.find("norm.weight").decays);
  EXPECT_THAT(model.registry.find("k.weight").shape, ElementsAre(2, 5));
  EXPECT_THAT(model.registry.find("norm.weight").shape, ElementsAre(7));
}

TEST_F(Registry, RefusesTwoParametersOfOneName) {
  ParameterRegistry registry(0, 1, at::kFloat);
  registry.add_dense({{"a", 2}}, 3);
  registry.add_dense({{"b", 2}, {"a", 1}}, 0);
  EXPECT_THROW(registry.allocate(), UsageError);
}

TEST_F(Registry, StacksShareMemoryWithTheirMembers) {
  Model model(*world_, 1, 1);
  model.registry.initialize(5, 0.02);
  EXPECT_THAT(model.stack.value.sizes(), ElementsAre(6, 5));
  EXPECT_TRUE(at::equal(model.stack.value.narrow(0, 4, 2),
                        model.registry.find("k.weight").column("master")));
  model.stack.grad.select(0, 3).fill_(2.0);
  EXPECT_EQ(model.registry.find("q.weight").column("grad").select(0, 3).sum().item<double>(), 10);
  EXPECT_EQ(model.registry.dense_tables()[0].columns->column("grad").sum().item<double>(), 10);
}

TEST_F(Registry, InitializesByNameAlone) {
  Model model(*world_, 1, 2);
  model.registry.initialize(5, 0.02);
  EXPECT_EQ(model.norm.value.min().item<double>(), 1.0);
  EXPECT_EQ(model.norm.value.max().item<double>(), 1.0);
  EXPECT_EQ(model.bias.value.abs().max().item<double>(), 0.0);

  ParameterRegistry alone(0, 1, at::kFloat);
  const DenseParameter& wide = alone.add_dense({{"k.weight", 100}}, 100);
  alone.allocate();
  alone.initialize(5, 0.02);
  const at::Tensor short_one = model.registry.find("k.weight").column("master").flatten();
  EXPECT_TRUE(at::equal(wide.value.flatten().narrow(0, 0, 10), short_one));
  EXPECT_NEAR(wide.value.std().item<double>(), 0.02, 0.001);
  EXPECT_NEAR(wide.value.mean().item<double>(), 0.0, 0.001);

  alone.initialize(6, 0.02);
  EXPECT_FALSE(at::equal(wide.value.flatten().narrow(0, 0, 10), short_one)) << "another seed";
  EXPECT_FALSE(at::equal(model.registry.find(expert_name(0, 0, "up")).column("master"),
                         model.registry.find(expert_name(0, 1, "up")).column("master")));
}

TEST_F(Registry, InitializesFloat64ToTheSameNumbersBeforeRounding) {
  Model narrow(*world_, 1, 1);
  Model wide(*world_, 1, 1, at::kDouble);
  narrow.registry.initialize(5, 0.02);
  wide.registry.initialize(5, 0.02);
  for (const LogicalParameter& parameter : wide.registry.parameters()) {
    EXPECT_EQ(parameter.column("master").scalar_type(), at::kDouble);
    EXPECT_TRUE(at::equal(parameter.column("master").to(at::kFloat),
                          narrow.registry.find(parameter.name).column("master")));
  }
}

TEST_F(Registry, AddsColumnsOfZerosToDenseAndExpertParameters) {
  Model model(*world_, 1, 2);
  model.registry.add_column("exp_avg");
  for (const LogicalParameter& parameter : model.registry.parameters()) {
    at::Tensor column = parameter.column("exp_avg");
    EXPECT_EQ(column.sizes().vec(), parameter.shape);
    EXPECT_EQ(column.abs().max().item<double>(), 0.0);
    column.fill_(3.0);
    parameter.column("grad").fill_(4.0);
  }
  model.registry.zero_gradients();
  for (const LogicalParameter& parameter : model.registry.parameters()) {
    EXPECT_EQ(parameter.column("exp_avg").min().item<double>(), 3.0);
    EXPECT_EQ(parameter.column("grad").abs().max().item<double>(), 0.0);
    EXPECT_THROW(parameter.column("exp_avg_sq"), UsageError);
  }
  EXPECT_THROW(model.registry.add_column("exp_avg"), UsageError);
}

TEST_F(Registry, RefusesAddingAfterAllocation) {
  Model model(*world_, 1, 1);
  EXPECT_THROW(model.registry.add_dense({{"late", 1}}, 0), UsageError);
  EXPECT_THROW(model.registry.add_owned({}), UsageError);
  ParameterRegistry early(0, 1, at::kFloat);
  EXPECT_THROW(early.add_column("exp_avg"), UsageError);
}

}  // namespace
}  // namespace enodia

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>
#include <gmock/gmock.h>

#include "collectives/loopback/loopback.h"
#include "common/error.h"
#include "tests/parallel/shuffled_owners.h"
#include "tests/parallel/small_model.h"

namespace enodia {
namespace {

using testing::ElementsAre;

/// Of an element of the box of a parameter's column, different from all others.
double moment_of(const LogicalParameter& parameter, const char* column, int64_t element) {
  const int64_t before = parameter.shape.size() == 2 ? parameter.offset[0] * parameter.shape[1] : 0;
  const size_t hash = std::hash<std::string>()(parameter.name + column) % 100000;
  return static_cast<double>(hash) + static_cast<double>(before + element) / 64;
}

void fill_moments(const Model& model) {
  for (const LogicalParameter& parameter : model.registry.parameters()) {
    for (const char* column : {"exp_avg", "exp_avg_sq"}) {
      at::Tensor moment = parameter.column(column).flatten();
      for (int64_t i = 0; i < moment.numel(); ++i) {
        moment[i].fill_(moment_of(parameter, column, i));
      }
    }
    parameter.column("grad").fill_(7.0);
  }
}

void expect_bits(const LogicalParameter& parameter, const at::Tensor& initial) {
  const at::Tensor master = parameter.column("master");
  EXPECT_TRUE(at::equal(master, initial.narrow(0, parameter.offset[0], parameter.size[0])))
      << parameter.name;
  EXPECT_EQ(parameter.column("grad").abs().max().item<double>(), 0.0);
  if (parameter.table->has_column("compute")) {
    EXPECT_TRUE(at::equal(parameter.column("compute"), master.to(at::kBFloat16)));
  }
  for (const char* column : {"exp_avg", "exp_avg_sq"}) {
    const at::Tensor moment = parameter.column(column).flatten();
    for (int64_t i = 0; i < moment.numel(); ++i) {
      EXPECT_EQ(moment[i].item<float>(), static_cast<float>(moment_of(parameter, column, i)))
          << column << " of " << parameter.name;
    }
  }
}

/// That this rank has what it owns of the experts, with the bits that they began with.
void expect_whole(const Model& model,
                  const ExpertShape& shape,
                  const std::map<std::string, at::Tensor>& initial) {
  const int rank = model.mesh.rank();
  std::map<std::string, int64_t> elements;  // by the expert's name
  for (const LogicalParameter& parameter : model.registry.parameters()) {
    if (!model.registry.is_dense(parameter)) {
      expect_bits(parameter, initial.at(parameter.name));
      elements[parameter.name.substr(
          0, parameter.name.rfind('.', parameter.name.rfind('.') - 1))] += parameter.numel();
    }
  }
  for (int layer = 0; layer < model.store.num_layers(); ++layer) {
    const std::vector<int32_t>& owners = model.store.owners(layer);
    for (int expert = 0; expert < std::ssize(owners); ++expert) {
      EXPECT_THAT(model.store.placement(layer).ranks_of(expert), ElementsAre(owners[expert]));
      const bool owns = owns_stripe(rank, owners[expert], shape.stripes);
      const int64_t part = shape.stripe(stripe_of_rank(rank, shape.stripes)).count;
      EXPECT_EQ(elements[kLayers[layer] + "." + std::to_string(expert)], owns ? part : 0);
    }
  }
}

struct MoveCase {
  int world, stripes, experts;
};

void move_thrice(Communicator& world, const MoveCase& c, at::ScalarType type) {
  Model model(world, c.world, c.experts, type, {}, HomesOf::kOwners, c.stripes);
  const ExpertShape shape{kShape.hidden_size, kShape.intermediate_size, c.stripes};
  const auto initial = masters_of_one_rank(c.experts, 9);
  model.registry.initialize(9, 0.02);
  model.registry.write_compute();
  model.registry.add_column("exp_avg");
  model.registry.add_column("exp_avg_sq");
  fill_moments(model);
  for (const unsigned seed : {1, 2, 3}) {
    const ExpertOwners before = model.store.owners();
    const ExpertOwners after = shuffled(before, seed);
    const MovedExperts moved = model.store.move_owners(after);
    EXPECT_EQ(model.store.owners(), after);
    int64_t differ = 0;
    int64_t rows = 0;  // that go to another rank, as whole experts
    for (size_t layer = 0; layer < after.size(); ++layer) {
      for (size_t expert = 0; expert < after[layer].size(); ++expert) {
        differ += after[layer][expert] != before[layer][expert] ? 1 : 0;
        rows += after[layer][expert] / c.stripes != before[layer][expert] / c.stripes ? 1 : 0;
      }
    }
    EXPECT_EQ(moved.experts, differ);
    EXPECT_EQ(moved.bytes, rows * 18 * (type == at::kFloat ? 12 : 14));
    EXPECT_EQ(model.store.owners_have_moved(), c.world > 1);
    if (rows > 0) {
      expect_whole(model, shape, initial);
    }
  }
}

TEST(ExpertStore, MovesWholeRowsToNewOwnersBitByBit) {
  const std::vector<MoveCase> cases{{1, 1, 7},
                                    {2, 1, 7},
                                    {3, 1, 7},
                                    {4, 1, 7},
                                    {8, 1, 3},
                                    {2, 2, 7},
                                    {4, 2, 7},
                                    {6, 3, 7},
                                    {8, 2, 3},
                                    {8, 4, 7},
                                    {8, 8, 7}};
  for (const MoveCase& c : cases) {
    SCOPED_TRACE(std::to_string(c.world) + " ranks, stripes " + std::to_string(c.stripes));
    std::vector<int> nodes(c.world);
    for (int rank = 0; rank < c.world; ++rank) {
      nodes[rank] = rank / 3;
    }
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
      run_loopback(
          c.world, [&](Communicator& world) { move_thrice(world, c, type); }, nodes);
    }
  }
}

TEST(ExpertStore, SendsGradientsToNewOwners) {
  for (const int stripes : {1, 3}) {
    run_loopback(3, [&](Communicator& world) {
      Model model(world, 3, 4, at::kFloat, {}, HomesOf::kOwners, stripes);
      model.registry.initialize(3, 0.02);
      model.store.move_owners(shuffled(model.store.owners(), 5));
      const auto everywhere = ExpertPlacement::create(3, std::vector(4, std::vector{0, 1, 2}));
      for (int layer = 0; layer < 3; ++layer) {
        Lease lease = model.store.acquire({layer}, everywhere, LeaseUse::kBackward);
        for (const ExpertMatrices& gradient : lease.gradients) {
          gradient.gate_up.fill_(1 << world.rank());
          gradient.down.fill_(1 << world.rank());
        }
        model.store.send_home(std::move(lease));
        model.store.release({layer});
      }
      model.store.finish_gradients();
      for (const LogicalParameter& parameter : model.registry.parameters()) {
        if (!model.registry.is_dense(parameter)) {
          EXPECT_TRUE(parameter.column("grad").eq(7).all().item<bool>()) << parameter.name;
        }
      }
    });
  }
}

TEST(ExpertStore, MovesNothingThatIsInUseOrUneven) {
  run_loopback(2, [](Communicator& world) {
    Model model(world, 2, 4, at::kFloat, {}, HomesOf::kOwners);
    const ExpertOwners after = shuffled(model.store.owners(), 1);
    {
      const Lease lease = model.store.acquire({0}, model.store.placement(0), LeaseUse::kForward);
      EXPECT_THROW(model.store.move_owners(after), UsageError);
    }
    ExpertOwners uneven = model.store.owners();
    uneven[0][0] = 1;
    EXPECT_THROW(model.store.move_owners(uneven), UsageError);
    EXPECT_THROW(model.store.move_owners({}), UsageError);
    EXPECT_FALSE(model.store.owners_have_moved());
    model.store.move_owners(after);
    Model homes(world, 1, 4);
    EXPECT_THROW(homes.store.move_owners(homes.store.owners()), UsageError);
  });
}

}  // namespace
}  // namespace enodia

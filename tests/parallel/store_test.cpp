#include <algorithm>
#include <functional>
#include <map>
#include <numeric>
#include <set>

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "collectives/collectives.h"
#include "collectives/loopback/loopback.h"
#include "common/error.h"
#include "parallel/expert_store.h"
#include "parallel/gradient_reduction.h"
#include "parallel/mesh.h"
#include "parallel/parameter_registry.h"
#include "tests/parallel/shuffled_owners.h"

namespace enodia {
namespace {

using testing::ElementsAre;

const std::vector<std::string> kLayers{"layers.1.experts", "layers.2.experts", "layers.4.experts"};
constexpr ExpertShape kShape{.hidden_size = 3, .intermediate_size = 2};

/// Where experts live: at all homes, or with their owners alone.
enum class HomesOf : uint8_t { kEveryGroup, kOwners };

std::vector<StaticLayer> place(int num_experts, int ep, int world_size, HomesOf homes) {
  std::vector<StaticLayer> layers =
      static_placement(static_cast<int>(kLayers.size()), num_experts, ep, world_size);
  return homes == HomesOf::kOwners ? without_replicas(std::move(layers)) : layers;
}

/// One rank's parameters: a dense stack, a norm, and three layers of experts.
struct Model {
  Model(Communicator& world,
        int ep,
        int num_experts,
        at::ScalarType type = at::kFloat,
        const ScheduleRule& rule = {},
        HomesOf homes = HomesOf::kEveryGroup)
      : mesh(world, {.dp = world.world_size(), .ep = ep}),
        registry(world.rank(), world.world_size(), type),
        stack(registry.add_dense({{"q.weight", 4}, {"k.weight", 2}}, 5)),
        norm(registry.add_dense(
            {{"norm.weight", 7}}, 0, {.decays = false, .initializer = Initializer::kOnes})),
        bias(registry.add_dense(
            {{"a.bias", 3}}, 0, {.decays = false, .initializer = Initializer::kZeros})),
        store(mesh,
              registry,
              kLayers,
              place(num_experts, ep, world.world_size(), homes),
              kShape,
              rule) {
    registry.allocate();
  }
  ProcessMesh mesh;
  ParameterRegistry registry;
  const DenseParameter &stack, &norm, &bias;
  ExpertStore store;
};

struct StoreCase {
  int world, ep, experts;
  friend std::ostream& operator<<(std::ostream& out, const StoreCase& c) {
    return out << "w" << c.world << " ep" << c.ep << " E" << c.experts;
  }
};

class Store : public testing::TestWithParam<StoreCase> {
 protected:
  using Body = void(Model&);
  /// Runs `body` on every rank with the case's layout.
  static void run(const std::function<Body>& body) {
    const StoreCase c = GetParam();
    run_loopback(c.world, [&](Communicator& world) {
      Model model(world, c.ep, c.experts);
      body(model);
    });
  }
};

INSTANTIATE_TEST_SUITE_P(Layouts,
                         Store,
                         testing::Values(StoreCase{1, 1, 6},
                                         StoreCase{2, 1, 6},
                                         StoreCase{4, 2, 6},
                                         StoreCase{4, 2, 3},
                                         StoreCase{4, 4, 6},
                                         StoreCase{4, 4, 2},
                                         StoreCase{3, 3, 2}),
                         [](const auto& test) {
                           return "W" + std::to_string(test.param.world) + "Ep" +
                                  std::to_string(test.param.ep) + "E" +
                                  std::to_string(test.param.experts);
                         });

std::string expert_name(int layer, int expert, const char* matrix) {
  return kLayers[layer] + "." + std::to_string(expert) + "." + matrix + "_proj.weight";
}

/// What one rank alone initializes: the masters by name.
std::map<std::string, at::Tensor> masters_of_one_rank(int experts, uint64_t seed) {
  const auto world = make_single_rank_communicator();
  Model model(*world, 1, experts);
  model.registry.initialize(seed, 0.02);
  std::map<std::string, at::Tensor> masters;
  for (const LogicalParameter& parameter : model.registry.parameters()) {
    masters[parameter.name] = parameter.column("master").clone();
  }
  return masters;
}

TEST_P(Store, EveryLayoutInitializesTheSameParameters) {
  const auto expected = masters_of_one_rank(GetParam().experts, 11);
  EXPECT_EQ(expected.size(), 4u + 3 * 3 * GetParam().experts);
  run([&](Model& model) {
    model.registry.initialize(11, 0.02);
    for (const LogicalParameter& parameter : model.registry.parameters()) {
      EXPECT_TRUE(at::equal(parameter.column("master"), expected.at(parameter.name)))
          << parameter.name << ", bit for bit";
    }
  });
}

TEST_P(Store, EveryExpertHasOneOwnerAndDenseParametersLieEverywhere) {
  std::vector<std::multiset<std::string>> names(GetParam().world), counted(GetParam().world);
  run([&](Model& model) {
    const int rank = model.mesh.rank();
    for (const LogicalParameter& parameter : model.registry.parameters()) {
      names[rank].insert(parameter.name);
      if (parameter.owned_rows.count > 0) {
        counted[rank].insert(parameter.name);
      }
    }
  });
  std::multiset<std::string> all_experts, all_counted;
  for (int rank = 0; rank < GetParam().world; ++rank) {
    EXPECT_EQ(names[rank].count("q.weight") + names[rank].count("norm.weight"), 2u);
    for (const std::string& name : names[rank]) {
      if (name.find("experts") != std::string::npos) {
        all_experts.insert(name);
      }
    }
    all_counted.insert(counted[rank].begin(), counted[rank].end());
  }
  std::multiset<std::string> expected;
  for (const auto& [name, master] : masters_of_one_rank(GetParam().experts, 1)) {
    EXPECT_EQ(all_counted.count(name), 1u) << name;
    if (name.find("experts") != std::string::npos) {
      expected.insert(name);
    }
  }
  EXPECT_EQ(all_experts, expected);
  EXPECT_EQ(all_counted.size(), expected.size() + 4);
}

/// Calls `visit(layer, slot, expert)` for every expert placed on this rank.
template <typename Visit>
void for_each_slot(const Model& model, const Visit& visit) {
  for (int layer = 0; layer < model.store.num_layers(); ++layer) {
    const auto experts = model.store.placement(layer).experts_on(model.mesh.tokens().rank());
    for (size_t slot = 0; slot < experts.size(); ++slot) {
      visit(layer, slot, experts[slot]);
    }
  }
}

TEST_P(Store, RefreshMakesReplicasEqualTheMasters) {
  const auto initial = masters_of_one_rank(GetParam().experts, 3);
  run([&](Model& model) {
    model.registry.initialize(3, 0.02);
    for (const LogicalParameter& parameter : model.registry.parameters()) {
      parameter.column("master").mul_(2.0);
    }
    model.store.refresh_replicas();
    for_each_slot(model, [&](int layer, size_t slot, int expert) {
      const Lease lease =
          model.store.acquire({layer}, model.store.placement(layer), LeaseUse::kForward);
      EXPECT_TRUE(lease.gradients.empty());
      const ExpertMatrices& weights = lease.weights.at(slot);
      const auto master = [&](const char* matrix) {
        return initial.at(expert_name(layer, expert, matrix)) * 2.0;
      };
      EXPECT_TRUE(at::equal(weights.gate_up.narrow(0, 0, 2), master("gate")));
      EXPECT_TRUE(at::equal(weights.gate_up.narrow(0, 2, 2), master("up")));
      EXPECT_TRUE(at::equal(weights.down, master("down")));
    });
  });
}

/// A gradient whose float32 sums depend on the order of the additions.
float gradient_of(int rank, int micro_batch, int layer, int expert, int64_t element) {
  const auto a = static_cast<float>(1 + (rank * 7 + micro_batch * 5 + element) % 13);
  return ((rank + micro_batch) % 2 == 0 ? 1.0F : -4e4F) * a /
         static_cast<float>(3 + layer + 2 * expert);
}

void add_gradient(
    at::Tensor grad, int64_t first, int rank, int micro_batch, int layer, int expert) {
  for (int64_t i = 0; i < grad.numel(); ++i) {
    grad.data_ptr<float>()[i] += gradient_of(rank, micro_batch, layer, expert, first + i);
  }
}

void run_backward(Model& model, int micro_batch) {
  for (int layer = model.store.num_layers() - 1; layer >= 0; --layer) {
    Lease lease = model.store.acquire({layer}, model.store.placement(layer), LeaseUse::kBackward);
    const auto experts = model.store.placement(layer).experts_on(model.mesh.tokens().rank());
    ASSERT_EQ(lease.gradients.size(), experts.size());
    for (size_t slot = 0; slot < experts.size(); ++slot) {
      const ExpertMatrices& grad = lease.gradients[slot];
      add_gradient(grad.gate_up, 0, model.mesh.rank(), micro_batch, layer, experts[slot]);
      add_gradient(grad.down, 12, model.mesh.rank(), micro_batch, layer, experts[slot]);
    }
    model.store.send_home(std::move(lease));
  }
}

/// For each micro-batch the owner's own gradient, then the other homes' in rank order.
float sum_at_owner(const Model& model,
                   const std::vector<int>& micro_batches,
                   int layer,
                   int expert,
                   int64_t element) {
  const int owner = model.store.owners(layer)[expert];
  const ExpertPlacement& homes = model.store.placement(layer);
  float sum = 0.0F;
  for (const int micro_batch : micro_batches) {
    sum += gradient_of(owner, micro_batch, layer, expert, element);
    for (int rank = 0; rank < model.mesh.world_size(); ++rank) {
      if (rank != owner && homes.slot_of(rank % homes.world_size(), expert) >= 0) {
        sum += gradient_of(rank, micro_batch, layer, expert, element);
      }
    }
  }
  return sum;
}

TEST_P(Store, GradientsSumAtTheOwnerInOrderOfMicroBatchAndRank) {
  run([](Model& model) {
    const std::vector<int> micro_batches{0, 1, 2};
    for (const int micro_batch : micro_batches) {
      run_backward(model, micro_batch);
    }
    model.store.finish_gradients();
    for_each_slot(model, [&](int layer, size_t, int expert) {
      if (model.store.owners(layer)[expert] != model.mesh.rank()) {
        return;
      }
      int64_t element = 0;
      for (const char* matrix : {"gate", "up", "down"}) {
        const at::Tensor grad =
            model.registry.find(expert_name(layer, expert, matrix)).column("grad");
        for (int64_t i = 0; i < grad.numel(); ++i, ++element) {
          EXPECT_EQ(grad.data_ptr<float>()[i],
                    sum_at_owner(model, micro_batches, layer, expert, element))
              << "element " << element << ", bit for bit";
        }
      }
    });
  });
}

TEST_P(Store, GradientsStartAtZeroAgainInTheNextStep) {
  run([](Model& model) {
    for (int step = 0; step < 2; ++step) {
      model.registry.zero_gradients();
      run_backward(model, 1);
      model.store.finish_gradients();
    }
    for_each_slot(model, [&](int layer, size_t, int expert) {
      if (model.store.owners(layer)[expert] == model.mesh.rank()) {
        EXPECT_EQ(model.registry.find(expert_name(layer, expert, "up"))
                      .column("grad")
                      .const_data_ptr<float>()[1],
                  sum_at_owner(model, {1}, layer, expert, 7));
      }
    });
  });
}

TEST_P(Store, DenseGradientsAreSummedOverRanksInRankOrderInBucketsOfAnySize) {
  run([](Model& model) {
    const auto fill = [](int rank) {
      return rank % 2 == 0 ? 1e-3F : 1e5F / static_cast<float>(3 + rank);
    };
    ParameterRegistry registry(model.mesh.place(), at::kFloat);
    const DenseParameter& first = registry.add_dense({{"a", 3}}, 5);
    registry.begin_block();
    registry.begin_block();  // a block without parameters
    const DenseParameter& small = registry.add_dense({{"b", 7}}, 0);
    registry.begin_block();
    const DenseParameter& last = registry.add_dense({{"c", 9}, {"d", 1}}, 4);
    registry.allocate({.bucket_bytes = 50});  // b is too small for one of its own
    EXPECT_EQ(registry.dense_tables()[0].buckets.size(), 2U);
    for (const DenseParameter* parameter : {&first, &last}) {
      at::Tensor(parameter->grad).fill_(fill(model.mesh.rank()));
    }
    GradientReduction reduction(model.mesh, registry);
    for (const int block : {3, 2, 1, 0}) {
      reduction.ready_from(block);
    }
    reduction.finish();
    float sum = fill(0);
    for (int rank = 1; rank < model.mesh.world_size(); ++rank) {
      sum += fill(rank);
    }
    for (const DenseParameter* parameter : {&first, &last}) {
      EXPECT_EQ(parameter->grad.min().item<float>(), sum);
      EXPECT_EQ(parameter->grad.max().item<float>(), sum);
    }
    EXPECT_EQ(small.grad.abs().max().item<float>(), 0.0F);
  });
}

// The sums that a rank owns are those that it gets without ZeRO-1, bit for bit; the others hold
// what they updated, sent around.
TEST_P(Store, Zero1GivesEachRankTheSumsAndTheMomentsOfWhatItOwns) {
  run([](Model& model) {
    for (const Zero1 zero1 : {Zero1::kRows, Zero1::kParameters}) {
      ParameterRegistry registry(model.mesh.place(), at::kFloat);
      registry.add_dense({{"a", 5}}, 3);
      registry.begin_block();
      registry.add_dense({{"b", 7}}, 0);
      registry.add_dense({{"c", 4}, {"d", 2}}, 4);
      registry.allocate({.zero1 = zero1, .bucket_bytes = 1});
      registry.add_column("exp_avg");
      const auto fill = [](int rank) { return 1.0F / static_cast<float>(3 + rank); };
      float sum = fill(0);
      for (int rank = 1; rank < model.mesh.world_size(); ++rank) {
        sum += fill(rank);
      }
      int64_t owned = 0;
      for (const LogicalParameter& parameter : registry.parameters()) {
        parameter.column("grad").fill_(fill(model.mesh.rank()));
      }
      GradientReduction(model.mesh, registry).finish();
      for (const LogicalParameter& parameter : registry.parameters()) {
        const at::Tensor mine = parameter.rows("grad", parameter.owned_rows);
        EXPECT_TRUE(mine.eq(sum).all().item<bool>()) << parameter.name;
        EXPECT_EQ(parameter.updated_rows, parameter.owned_rows);
        EXPECT_EQ(parameter.rows("exp_avg", parameter.owned_rows).numel(), mine.numel());
        if (zero1 == Zero1::kParameters) {
          EXPECT_THAT(parameter.owned_rows.count, testing::AnyOf(0, parameter.shape[0]));
        }
        owned += mine.numel();
        parameter.rows("master", parameter.owned_rows)
            .fill_(static_cast<float>(model.mesh.rank() + 1));
      }
      EXPECT_EQ(all_reduce_value(model.mesh.control(), owned, ReduceOp::kSum), 15 + 7 + 24);
      gather_weights(model.mesh, registry);
      for (const LogicalParameter& parameter : registry.parameters()) {
        EXPECT_GE(parameter.column("master").min().item<float>(), 1.0F) << parameter.name;
      }
    }
  });
}

TEST(ExpertStore, KeepsWeightsWhileALeaseIsOut) {
  const auto world = make_single_rank_communicator();
  Model model(*world, 1, 2);
  {
    const Lease lease = model.store.acquire({0}, model.store.placement(0), LeaseUse::kForward);
    EXPECT_THROW(model.store.refresh_replicas(), UsageError);
    Lease second = model.store.acquire({1}, model.store.placement(1), LeaseUse::kBackward);
    Lease moved(std::move(second));
    model.store.send_home(std::move(moved));
    EXPECT_THROW(model.store.refresh_replicas(), UsageError) << "the first lease is still out";
  }
  model.store.finish_gradients();
  EXPECT_NO_THROW(model.store.refresh_replicas());
}

/// Every rank holds every expert of a layer, fetched and brought home in stripes of two pieces; on
/// nodes of two, one and two ranks, as a tree. Gradients are whole numbers: any order sums alike.
void fetch_everything_in_stripes(Communicator& world, int wide_fan_out) {
  const ScheduleRule rule{.small_chunk_bytes = 0, .piece_bytes = 128, .wide_fan_out = wide_fan_out};
  Model model(world, 5, 6, at::kFloat, rule);
  model.registry.initialize(3, 0.02);
  const auto initial = masters_of_one_rank(6, 3);
  std::vector<int32_t> all(5);
  std::iota(all.begin(), all.end(), 0);
  const auto everywhere = ExpertPlacement::create(5, std::vector(6, all));
  Lease lease = model.store.acquire({1}, everywhere, LeaseUse::kBackward);
  for (int expert = 0; expert < 6; ++expert) {
    EXPECT_TRUE(
        at::equal(lease.weights.at(expert).down, initial.at(expert_name(1, expert, "down"))));
    lease.gradients.at(expert).gate_up.fill_(1 << (2 * world.rank()));
    lease.gradients.at(expert).down.fill_(1 << (2 * world.rank()));
  }
  model.store.send_home(std::move(lease));
  model.store.finish_gradients();
  model.store.release({1});
  for (int expert = 0; expert < 6; ++expert) {
    if (model.store.owners(1)[expert] == world.rank()) {
      for (const char* matrix : {"gate", "up", "down"}) {
        const at::Tensor grad = model.registry.find(expert_name(1, expert, matrix)).column("grad");
        EXPECT_TRUE(grad.eq(1 + 4 + 16 + 64 + 256).all().item<bool>()) << expert << " " << matrix;
      }
    }
  }
}

TEST(ExpertStore, StripesBetweenNodesBringTheSame) {
  for (const int wide_fan_out : {1, 2}) {
    run_loopback(5,
                 [&](Communicator& world) { fetch_everything_in_stripes(world, wide_fan_out); },
                 {0, 0, 1, 2, 2});
  }
}

/// Of an element of a parameter's column, different from all others.
double moment_of(const std::string& name, const char* column, int64_t element) {
  const size_t hash = std::hash<std::string>()(name + column) % 100000;
  return static_cast<double>(hash) + static_cast<double>(element) / 64;
}

void fill_moments(const Model& model) {
  for (const LogicalParameter& parameter : model.registry.parameters()) {
    for (const char* column : {"exp_avg", "exp_avg_sq"}) {
      at::Tensor moment = parameter.column(column).flatten();
      for (int64_t i = 0; i < moment.numel(); ++i) {
        moment[i].fill_(moment_of(parameter.name, column, i));
      }
    }
    parameter.column("grad").fill_(7.0);
  }
}

/// That this rank has the experts that it owns, with the bits that they began with.
void expect_whole(const Model& model, const std::map<std::string, at::Tensor>& initial) {
  size_t owned = 0;
  for (int layer = 0; layer < model.store.num_layers(); ++layer) {
    const std::vector<int32_t>& owners = model.store.owners(layer);
    owned += std::count(owners.begin(), owners.end(), model.mesh.rank());
    for (int expert = 0; expert < std::ssize(owners); ++expert) {
      EXPECT_THAT(model.store.placement(layer).ranks_of(expert), ElementsAre(owners[expert]));
      for (const char* matrix : {"gate", "up", "down"}) {
        if (owners[expert] != model.mesh.rank()) {
          EXPECT_THROW(model.registry.find(expert_name(layer, expert, matrix)), UsageError);
          continue;
        }
        const LogicalParameter& parameter = model.registry.find(expert_name(layer, expert, matrix));
        const at::Tensor master = parameter.column("master");
        EXPECT_TRUE(at::equal(master, initial.at(parameter.name))) << parameter.name;
        EXPECT_EQ(parameter.column("grad").abs().max().item<double>(), 0.0);
        if (parameter.table->has_column("compute")) {
          EXPECT_TRUE(at::equal(parameter.column("compute"), master.to(at::kBFloat16)));
        }
        for (const char* column : {"exp_avg", "exp_avg_sq"}) {
          const at::Tensor moment = parameter.column(column).flatten();
          for (int64_t i = 0; i < moment.numel(); ++i) {
            EXPECT_EQ(moment[i].item<float>(),
                      static_cast<float>(moment_of(parameter.name, column, i)))
                << column << " of " << parameter.name;
          }
        }
      }
    }
  }
  EXPECT_EQ(model.registry.parameters().size(), 4 + 3 * owned);
}

TEST(ExpertStore, MovesWholeRowsToNewOwnersBitByBit) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    for (const int world_size : {1, 2, 3, 4, 8}) {
      const int experts = world_size == 8 ? 3 : 7;  // fewer than ranks, too
      const auto initial = masters_of_one_rank(experts, 9);
      std::vector<int> nodes(world_size);
      for (int rank = 0; rank < world_size; ++rank) {
        nodes[rank] = rank / 3;
      }
      run_loopback(
          world_size,
          [&](Communicator& world) {
            Model model(world, world_size, experts, type, {}, HomesOf::kOwners);
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
              for (size_t layer = 0; layer < after.size(); ++layer) {
                for (size_t expert = 0; expert < after[layer].size(); ++expert) {
                  differ += after[layer][expert] != before[layer][expert] ? 1 : 0;
                }
              }
              EXPECT_EQ(moved.experts, differ);
              const int64_t row_bytes = 64 * (type == at::kFloat ? 12 : 14);
              EXPECT_EQ(moved.bytes, differ * row_bytes);
              EXPECT_EQ(model.store.owners_have_moved(), world_size > 1);
              if (world_size > 1) {
                expect_whole(model, initial);
              }
            }
          },
          nodes);
    }
  }
}

TEST(ExpertStore, SendsGradientsToNewOwners) {
  run_loopback(3, [](Communicator& world) {
    Model model(world, 3, 4, at::kFloat, {}, HomesOf::kOwners);
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

TEST(ExpertStore, AlignsChunksTo256Bytes) {
  EXPECT_EQ((ExpertShape{3, 2}.chunk_elements()), 64);
  EXPECT_EQ((ExpertShape{8, 8}.chunk_elements()), 192);
  EXPECT_EQ((ExpertShape{8, 9}.chunk_elements()), 256);
}

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

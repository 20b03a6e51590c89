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
#include "tests/parallel/small_model.h"

namespace enodia {
namespace {

using testing::ElementsAre;

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

}  // namespace
}  // namespace enodia

#include <algorithm>
#include <functional>
#include <map>
#include <numeric>
#include <random>

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "collectives/collectives.h"
#include "collectives/decorators/faulty.h"
#include "collectives/loopback/loopback.h"
#include "common/error.h"
#include "parallel/exchange_counts.h"
#include "parallel/placement/static_placement.h"
#include "parallel/token_dispatcher.h"

namespace enodia {
namespace {

using testing::MatchesRegex;
using testing::ThrowsMessage;

const std::vector<std::vector<int>> kNodeMaps = {{0},
                                                 {0, 0},
                                                 {0, 1},
                                                 {0, 0, 0},
                                                 {0, 0, 1},
                                                 {0, 1, 1},
                                                 {0, 1, 2},
                                                 {0, 0, 0, 0},
                                                 {0, 0, 1, 1},
                                                 {0, 0, 0, 1},
                                                 {0, 1, 1, 1},
                                                 {0, 0, 1, 2},
                                                 {0, 1, 1, 2}};

int64_t count_of(int rank, int expert) {
  return (rank * 31 + expert * 17) % 11;
}

void check_counts(Communicator& group, const std::vector<int>& nodes, int experts) {
  std::vector<int64_t> mine;
  for (int expert = 0; expert < experts; ++expert) {
    mine.push_back(count_of(group.rank(), expert));
  }
  const ExchangedCounts counts = exchange_counts(group, mine, 0xFEDCBA9876543210ULL);

  const int num_nodes = nodes.back() + 1;
  const int my_node = nodes[group.rank()];
  std::vector<int64_t> node_totals(num_nodes * experts, 0), node_rows, totals(experts, 0);
  for (int rank = 0; rank < group.world_size(); ++rank) {
    for (int expert = 0; expert < experts; ++expert) {
      const int64_t count = count_of(rank, expert);
      node_totals[nodes[rank] * experts + expert] += count;
      totals[expert] += count;
      if (nodes[rank] == my_node) {
        node_rows.push_back(count);
      }
    }
  }
  EXPECT_EQ(counts.num_nodes, num_nodes);
  EXPECT_EQ(counts.num_experts, experts);
  EXPECT_EQ(counts.node_totals, node_totals);
  EXPECT_EQ(counts.node_rows, node_rows);
  EXPECT_EQ(counts.totals(), totals);
}

TEST(ExchangeCounts, TellsEveryRankWhatAGatherWould) {
  for (const auto& nodes : kNodeMaps) {
    for (const int experts : {1, 5}) {
      SCOPED_TRACE(testing::PrintToString(nodes));
      run_loopback(
          static_cast<int>(nodes.size()),
          [&](Communicator& group) { check_counts(group, nodes, experts); },
          nodes);
    }
  }
}

/// Exchanges with one hash on ranks below `first_other` and another on the rest.
void disagree_from(int first_other, const std::vector<int>& nodes) {
  run_loopback(
      static_cast<int>(nodes.size()),
      [&](Communicator& group) {
        exchange_counts(group, std::vector<int64_t>{1, 2}, group.rank() < first_other ? 7 : 8);
      },
      nodes);
}

TEST(ExchangeCounts, NamesRanksWhosePlansDiffer) {
  const auto names = [](const char* regex) {
    return ThrowsMessage<CommError>(MatchesRegex(regex));
  };
  EXPECT_THAT(
      [] {
        disagree_from(2, {0, 0, 0});
      },
      names("ranks (0 and 2|1 and 2|2 and 0) disagree on the plan.*"));
  EXPECT_THAT(
      [] {
        disagree_from(2, {0, 0, 1, 1});
      },
      names("ranks (0 and 2|1 and 2|2 and 0|3 and 0) disagree on the plan.*"));
  EXPECT_THAT(
      [] {
        disagree_from(3, {0, 0, 1, 1});
      },
      names("ranks (2 and 3|3 and 2) disagree on the plan.*"));
  EXPECT_NO_THROW(disagree_from(4, {0, 0, 1, 1}));
}

TEST(ExchangeCounts, RefusesAbsurdCounts) {
  for (const int64_t absurd : {int64_t{-1}, int64_t{1} << 60}) {
    for (const std::vector<int>& nodes : {std::vector{0, 0}, std::vector{0, 1}}) {
      const auto exchange = [&] {
        run_loopback(
            2,
            [&](Communicator& group) {
              exchange_counts(group, std::vector<int64_t>{1, group.rank() == 0 ? 2 : absurd}, 7);
            },
            nodes);
      };
      EXPECT_THAT(exchange,
                  ThrowsMessage<CommError>(MatchesRegex("rank 1 announces .* tokens for an expert "
                                                        "to rank [01];.*")));
    }
  }
}

TEST(ExchangeCounts, RefusesNodesWhoseRanksAreScattered) {
  EXPECT_THROW(disagree_from(3, {0, 1, 0}), UsageError);
}

/// A whole group's tokens, known to every rank of the test.
struct DispatchProblem {
  std::vector<int> nodes;
  ExpertPlacement placement;
  int64_t choices = 2;                                // K
  std::vector<std::vector<int32_t>> expert_ids = {};  // of each rank, [T, K]
  unsigned uneven = 0;                                // seed of uneven quotas; 0 = even ones
  int world() const { return static_cast<int>(nodes.size()); }
  int64_t tokens(int rank) const { return static_cast<int64_t>(expert_ids[rank].size()) / choices; }
};

/// Distinct experts for each token, some choices empty, some ranks without tokens.
void draw_tokens(DispatchProblem& problem, std::mt19937& random) {
  const int experts = problem.placement.num_experts();
  for (int rank = 0; rank < problem.world(); ++rank) {
    const int64_t tokens = random() % 4 == 0 ? 0 : static_cast<int64_t>(random() % 9);
    auto& ids = problem.expert_ids.emplace_back();
    for (int64_t token = 0; token < tokens; ++token) {
      std::vector<int32_t> order(experts);
      std::iota(order.begin(), order.end(), 0);
      std::shuffle(order.begin(), order.end(), random);
      order.resize(std::max<size_t>(order.size(), problem.choices), -1);
      for (int64_t k = 0; k < problem.choices; ++k) {
        ids.push_back(random() % 6 == 0 ? -1 : order[k]);
      }
    }
  }
}

/// One token copy on its way.
struct Copy {
  int source;
  int64_t token, k;
};

/// Of each replica's quota what is for tokens of other nodes: where a node's quotas of an expert
/// exceed its own tokens, the last replicas' first.
std::vector<int64_t> quotas_for_other_nodes(const DispatchProblem& problem,
                                            const ExpertPlan& plan) {
  std::vector<int64_t> from_afar(plan.quota.size(), 0);
  for (int expert = 0; expert < plan.placement.num_experts(); ++expert) {
    const auto ranks = plan.placement.ranks_of(expert);
    for (int node = 0; node <= problem.nodes.back(); ++node) {
      int64_t room = 0;
      for (int rank = 0; rank < problem.world(); ++rank) {
        const auto& ids = problem.expert_ids[rank];
        room -= problem.nodes[rank] == node ? std::count(ids.begin(), ids.end(), expert) : 0;
      }
      for (size_t i = 0; i < ranks.size(); ++i) {
        const int64_t quota = plan.quota[plan.placement.first_replica(expert) + i];
        room += problem.nodes[ranks[i]] == node ? quota : 0;
      }
      for (size_t i = ranks.size(); i-- > 0 && room > 0;) {
        const size_t replica = plan.placement.first_replica(expert) + i;
        if (problem.nodes[ranks[i]] == node) {
          from_afar[replica] = std::min(room, plan.quota[replica]);
          room -= from_afar[replica];
        }
      }
    }
  }
  return from_afar;
}

/// What rank `rank` shall receive in each of its slots: all copies of the group in order of rank,
/// token, k, dealt in three rounds to replicas whose quotas are not full: that of the copy's own
/// rank, those of its node, those of others.
std::vector<std::vector<Copy>> expected_slots(const DispatchProblem& problem,
                                              const ExpertPlan& plan,
                                              int rank) {
  std::vector<int64_t> far_left = quotas_for_other_nodes(problem, plan);
  std::vector<int64_t> near_left = plan.quota;
  for (size_t i = 0; i < near_left.size(); ++i) {
    near_left[i] -= far_left[i];
  }
  std::map<std::pair<int, int64_t>, int32_t> rank_of_copy;
  const std::vector<int>& nodes = problem.nodes;
  for (int round = 0; round < 3; ++round) {
    for (int source = 0; source < problem.world(); ++source) {
      for (int64_t i = 0; i < std::ssize(problem.expert_ids[source]); ++i) {
        const int32_t expert = problem.expert_ids[source][i];
        if (expert < 0 || rank_of_copy.contains({source, i})) {
          continue;
        }
        int replica = plan.placement.first_replica(expert);
        for (const int32_t host : plan.placement.ranks_of(expert)) {
          std::vector<int64_t>& left = round == 2 ? far_left : near_left;
          const bool allowed = round == 0   ? host == source
                               : round == 1 ? nodes[host] == nodes[source]
                                            : nodes[host] != nodes[source];
          if (allowed && left[replica] > 0) {
            --left[replica];
            rank_of_copy[{source, i}] = host;
            break;
          }
          ++replica;
        }
      }
    }
  }
  std::vector<std::vector<Copy>> slots(plan.placement.experts_on(rank).size());
  for (const auto& [copy, host] : rank_of_copy) {
    const auto& [source, place] = copy;
    if (host == rank) {
      const int slot = plan.placement.slot_of(rank, problem.expert_ids[source][place]);
      slots[slot].push_back({source, place / problem.choices, place % problem.choices});
    }
  }
  return slots;
}

std::vector<int64_t> totals_of(const DispatchProblem& problem) {
  std::vector<int64_t> totals(problem.placement.num_experts(), 0);
  for (const auto& ids : problem.expert_ids) {
    for (const int32_t id : ids) {
      if (id >= 0) {
        ++totals[id];
      }
    }
  }
  return totals;
}

/// Each expert's tokens in random parts, none included.
ExpertPlan uneven_plan(const ExpertPlacement& placement,
                       const std::vector<int64_t>& totals,
                       unsigned seed) {
  std::mt19937 random(seed);
  ExpertPlan plan = even_plan(placement, totals);
  for (int expert = 0; expert < placement.num_experts(); ++expert) {
    const size_t first = placement.first_replica(expert);
    const size_t last = first + placement.ranks_of(expert).size();
    int64_t left = totals[expert];
    for (size_t replica = first; replica + 1 < last; ++replica) {
      plan.quota[replica] = static_cast<int64_t>(random() % (left + 1));
      left -= plan.quota[replica];
    }
    plan.quota[last - 1] = left;
  }
  return plan;
}

/// One rank's side of a dispatch.
struct Dispatched {
  ExpertPlan plan;
  TokenMap map;
};

Dispatched dispatch(Communicator& group, const DispatchProblem& problem) {
  const std::vector<int32_t>& ids = problem.expert_ids[group.rank()];
  std::vector<int64_t> mine(problem.placement.num_experts(), 0);
  at::Tensor expert_ids = at::empty({problem.tokens(group.rank()), problem.choices}, at::kInt);
  for (size_t i = 0; i < ids.size(); ++i) {
    expert_ids.data_ptr<int32_t>()[i] = ids[i];
    if (ids[i] >= 0) {
      ++mine[ids[i]];
    }
  }
  const ExchangedCounts counts = exchange_counts(group, mine, 1);
  ExpertPlan plan = problem.uneven != 0
                        ? uneven_plan(problem.placement, counts.totals(), problem.uneven)
                        : even_plan(problem.placement, counts.totals());
  TokenMap map = TokenDispatcher(group).plan(expert_ids, counts, plan);
  return {std::move(plan), std::move(map)};
}

at::Tensor filled(at::IntArrayRef shape, const std::function<double(int64_t)>& value) {
  at::Tensor tensor = at::empty(shape, at::kDouble);
  for (int64_t i = 0; i < tensor.numel(); ++i) {
    tensor.data_ptr<double>()[i] = value(i);
  }
  return tensor;
}

std::vector<double> values_of(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.contiguous();
  return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
}

double tag(const Copy& copy) {
  return 1e4 * copy.source + 10.0 * static_cast<double>(copy.token);
}

/// Rows and weights arrive where, and in the order, that brute force says.
void check_send(Communicator& group, const DispatchProblem& problem) {
  const auto [plan, map] = dispatch(group, problem);
  const TokenDispatcher dispatcher(group);
  const int64_t tokens = problem.tokens(group.rank());
  const at::Tensor rows =
      dispatcher
          .send(map,
                filled({tokens, 2},
                       [&](int64_t i) {
                         return tag({group.rank(), i / 2, 0}) + static_cast<double>(i % 2);
                       }))
          .wait();
  const at::Tensor weights =
      dispatcher
          .send_choices(map,
                        filled({tokens, problem.choices},
                               [&](int64_t i) {
                                 return tag({group.rank(), i / problem.choices, 0}) +
                                        static_cast<double>(i % problem.choices);
                               }))
          .wait();
  std::vector<double> expected_rows, expected_weights;
  std::vector<int64_t> expected_offsets{0};
  for (const auto& slot : expected_slots(problem, plan, group.rank())) {
    for (const Copy& copy : slot) {
      expected_rows.push_back(tag(copy));
      expected_rows.push_back(tag(copy) + 1);
      expected_weights.push_back(tag(copy) + static_cast<double>(copy.k));
    }
    expected_offsets.push_back(expected_offsets.back() + static_cast<int64_t>(slot.size()));
  }
  EXPECT_EQ(map.slot_offsets, expected_offsets);
  EXPECT_EQ(values_of(rows), expected_rows);
  EXPECT_EQ(values_of(weights), expected_weights);
}

/// A number whose float sums depend on the order.
float result_of(int rank, int64_t row) {
  return (row % 2 == 0 ? 1.0F : -3e5F) / static_cast<float>(3 + 7 * rank + row);
}

/// Results come back to their token, added in order of k; their numbers to their choice.
void check_collect(Communicator& group, const DispatchProblem& problem) {
  const auto [plan, map] = dispatch(group, problem);
  const TokenDispatcher dispatcher(group);
  const at::Tensor y =
      filled({map.num_received(), 1}, [&](int64_t i) { return result_of(group.rank(), i); });
  const at::Tensor sums = dispatcher.collect(map, y.to(at::kFloat)).wait();
  const at::Tensor choices = dispatcher.collect_choices(map, y.reshape({-1})).wait();

  const int64_t tokens = problem.tokens(group.rank());
  std::vector<float> results(tokens * problem.choices, 0.0F);
  for (int rank = 0; rank < problem.world(); ++rank) {
    int64_t row = 0;
    for (const auto& slot : expected_slots(problem, plan, rank)) {
      for (const Copy& copy : slot) {
        if (copy.source == group.rank()) {
          results[copy.token * problem.choices + copy.k] = result_of(rank, row);
        }
        ++row;
      }
    }
  }
  ASSERT_EQ(sums.sizes(), (std::vector<int64_t>{tokens, 1}));
  ASSERT_EQ(choices.sizes(), (std::vector<int64_t>{tokens, problem.choices}));
  for (int64_t token = 0; token < tokens; ++token) {
    float sum = 0.0F;
    for (int64_t k = 0; k < problem.choices; ++k) {
      const float result = results[token * problem.choices + k];
      EXPECT_EQ(choices.data_ptr<double>()[token * problem.choices + k], result);
      sum += result;
    }
    EXPECT_EQ(sums.data_ptr<float>()[token], sum) << "token " << token << ", bit for bit";
  }
}

void check_transposes(Communicator& group, const DispatchProblem& problem) {
  const auto [plan, map] = dispatch(group, problem);
  const TokenDispatcher dispatcher(group);
  std::mt19937 random(group.rank() + 1);
  std::normal_distribution<double> normal;
  const auto draw = [&](int64_t) { return normal(random); };
  const auto product = [&](const at::Tensor& a, const at::Tensor& b) {
    return all_reduce_value(group, (a * b).sum().item<double>(), ReduceOp::kSum);
  };
  const int64_t tokens = problem.tokens(group.rank());
  const at::Tensor x = filled({tokens, 3}, draw);
  const at::Tensor y = filled({map.num_received(), 3}, draw);
  EXPECT_NEAR(product(dispatcher.send(map, x).wait(), y),
              product(x, dispatcher.collect(map, y).wait()),
              1e-11);
  const at::Tensor w = filled({tokens, problem.choices}, draw);
  const at::Tensor v = filled({map.num_received()}, draw);
  EXPECT_NEAR(product(dispatcher.send_choices(map, w).wait(), v),
              product(w, dispatcher.collect_choices(map, v).wait()),
              1e-11);
}

void check_quotas(Communicator& group, const DispatchProblem& problem) {
  const auto [plan, map] = dispatch(group, problem);
  if (problem.uneven == 0) {
    EXPECT_EQ(plan.quota, even_plan(problem.placement, totals_of(problem)).quota);
  }
  const auto experts = plan.placement.experts_on(group.rank());
  for (size_t slot = 0; slot < experts.size(); ++slot) {
    const auto ranks = plan.placement.ranks_of(experts[slot]);
    const auto replica = std::find(ranks.begin(), ranks.end(), group.rank()) - ranks.begin();
    EXPECT_EQ(map.slot_offsets[slot + 1] - map.slot_offsets[slot],
              plan.quota[plan.placement.first_replica(experts[slot]) + replica]);
  }
}

/// Rows are rounded on the wire, those that stay here too, and nowhere else.
void check_wire(Communicator& group, const DispatchProblem& problem) {
  const auto [plan, map] = dispatch(group, problem);
  const TokenDispatcher plain(group);
  const auto look = [](const CompletedOperation& done) {
    EXPECT_TRUE(done.received.empty() || done.dtype == DType::kBFloat16);
  };
  const std::unique_ptr<Communicator> watched =
      make_faulty(group.split(0, group.rank()), Traffic::kTokens, look);
  const TokenDispatcher rounding(*watched, {}, DType::kBFloat16);
  const auto odd = [](int64_t i) { return 1.0 + static_cast<double>(i % 1000) / 1000.0; };
  const at::Tensor x = filled({problem.tokens(group.rank()), 3}, odd).to(at::kFloat);
  const at::Tensor rounded = x.to(at::kBFloat16).to(at::kFloat);
  const at::Tensor sent = rounding.send(map, x).wait();
  EXPECT_EQ(sent.scalar_type(), at::kFloat);
  EXPECT_TRUE(sent.equal(plain.send(map, rounded).wait()));
  const at::Tensor y = filled({map.num_received(), 3}, odd).to(at::kFloat);
  const at::Tensor collected = rounding.collect(map, y).wait();
  EXPECT_EQ(collected.scalar_type(), at::kFloat);
  EXPECT_TRUE(collected.equal(plain.collect(map, y.to(at::kBFloat16).to(at::kFloat)).wait()));
  // What is bfloat16 already arrives so, and is added up in float32.
  const at::Tensor narrow = y.to(at::kBFloat16);
  EXPECT_TRUE(plain.collect(map, narrow).wait().equal(collected));
  EXPECT_EQ(plain.send(map, x.to(at::kBFloat16)).wait().scalar_type(), at::kBFloat16);
}

using Check = void (*)(Communicator&, const DispatchProblem&);

void run(const DispatchProblem& problem, Check check) {
  SCOPED_TRACE("nodes " + testing::PrintToString(problem.nodes) + ", placement " +
               problem.placement.to_string());
  run_loopback(
      problem.world(), [&](Communicator& group) { check(group, problem); }, problem.nodes);
}

class TokenDispatch : public testing::TestWithParam<Check> {};

TEST_P(TokenDispatch, HoldsForRandomTokensInEveryWorld) {
  std::mt19937 random(5);
  for (const auto& nodes : kNodeMaps) {
    const int world = static_cast<int>(nodes.size());
    for (const int experts : {1, 2, 3, 7}) {
      DispatchProblem problem{nodes, static_placement(2, experts, world, world)[1].homes};
      draw_tokens(problem, random);
      run(problem, GetParam());
    }
  }
}

TEST_P(TokenDispatch, HoldsForPlacementsWithReplicasAndEmptyRanks) {
  std::mt19937 random(6);
  const std::vector<std::vector<int32_t>> holders{{0, 2, 3}, {0}, {2, 3}, {0, 2}};
  const std::vector<std::vector<int>> node_maps{{0, 0, 1, 1}, {0, 0, 0, 0}, {0, 1, 1, 2}};
  for (unsigned repeat = 0; repeat < 12; ++repeat) {
    DispatchProblem problem{node_maps[repeat % 3], ExpertPlacement::create(4, holders), 3};
    problem.uneven = repeat / 3;
    draw_tokens(problem, random);
    run(problem, GetParam());
  }
}

TEST_P(TokenDispatch, HoldsWhenAllTokensWantOneExpert) {
  const std::vector<int32_t> wanted{1, -1, 1, -1, 1, -1, 1, -1, 1, -1};
  const std::vector<int32_t> few{-1, 1};
  for (const int experts : {2, 6}) {
    run({{0, 0, 1, 1}, static_placement(1, experts, 4, 4)[0].homes, 2, {wanted, {}, few, wanted}},
        GetParam());
  }
}

TEST_P(TokenDispatch, HoldsWithoutAnyToken) {
  run({{0, 0, 1}, static_placement(1, 4, 3, 3)[0].homes, 2, {{}, {}, {}}}, GetParam());
  run({{0, 1}, static_placement(1, 2, 2, 2)[0].homes, 1, {{-1, -1}, {-1}}}, GetParam());
}

const std::vector<std::string> kCheckNames{"Send", "Collect", "Transposes", "Quotas", "Wire"};

INSTANTIATE_TEST_SUITE_P(
    Checks,
    TokenDispatch,
    testing::Values(check_send, check_collect, check_transposes, check_quotas, check_wire),
    [](const auto& test) { return kCheckNames[test.index]; });

enum class Spoilers { kRank0, kAll };

/// Two ranks with an expert each and one token for each of them, which spoil what they planned
/// with.
void plan_from(const std::function<void(ExchangedCounts&, ExpertPlan&)>& spoil,
               Spoilers spoilers = Spoilers::kRank0) {
  run_loopback(2, [&](Communicator& group) {
    ExchangedCounts counts = exchange_counts(group, std::vector<int64_t>{1, 1}, 7);
    ExpertPlan plan = even_plan(static_placement(1, 2, 2, 2)[0].homes, counts.totals());
    if (group.rank() == 0 || spoilers == Spoilers::kAll) {
      spoil(counts, plan);
    }
    const at::Tensor ids = at::zeros({2, 1}, at::kInt);
    ids[1].fill_(1);
    TokenDispatcher(group).plan(ids, counts, plan);
  });
}

TEST(TokenDispatcher, RefusesRanksThatPlanFromDifferentCounts) {
  const auto swap_rows = [](ExchangedCounts& counts, ExpertPlan&) {
    counts.node_rows = {2, 1, 0, 1};
  };
  EXPECT_THAT([&] { plan_from(swap_rows); },
              ThrowsMessage<CommError>(MatchesRegex(
                  "ranks (0 and 1|1 and 0) have different plans, or counts of tokens.*")));
}

TEST(TokenDispatcher, RefusesRanksWithDifferentPlans) {
  const auto larger_quota = [](ExchangedCounts&, ExpertPlan& plan) { plan.quota[0] = 3; };
  EXPECT_THAT([&] { plan_from(larger_quota, Spoilers::kRank0); },
              ThrowsMessage<CommError>(testing::HasSubstr("have different plans")));
}

TEST(TokenDispatcher, RefusesCopiesBeyondTheQuota) {
  const auto too_few = [](ExchangedCounts&, ExpertPlan& plan) { plan.quota[1] = 0; };
  EXPECT_THAT([&] { plan_from(too_few, Spoilers::kAll); },
              ThrowsMessage<CommError>(MatchesRegex("there are more copies of expert 1 than.*")));
  const auto too_many = [](ExchangedCounts&, ExpertPlan& plan) { plan.quota[0] = 3; };
  EXPECT_THAT([&] { plan_from(too_many, Spoilers::kAll); },
              ThrowsMessage<CommError>(
                  MatchesRegex("rank 0 is to compute 3 token copies of expert 0, but.*")));
}

TEST(TokenDispatcher, RefusesThePlanOfAnotherGroup) {
  const auto group = make_single_rank_communicator();
  const auto homes = static_placement(1, 2, 2, 2)[0].homes;
  const std::vector<int64_t> none{0, 0};
  const ExchangedCounts counts = exchange_counts(*group, none, 1);
  EXPECT_THROW(
      TokenDispatcher(*group).plan(at::zeros({0, 1}, at::kInt), counts, even_plan(homes, none)),
      UsageError);
}

}  // namespace
}  // namespace enodia

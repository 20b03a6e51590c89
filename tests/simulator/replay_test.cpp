// Every policy makes valid plans, the same ones again, and looks at nothing before its time.
#include "simulator/replay.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>

#include "common/error.h"
#include "parallel/placement/node_counts.h"
#include "parallel/placement/policies/enodia.h"

#include "simulator/generated_trace.h"
#include "simulator/replay_policies.h"

namespace enodia {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

const PolicyEntry& policy_called(std::string_view name) {
  const auto policies = replay_policies();
  return *std::find_if(
      policies.begin(), policies.end(), [&](const PolicyEntry& e) { return e.name == name; });
}

struct Shape {
  GeneratedTrace trace;
  int nodes;
  int slots;
};

std::vector<Shape> shapes() {
  return {{{}, 2, 1},
          {{}, 4, 2},
          {{}, 1, 2},
          {{.ranks = 4, .experts = 12, .decay = 2.0}, 2, 1},  // all to one expert, nearly
          {{.ranks = 6, .experts = 6, .tokens = 0}, 3, 2},    // nothing at all
          {{.ranks = 3, .experts = 7, .tokens = 50}, 3, 4},   // odd numbers
          {{.ranks = 4, .experts = 64, .decay = 0.05}, 2, 8},
          {{.ranks = 2, .experts = 4, .drift = 3.0}, 2, 0},  // no slots, wild drift
          {{.ranks = 8, .experts = 3}, 4, 1},                // ranks that own nothing
          {{.ranks = 8, .experts = 3}, 2, 0},
          {{.ranks = 1, .experts = 5}, 1, 2},
          {{.ranks = 4, .experts = 6}, 2, 0},  // uneven, and no room but at home
          {{.ranks = 5, .experts = 1, .decay = 0.0}, 5, 3},
          {{.samples = 24, .ranks = 4, .tokens = 300}, 2, 1}};  // long enough for owners to move
}

/// What a policy says, a line for each plan.
std::vector<std::string> plans_of(const RoutingTrace& trace,
                                  const PolicyEntry& policy,
                                  const Shape& shape) {
  std::vector<std::string> lines;
  replay(trace,
         policy,
         Topology::uniform(shape.nodes, trace.num_ranks() / shape.nodes),
         shape.slots,
         [&](int sample, int layer, const LayerPlan& plan) {
           lines.push_back(to_json_line(sample, layer, plan));
         });
  return lines;
}

class Policies : public ::testing::TestWithParam<PolicyEntry> {};

TEST_P(Policies, MakeValidPlansTwice) {
  for (const Shape& shape : shapes()) {
    const RoutingTrace trace = generate_trace(shape.trace);
    EXPECT_EQ(plans_of(trace, GetParam(), shape), plans_of(trace, GetParam(), shape));
  }
}

// Another last sample changes no plan before it, and neither owners nor predictions of its own.
TEST_P(Policies, LookAtNothingBeforeItsTime) {
  for (const Shape& shape : shapes()) {
    const RoutingTrace trace = generate_trace(shape.trace);
    const size_t layer_size = static_cast<size_t>(trace.num_ranks()) * trace.num_experts();
    std::vector<int32_t> changed;
    for (int sample = 0; sample < trace.num_samples(); ++sample) {
      for (int layer = 0; layer < trace.num_layers(); ++layer) {
        const LayerCounts counts = trace.at(sample, layer);
        changed.insert(changed.end(), counts.tokens.begin(), counts.tokens.end());
      }
    }
    std::reverse(changed.end() - static_cast<std::ptrdiff_t>(layer_size), changed.end());
    const RoutingTrace other(
        trace.num_samples(), trace.num_layers(), trace.num_ranks(), trace.num_experts(), changed);
    const auto before = plans_of(trace, GetParam(), shape);
    const auto after = plans_of(other, GetParam(), shape);
    EXPECT_TRUE(std::equal(before.begin(), before.end() - 1, after.begin()));
    const auto foreseen = [](const std::string& line) {
      return line.substr(0, line.find("\"replicas\""));
    };
    EXPECT_EQ(foreseen(before.back()), foreseen(after.back()));
  }
}

/// One policy on its way through a trace.
struct Planner {
  Planner(const RoutingTrace& trace, const PolicyEntry& entry, const Shape& shape)
      : topology(Topology::uniform(shape.nodes, trace.num_ranks() / shape.nodes)),
        policy(entry.make(
            {topology,
             trace.num_layers(),
             trace.num_experts(),
             shape.slots,
             block_owners(trace.num_layers(), trace.num_experts(), trace.num_ranks())})) {}
  std::string plan(const LayerCounts& counts, int sample, int layer) {
    resolve(counts, layer);
    policy->observe(layer, counts);
    return to_json_line(sample, layer, made);
  }
  void resolve(const LayerCounts& counts, int layer) {
    policy->predict(layer, predicted);
    policy->resolve(layer, counts, predicted, made);
  }
  Topology topology;
  std::unique_ptr<PlacementPolicy> policy;
  Replicas predicted;
  LayerPlan made;
};

TEST_P(Policies, GoOnFromWhatTheyHaveSaved) {
  for (const Shape& shape : shapes()) {
    const RoutingTrace trace = generate_trace(shape.trace);
    Planner first(trace, GetParam(), shape);
    std::optional<Planner> second;
    for (int sample = 0; sample < trace.num_samples(); ++sample) {
      if (sample == trace.num_samples() / 2) {
        second.emplace(trace, GetParam(), shape);
        ASSERT_TRUE(second->policy->restore(first.policy->save()));
      }
      for (int layer = 0; layer < trace.num_layers(); ++layer) {
        const std::string plan = first.plan(trace.at(sample, layer), sample, layer);
        if (second) {
          EXPECT_EQ(second->plan(trace.at(sample, layer), sample, layer), plan);
        }
      }
    }
  }
}

// Numbers behind a replica on the last rank: there is no rank for them.
TEST(EnodiaPolicy, RefusesReplicasBehindTheLastRank) {
  const PolicySetup setup{Topology::uniform(1, 4), 1, 4, 2, {{0, 1, 2, 3}}};
  const auto policy = make_enodia_policy(setup);
  std::vector<int64_t> saved = policy->save();
  // Plans, exact plans, the cost and the steps of the layer, then each expert's replicas.
  saved[4] = 3;
  saved.insert(saved.begin() + 5, {1, 3, 3});
  EXPECT_FALSE(policy->restore(saved));
  saved[4] = 2;
  saved.erase(saved.begin() + 7);
  EXPECT_TRUE(policy->restore(saved));
}

// What is no state of this policy is refused, or is one of its states: it plans on validly.
TEST_P(Policies, RefuseWhatTheyHaveNotSaved) {
  std::mt19937 random(3);
  const Shape shape = shapes()[5];
  const RoutingTrace trace = generate_trace(shape.trace);
  Planner planner(trace, GetParam(), shape);
  for (int layer = 0; layer < trace.num_layers(); ++layer) {
    planner.plan(trace.at(0, layer), 0, layer);
  }
  const std::vector<int64_t> saved = planner.policy->save();
  for (int repeat = 0; repeat < 300; ++repeat) {
    std::vector<int64_t> damaged = saved;
    for (int changes = 1 + static_cast<int>(random() % 3); changes > 0 && !damaged.empty();
         --changes) {
      const size_t at = random() % damaged.size();
      switch (random() % 4) {
        case 0:
          damaged[at] = static_cast<int64_t>(random()) << (random() % 33);
          break;
        case 1:
          damaged[at] -= static_cast<int64_t>(random() % 9);
          break;
        case 2:
          damaged.resize(at);
          break;
        default:
          damaged.insert(damaged.begin() + static_cast<std::ptrdiff_t>(at), 1);
      }
    }
    planner.policy->restore(damaged);
    for (int layer = 0; layer < trace.num_layers(); ++layer) {
      const LayerCounts counts = trace.at(1, layer);
      planner.resolve(counts, layer);
      EXPECT_NO_THROW(check_plan(planner.made, counts, planner.topology));
    }
  }
}

// In training a policy that says that it plans by nodes gets a row of each.
TEST_P(Policies, ReadNoMoreThanTheySay) {
  if (GetParam().reads == CountsReach::kRanks) {
    return;
  }
  for (const Shape& shape : shapes()) {
    const RoutingTrace trace = generate_trace(shape.trace);
    Planner by_ranks(trace, GetParam(), shape);
    Planner by_nodes(trace, GetParam(), shape);
    for (int sample = 0; sample < trace.num_samples(); ++sample) {
      for (int layer = 0; layer < trace.num_layers(); ++layer) {
        const LayerCounts counts = trace.at(sample, layer);
        const NodeCounts of_nodes(counts, by_nodes.topology);
        EXPECT_EQ(by_nodes.plan({counts.num_experts, of_nodes.tokens()}, sample, layer),
                  by_ranks.plan(counts, sample, layer));
      }
    }
  }
}

/// But those that take too long.
std::vector<PolicyEntry> quick_policies() {
  std::vector<PolicyEntry> quick;
  for (const PolicyEntry& entry : replay_policies()) {
    if (!entry.by_name_alone) {
      quick.push_back(entry);
    }
  }
  return quick;
}

INSTANTIATE_TEST_SUITE_P(All,
                         Policies,
                         ::testing::ValuesIn(quick_policies()),
                         [](const auto& test) { return std::string(test.param.name); });

int64_t patches_of(const LayerPlan& plan) {
  return count_transfers(plan) - std::ssize(plan.predicted.values());
}

TEST(EnodiaPolicy, KeepsToItsSlotsAndSeldomPlansAnew) {
  for (const Shape& shape : shapes()) {
    const RoutingTrace trace = generate_trace(shape.trace);
    int64_t plans = 0;
    int64_t exact = 0;
    const auto look = [&](int, int, const LayerPlan& plan) {
      ++plans;
      exact += plan.exact ? 1 : 0;
      EXPECT_TRUE(plan.exact || patches_of(plan) <= 16);
      for (const Replicas* replicas : {&plan.predicted, &plan.replicas}) {
        std::vector<int> used(trace.num_ranks(), 0);
        for (const int32_t rank : replicas->values()) {
          EXPECT_LE(++used[rank], shape.slots);
        }
      }
    };
    replay(trace,
           policy_called("enodia"),
           Topology::uniform(shape.nodes, trace.num_ranks() / shape.nodes),
           shape.slots,
           look);
    EXPECT_LE(exact * 10, plans);
  }
}

// What placement is for: the slowest rank is no slower than the mean, and tokens stay in their
// node.
TEST(EnodiaPolicy, BalancesWhatEmulatedRoutersDo) {
  const GeneratedTrace steady{.samples = 12, .layers = 3, .ranks = 16, .experts = 32};
  const RoutingTrace trace = generate_trace(steady);
  const Topology topology = Topology::uniform(2, 8);
  const auto summary = [&](std::string_view name) {
    return replay(trace, policy_called(name), topology, 2);
  };
  const ReplaySummary enodia = summary("enodia");
  const ReplaySummary owners = summary("owners");
  EXPECT_GT(owners.mean_imbalance, 3.0);
  EXPECT_NEAR(owners.inter_node, 0.5, 0.05);
  EXPECT_LT(enodia.mean_imbalance, 1.05);
  EXPECT_LT(enodia.p95_imbalance, 1.15);
  EXPECT_LT(enodia.inter_node, 0.12);
  EXPECT_LT(enodia.transfers, 26);
  for (const PolicyEntry& rival : quick_policies()) {
    const ReplaySummary theirs = summary(rival.name);
    const bool as_good = theirs.mean_imbalance <= enodia.mean_imbalance &&
                         theirs.inter_node <= enodia.inter_node &&
                         theirs.transfers <= enodia.transfers;
    EXPECT_EQ(as_good, rival.name == "enodia") << rival.name;
  }
}

// On no kind of routing, over nodes or in one, is a rival as good in all that a plan costs.
TEST(EnodiaPolicy, IsMatchedByNoneInEverything) {
  for (const TracePreset& preset : trace_presets()) {
    for (const auto& [nodes, ranks] : {std::pair(2, 4), std::pair(1, 8), std::pair(1, 32)}) {
      const RoutingTrace trace = on_cluster(preset, nodes, ranks);
      const Topology topology = Topology::uniform(nodes, ranks);
      for (const int slots : {1, 2, 4}) {
        const ReplaySummary enodia = replay(trace, policy_called("enodia"), topology, slots);
        for (const PolicyEntry& rival : quick_policies()) {
          const ReplaySummary theirs = replay(trace, rival, topology, slots);
          EXPECT_TRUE(rival.name == "enodia" || enodia.mean_imbalance < theirs.mean_imbalance ||
                      enodia.inter_node < theirs.inter_node || enodia.transfers < theirs.transfers)
              << preset.name << " on " << nodes << " x " << ranks << ", " << slots
              << " slots: " << rival.name;
        }
      }
    }
  }
}

// Replicas stay inside the slots of a rank; the older policies with slots of their own are known.
TEST(ReplayPolicies, KeepToTheSlotsOfARank) {
  for (const std::string_view name : {"smartmoe", "flexmoe", "symi"}) {
    for (const Shape& shape : shapes()) {
      const RoutingTrace trace = generate_trace(shape.trace);
      const Topology topology = Topology::uniform(shape.nodes, trace.num_ranks() / shape.nodes);
      replay(
          trace, policy_called(name), topology, shape.slots, [&](int, int, const LayerPlan& plan) {
            std::vector<int> used(trace.num_ranks(), 0);
            for (const int32_t rank : plan.replicas.values()) {
              EXPECT_LE(++used[rank], shape.slots) << name;
            }
          });
    }
  }
}

/// Owners of the second micro-batch on, by hand.
class MovingPolicy : public PlacementPolicy {
 public:
  explicit MovingPolicy(std::vector<int32_t> then) : owners_{0, 0, 1, 1}, then_(std::move(then)) {}
  void predict(int, Replicas& replicas) const override { replicas = Replicas(4); }
  void resolve(int,
               const LayerCounts& counts,
               const Replicas& predicted,
               LayerPlan& plan) override {
    plan = {owners_, predicted, predicted, {}};
    for (const int64_t tokens : counts.totals()) {
      plan.quotas.add_row(std::span(&tokens, 1));
    }
  }
  void observe(int, const LayerCounts&) override { owners_ = then_; }
  void set_owners(const std::vector<std::vector<int32_t>>& owners) override { owners_ = owners[0]; }
  std::vector<int64_t> save() const override { return {}; }
  bool restore(std::span<const int64_t>) override { return true; }

 private:
  std::vector<int32_t> owners_, then_;
};

template <int last_owner>
std::unique_ptr<PlacementPolicy> make_moving(const PolicySetup&) {
  return std::make_unique<MovingPolicy>(std::vector<int32_t>{1, 0, 0, last_owner});
}

// Two of four experts move before the second of three micro-batches: one move a plan.
TEST(Replay, ChargesAMoveAsSevenReplicas) {
  const RoutingTrace trace(3, 1, 2, 4, std::vector<int32_t>(24, 5));
  const ReplaySummary summary =
      replay(trace, {"moving", "", "", make_moving<1>}, Topology::uniform(1, 2), 0);
  EXPECT_EQ(summary.owner_moves, 1.0);
  EXPECT_EQ(summary.transfers, 7.0);
}

TEST(Replay, RefusesARankThatOwnsMoreThanItsShare) {
  const RoutingTrace trace(3, 1, 2, 4, std::vector<int32_t>(24, 5));
  EXPECT_THAT(
      [&] {
        replay(trace, {"moving", "", "", make_moving<0>}, Topology::uniform(1, 2), 0);
      },
      ThrowsMessage<UsageError>(HasSubstr("rank 0 owns 3 experts of all layers, more than 2")));
}

TEST(CheckPlan, NamesWhatIsWrong) {
  const std::vector<int32_t> tokens{3, 4, 5, 6};  // two ranks, two experts
  const LayerCounts counts{2, tokens};
  const Topology topology = Topology::uniform(1, 2);
  const LayerPlan good{{0, 1}, {{}, {}}, {{1}, {}}, {{2, 6}, {10}}};
  check_plan(good, counts, topology);
  LayerPlan plan = good;
  plan.quotas[0][1] = 5;
  EXPECT_THAT([&] { check_plan(plan, counts, topology); },
              ThrowsMessage<UsageError>(HasSubstr("must sum to its tokens")));
  plan = good;
  plan.quotas = {{-1, 9}, {10}};
  EXPECT_THROW(check_plan(plan, counts, topology), UsageError);
  plan = good;
  plan.replicas = {{0}, {}};
  EXPECT_THROW(check_plan(plan, counts, topology), UsageError);
  plan = good;
  plan.predicted = {{}, {2}};
  EXPECT_THROW(check_plan(plan, counts, topology), UsageError);
}

TEST(PlanLine, IsWhatTheDocumentationSays) {
  const LayerPlan plan{{0, 1}, {{}, {0}}, {{1}, {}}, {{2, 6}, {10}}};
  EXPECT_EQ(to_json_line(3, 1, plan),
            R"({"sample":3,"layer":1,"owners":[0,1],"predicted":[[],[0]],"replicas":[[1],[]],)"
            R"("quotas":[[2,6],[10]]})");
}

}  // namespace
}  // namespace enodia

// Every policy makes valid plans, the same ones again, and looks at nothing before its time.
#include "simulator/replay.h"

#include <algorithm>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "common/error.h"
#include "tests/simulator/generated_trace.h"

namespace enodia {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

const PolicyEntry& policy_called(std::string_view name) {
  const auto policies = placement_policies();
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
          {{.ranks = 2, .experts = 4, .drift = 3.0}, 2, 0}};  // no slots, wild drift
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

INSTANTIATE_TEST_SUITE_P(All,
                         Policies,
                         ::testing::ValuesIn(placement_policies().begin(),
                                             placement_policies().end()),
                         [](const auto& test) { return std::string(test.param.name); });

int64_t patches_of(const LayerPlan& plan) {
  int64_t predicted = 0;
  for (const std::vector<int32_t>& ranks : plan.predicted) {
    predicted += std::ssize(ranks);
  }
  return count_transfers(plan) - predicted;
}

TEST(EnodiaPolicy, KeepsToItsSlotsAndSeldomPlansAnew) {
  for (const Shape& shape : shapes()) {
    const RoutingTrace trace = generate_trace(shape.trace);
    int64_t plans = 0;
    int64_t exact = 0;
    const auto look = [&](int, int, const LayerPlan& plan) {
      ++plans;
      exact += patches_of(plan) > 4 ? 1 : 0;
      for (const Replicas* replicas : {&plan.predicted, &plan.replicas}) {
        std::vector<int> used(trace.num_ranks(), 0);
        for (const std::vector<int32_t>& ranks : *replicas) {
          for (const int32_t rank : ranks) {
            EXPECT_LE(++used[rank], shape.slots);
          }
        }
      }
    };
    replay(trace,
           policy_called("enodia"),
           Topology::uniform(shape.nodes, trace.num_ranks() / shape.nodes),
           shape.slots,
           look);
    EXPECT_LE(exact * 10, plans * 3);
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
  for (const PolicyEntry& rival : placement_policies()) {
    const ReplaySummary theirs = summary(rival.name);
    const bool as_good = theirs.mean_imbalance <= enodia.mean_imbalance &&
                         theirs.inter_node <= enodia.inter_node &&
                         theirs.transfers <= enodia.transfers;
    EXPECT_EQ(as_good, rival.name == "enodia") << rival.name;
  }
}

TEST(CheckPlan, NamesWhatIsWrong) {
  const std::vector<int32_t> tokens{3, 4, 5, 6};  // two ranks, two experts
  const LayerCounts counts{2, tokens};
  const Topology topology = Topology::uniform(1, 2);
  const LayerPlan good{{0, 1}, {{}, {}}, {{1}, {}}, {{2, 6}, {10}}};
  check_plan(good, counts, topology);
  LayerPlan plan = good;
  plan.quotas[0] = {2, 5};
  EXPECT_THAT([&] { check_plan(plan, counts, topology); },
              ThrowsMessage<UsageError>(HasSubstr("must sum to its tokens")));
  plan = good;
  plan.quotas[0] = {-1, 9};
  EXPECT_THROW(check_plan(plan, counts, topology), UsageError);
  plan = good;
  plan.replicas[0] = {0};
  EXPECT_THROW(check_plan(plan, counts, topology), UsageError);
  plan = good;
  plan.predicted[1] = {2};
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

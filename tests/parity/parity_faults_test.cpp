// Parity must fail for each fault listed here, or it proves nothing. The faults of communication
// are told by a lying communicator under the product; those of mathematics and data by giving the
// product another problem than the reference. All on w4 ep2, where experts have replicas and tokens
// travel: two MoE layers, one micro-batch a rank, two steps.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <functional>
#include <stdexcept>

#include <gmock/gmock.h>

#include "collectives/decorators/faulty.h"
#include "collectives/loopback/loopback.h"
#include "tests/parity/parity_comparison.h"

namespace enodia {
namespace {

using testing::IsEmpty;
using testing::Not;

// An operation on floating-point numbers that has just been completed on this rank.
struct CompletedCall : CompletedOperation {
  int64_t number = 0;  // how many such operations of this traffic came before, on this rank
};
using Lie = std::function<void(const CompletedCall&)>;

// The token exchanges of a micro-batch, layer by layer forward and then layer by layer backward.
enum TokenExchange { kDispatch, kWeights, kCombine, kGradients, kInputGradients, kWeightGradients };
constexpr int64_t kLayers = 2;
constexpr int64_t kTokenExchanges = 6 * kLayers;

bool is_token_exchange(const CompletedCall& call, TokenExchange exchange) {
  const int64_t place = call.number % kTokenExchanges;
  const int64_t pass = place < 3 * kLayers ? 0 : 3;  // forward, backward
  return call.traffic == Traffic::kTokens && place % 3 + pass == exchange;
}

// The expert exchanges: every layer's weights to the replicas when the masters are set; then, each
// step, every layer's gradients home and every layer's weights out.
bool is_gradient_home(const CompletedCall& call) {
  return call.traffic == Traffic::kReplicas && call.number % (2 * kLayers) >= kLayers;
}

bool is_refresh_after_step(const CompletedCall& call) {
  return call.traffic == Traffic::kReplicas && !is_gradient_home(call) && call.number >= kLayers;
}

bool is_dense_reduction(const CompletedCall& call) {
  return call.traffic == Traffic::kGradients;
}

// The floating-point reductions for control in a step: losses, norm.
enum Reduction { kLosses, kNorm, kReductions };

bool is_reduction(const CompletedCall& call, Reduction reduction) {
  return call.traffic == Traffic::kControl && call.number % kReductions == reduction;
}

template <typename Change>
void for_each_value(const CompletedCall& call, Change change) {
  for (const Buffer& buffer : call.received) {
    for (int64_t i = 0; i < buffer.count; ++i) {
      if (buffer.dtype == DType::kFloat64) {
        change(static_cast<double*>(buffer.data)[i]);
      } else if (buffer.dtype == DType::kBFloat16) {
        uint16_t& bits = static_cast<uint16_t*>(buffer.data)[i];
        float value = float_from_bfloat16(bits);
        change(value);
        bits = bfloat16_from_float(value);
      } else {
        change(static_cast<float*>(buffer.data)[i]);
      }
    }
  }
}

void lose(const CompletedCall& call) {
  for_each_value(call, [](auto& value) { value = 0; });
}

void double_all(const CompletedCall& call) {
  for_each_value(call, [](auto& value) { value *= 2; });
}

// The first and the last row of each message change places.
void swap_rows(const CompletedCall& call) {
  for (const Buffer& buffer : call.received) {
    const int64_t row = buffer.bytes() / buffer.count * parity_options().hidden_size;
    auto* first = static_cast<std::byte*>(buffer.data);
    std::swap_ranges(first, first + row, first + buffer.bytes() - row);
  }
}

void average_over_four(const CompletedCall& call) {
  for_each_value(call, [](auto& value) { value /= 4; });
}

void keep_own_contribution(const CompletedCall& call) {
  std::memcpy(call.received[0].data, call.contributed.data(), call.contributed.size());
}

struct Fault {
  std::string name;
  std::function<bool(const CompletedCall&)> applies = {};
  Lie lie = {};
  std::function<void(ParityCase&)> mistake = {};
  bool drowns_in_bfloat16 = false;  // smaller than what rounding may do there
};

Fault token_fault(const std::string& name, TokenExchange exchange, const Lie& lie) {
  return {name, [exchange](const auto& call) { return is_token_exchange(call, exchange); }, lie};
}

Fault reduction_fault(const std::string& name, Reduction reduction, const Lie& lie) {
  return {name, [reduction](const auto& call) { return is_reduction(call, reduction); }, lie};
}

Fault mistake(const std::string& name, const std::function<void(ReferenceMicroBatch&)>& change) {
  return {name, {}, {}, [change](ParityCase& parity_case) {
            for (auto& step : parity_case.steps) {
              std::for_each(step.begin(), step.end(), change);
            }
          }};
}

void join_documents(ReferenceMicroBatch& batch) {
  batch.segment_lengths = {static_cast<int64_t>(batch.tokens.size())};
}

void count_masked_tokens(ReferenceMicroBatch& batch) {
  std::replace(batch.labels.begin(), batch.labels.end(), int64_t{-1}, int64_t{0});
}

std::vector<Fault> faults() {
  return {
      token_fault("TokensAreLostOnTheWayToExperts", kDispatch, lose),
      token_fault("TokensReachEachOthersExperts", kDispatch, swap_rows),
      token_fault("RoutingWeightsAreDoubled", kWeights, double_all),
      token_fault("OutputsAreLostOnTheWayBack", kCombine, lose),
      token_fault("OutputsReturnToEachOthersTokens", kCombine, swap_rows),
      token_fault("GradientsOfOutputsAreLost", kGradients, lose),
      token_fault("GradientsOfInputsAreLost", kInputGradients, lose),
      token_fault("GradientsOfRoutingWeightsAreLost", kWeightGradients, lose),
      {"GradientsOfReplicasDoNotComeHome", is_gradient_home, lose},
      {"GradientsOfReplicasCountTwice", is_gradient_home, double_all},
      {"ReplicasMissTheUpdate", is_refresh_after_step, lose},
      {"DenseGradientsAreAveraged", is_dense_reduction, average_over_four},
      {"DenseGradientsStayLocal", is_dense_reduction, keep_own_contribution},
      reduction_fault("EachRankLogsItsOwnLoss", kLosses, keep_own_contribution),
      reduction_fault("EachRankClipsByItsOwnNorm", kNorm, keep_own_contribution),
      mistake("DocumentsLeak", join_documents),
      mistake("MaskedTokensCount", count_masked_tokens),
      {"WeightsAreNotRenormalized", {}, {}, [](auto& c) { c.options.norm_topk_prob = false; }},
      {"AuxLossIsForgotten", {}, {}, [](auto& c) { c.options.aux_loss_coef = 0.0; }, true},
      {"ClippingIsForgotten", {}, {}, [](auto& c) { c.options.clip_norm = 0.0; }},
  };
}

ParityCase masked_case() {
  for (ParityCase& parity_case : parity_cases()) {
    if (parity_case.name == "W4Ep2Masks") {
      return parity_case;
    }
  }
  throw std::logic_error("there is no case W4Ep2Masks");
}

// Communicators that lie about floating-point numbers.
Decorate lying(const Lie& lie) {
  return [&lie](std::unique_ptr<Communicator> inner, Traffic traffic) {
    const auto tell = [&lie, number = int64_t{0}](const CompletedOperation& done) mutable {
      if (done.dtype == DType::kFloat32 || done.dtype == DType::kFloat64 ||
          done.dtype == DType::kBFloat16) {
        lie({done, number++});
      }
    };
    return make_faulty(std::move(inner), traffic, tell);
  };
}

// The case as four lying ranks of the product compute it.
std::vector<ParityStep> run_lying(const ParityCase& parity_case, ParityType type, const Lie& lie) {
  return run_parity_case_on_threads(parity_case, {4, 2}, type, lying(lie));
}

// What the faults are compared with.
struct Truth {
  ParityCase parity_case = masked_case();
  ReferenceRun reference = run_reference(parity_case, parity_case.layout.dp());
};

// The violations of the layout with this fault; an exception counts as one.
std::vector<std::string> violations(const Fault& fault, const Truth& truth, ParityType type) {
  ParityCase given = truth.parity_case;
  if (fault.mistake) {
    fault.mistake(given);
  }
  std::atomic<int> told = 0;
  const Lie lie = [&](const CompletedCall& call) {
    if (fault.applies && fault.applies(call) && !call.received.empty()) {
      fault.lie(call);
      ++told;
    }
  };
  try {
    if (type == ParityType::kBFloat16) {
      const auto found = bfloat16_violations(truth.parity_case, given, lying(lie));
      EXPECT_EQ(told > 0, static_cast<bool>(fault.applies)) << "the fault never happened";
      return found;
    }
    const auto one_rank = run_one_rank(truth.parity_case, type);
    const std::vector<ParityStep> steps = run_lying(given, type, lie);
    EXPECT_EQ(told > 0, static_cast<bool>(fault.applies)) << "the fault never happened";
    return compare_layout(fault.name, steps, one_rank, truth.reference, type);
  } catch (const std::logic_error& error) {
    return {error.what()};
  }
}

class ParityFaults : public testing::TestWithParam<Fault> {};

TEST_P(ParityFaults, AreFound) {
  const Truth truth;
  EXPECT_THAT(violations(GetParam(), truth, ParityType::kFloat32), Not(IsEmpty()));
  EXPECT_THAT(violations(GetParam(), truth, ParityType::kFloat64), Not(IsEmpty()));
  if (!GetParam().drowns_in_bfloat16) {
    EXPECT_THAT(violations(GetParam(), truth, ParityType::kBFloat16), Not(IsEmpty()));
  }
}

INSTANTIATE_TEST_SUITE_P(Faults, ParityFaults, testing::ValuesIn(faults()), [](const auto& test) {
  return test.param.name;
});

TEST_F(ParityFaults, TheTruthPassesThroughAFaultyCommunicator) {
  const Truth truth;
  EXPECT_THAT(violations({"truth"}, truth, ParityType::kFloat32), IsEmpty());
  EXPECT_THAT(violations({"truth"}, truth, ParityType::kFloat64), IsEmpty());
  EXPECT_THAT(violations({"truth"}, truth, ParityType::kBFloat16), IsEmpty());
}

// The functions above name operations by their number. Who changes the order of operations changes
// these numbers and those functions.
TEST_F(ParityFaults, OperationsHaveTheNumbersThatTheFaultsAssume) {
  std::array<std::atomic<int64_t>, kAllTraffic.size()> calls{};
  run_lying(masked_case(), ParityType::kFloat32, [&calls](const CompletedCall& call) {
    ++calls.at(static_cast<size_t>(call.traffic));
  });
  constexpr int64_t kRanks = 4, kSteps = 2, kBlocks = 2 + 2 * kLayers;
  const auto made = [&calls](Traffic traffic) -> int64_t {
    return calls.at(static_cast<size_t>(traffic));
  };
  EXPECT_EQ(made(Traffic::kTokens), kRanks * kSteps * kTokenExchanges);
  EXPECT_EQ(made(Traffic::kReplicas), kRanks * (kLayers + kSteps * 2 * kLayers));
  EXPECT_EQ(made(Traffic::kGradients), kRanks * kSteps * kBlocks);  // a bucket for each
  EXPECT_EQ(made(Traffic::kControl), kRanks * kSteps * kReductions);
}

}  // namespace
}  // namespace enodia

// Invariant 2: every communication matters. Each operation of a training step is falsified in turn
// (collectives/decorators/faulty.h) and must break parity or end in an error. In float64, where
// everything else agrees to 1e-9. The operations are not listed here: a faultless run records them,
// and with them which corruptions would change a number that matters; the others are exempt.
#include <algorithm>
#include <cstdio>
#include <functional>
#include <iterator>
#include <map>
#include <mutex>
#include <set>
#include <span>
#include <stdexcept>
#include <tuple>

#include <gmock/gmock.h>

#include "collectives/decorators/faulty.h"
#include "collectives/loopback/hub.h"
#include "collectives/loopback/loopback.h"
#include "tests/parity/parity_comparison.h"
#include "tests/parity/parity_pairs.h"
#include "tests/parity/random_plans.h"

namespace enodia {
namespace {

using testing::AllOf;
using testing::IsEmpty;
using testing::Ne;
using testing::Not;

constexpr int kEveryRank = -1;

/// One operation on one rank, as the faultless run saw it.
struct RecordedOperation {
  int rank = 0;
  Traffic traffic = Traffic::kControl;
  int group = 0;  ///< which of the rank's communicators of that traffic
  int64_t index = 0;
  OperationKind kind = OperationKind::kBarrier;
  DType dtype = DType::kUInt8;
  bool received = false;                     ///< something came from other ranks
  bool all_zero = false;                     ///< and it was zeros alone
  std::vector<Corruption> corruptions = {};  ///< those that change a number here
};

/// "control exchange of int64".
std::string family_of(const RecordedOperation& operation) {
  return std::string(name_of(operation.traffic)) + " " + std::string(name_of(operation.kind)) +
         " of " + std::string(name_of(operation.dtype));
}

using Observe = std::function<void(int rank, int group, const CompletedOperation&)>;

std::vector<ParityStep> run_observed(const ParityCase& parity_case, const Observe& observe) {
  std::vector<ParityStep> steps;
  const auto body = [&](Communicator& world) {
    std::map<Traffic, int> groups;
    const Decorate decorate = [&](std::unique_ptr<Communicator> inner, Traffic traffic) {
      const Tamper tamper = [&observe, rank = world.rank(), group = groups[traffic]++](
                                const CompletedOperation& operation) {
        observe(rank, group, operation);
      };
      return make_faulty(std::move(inner), traffic, tamper);
    };
    auto mine =
        run_parity_case(world, parity_case, parity_case.layout, ParityType::kFloat64, decorate);
    if (world.rank() == 0) {
      steps = std::move(mine);
    }
  };
  // Four ranks live on two nodes, so that counts travel between nodes, too.
  const bool two_nodes = parity_case.layout.world_size == 4;
  run_loopback(parity_case.layout.world_size,
               body,
               two_nodes ? std::vector{0, 0, 1, 1} : parity_case.layout.nodes);
  return steps;
}

/// The agreement before a step adds up what the ranks send, so that it does not matter who sent
/// which number: the sums over the messages, place by place. Else nothing.
std::vector<uint64_t> sums_that_matter(const CompletedOperation& done) {
  std::vector<uint64_t> sums;
  if (done.traffic != Traffic::kControl || done.kind != OperationKind::kExchange) {
    return sums;
  }
  for (const Buffer& buffer : done.received) {
    sums.resize(std::max(sums.size(), static_cast<size_t>(buffer.count)), 0);
    for (int64_t i = 0; i < buffer.count; ++i) {
      sums[i] += static_cast<uint64_t>(static_cast<const int64_t*>(buffer.data)[i]);
    }
  }
  return sums;
}

/// Whether a corruption would change a number that matters. Leaves what has arrived as it is.
bool would_matter(const CompletedOperation& done, Corruption corruption) {
  std::vector<std::vector<std::byte>> saved;
  for (const Buffer& buffer : done.received) {
    const auto* first = static_cast<const std::byte*>(buffer.data);
    saved.emplace_back(first, first + buffer.bytes());
  }
  const auto sums = sums_that_matter(done);
  const bool changed = corrupt(done, corruption);
  const bool same_sums = !sums.empty() && sums_that_matter(done) == sums;
  for (size_t i = 0; i < saved.size(); ++i) {
    std::copy(saved[i].begin(), saved[i].end(), static_cast<std::byte*>(done.received[i].data));
  }
  return changed && !same_sums;
}

/// All operations of a run: by number, then by rank.
std::vector<RecordedOperation> record(const ParityCase& parity_case) {
  std::mutex mutex;
  std::vector<RecordedOperation> operations;
  run_observed(parity_case, [&](int rank, int group, const CompletedOperation& done) {
    RecordedOperation operation{
        rank, done.traffic, group, done.index, done.kind, done.dtype, !done.received.empty()};
    operation.all_zero = operation.received && !would_matter(done, Corruption::kScale);
    std::copy_if(kAllCorruptions.begin(),
                 kAllCorruptions.end(),
                 std::back_inserter(operation.corruptions),
                 [&done](Corruption corruption) { return would_matter(done, corruption); });
    const std::lock_guard lock(mutex);
    operations.push_back(std::move(operation));
  });
  std::sort(operations.begin(), operations.end(), [](const auto& a, const auto& b) {
    return std::tie(a.traffic, a.group, a.index, a.rank) <
           std::tie(b.traffic, b.group, b.index, b.rank);
  });
  return operations;
}

/// What is corrupted in one run, on one rank or on all.
struct Fault {
  RecordedOperation operation;
  Corruption corruption;
  int rank;
};

std::string to_string(const Fault& fault) {
  return std::string(name_of(fault.corruption)) + " of " + family_of(fault.operation) + " number " +
         std::to_string(fault.operation.index) + " on " +
         (fault.rank == kEveryRank ? "all ranks" : "rank " + std::to_string(fault.rank));
}

// "float64 step 2: gradient of model.norm.weight has error ..." gives "gradient".
std::string kind_of_violation(const std::string& violation) {
  const std::string rest = violation.substr(violation.find(": ") + 2);
  for (const std::string kind : {"gradient of", "updated", "aux loss", "z loss", "gradient norm"}) {
    if (rest.rfind(kind, 0) == 0) {
      return kind;
    }
  }
  return rest.substr(0, rest.find(" has"));
}

/// The case, but all that is computed in it matters: every token has a label (else the rows of a
/// document's last token go to experts for nothing), and the weight of a single expert is not
/// renormalized (else it is 1 whatever the router says, and its gradient is of no use).
ParityCase where_all_matters(ParityCase parity_case) {
  for (auto& step : parity_case.steps) {
    for (ReferenceMicroBatch& batch : step) {
      std::replace(batch.labels.begin(), batch.labels.end(), int64_t{-1}, int64_t{0});
    }
  }
  if (parity_case.options.num_experts_per_tok == 1) {
    parity_case.options.norm_topk_prob = false;
  }
  return parity_case;
}

/// The reference rounds no tokens on their way: one rank does.
ReferenceRun expectation_of(const ParityCase& parity_case) {
  if (!parity_case.layout.dispatch_dtype) {
    return run_reference(parity_case, parity_case.layout.dp());
  }
  const ParityLayout alone{.dispatch_dtype = parity_case.layout.dispatch_dtype};
  return ReferenceRun{run_parity_case_on_threads(parity_case, alone, ParityType::kFloat64)};
}

/// A case, what its layout must compute, and what it computes when nothing is falsified.
struct Problem {
  ParityCase parity_case;
  ReferenceRun reference = expectation_of(parity_case);
  std::vector<ParityStep> faultless =
      run_observed(parity_case, [](int, int, const CompletedOperation&) {});
};

/// Of a discovery: what the rank received was of no use to it. The result is the same, bit for bit.
constexpr const char* kHarmless = "harmless";

/// How the fault comes to light; empty when it does not. An error that the ranks know of only
/// because a thread has ended is none: over MPI they would wait for ever.
std::string discovery_of(const Fault& fault, const Problem& problem) {
  try {
    const auto steps =
        run_observed(problem.parity_case, [&](int rank, int group, const CompletedOperation& done) {
          const bool chosen = (fault.rank == kEveryRank || fault.rank == rank) &&
                              done.traffic == fault.operation.traffic &&
                              group == fault.operation.group && done.index == fault.operation.index;
          if (chosen) {
            corrupt(done, fault.corruption);
          }
        });
    const auto violations =
        compare_one_rank("float64", steps, problem.reference, ParityType::kFloat64);
    if (!violations.empty()) {
      return kind_of_violation(violations.front());
    }
    return differing_bits(steps, problem.faultless).empty() ? kHarmless : "";
  } catch (const LoopbackEcho& echo) {
    return std::string(echo.what()).find("has ended") == std::string::npos ? "CommError" : "";
  } catch (const CommError&) {
    return "CommError";
  } catch (const UsageError&) {
    return "UsageError";
  } catch (const std::logic_error& error) {
    return error.what();
  }
}

/// What was tried and found, over all cases.
class Tally {
 public:
  void count(const std::vector<RecordedOperation>& operations) {
    for (const RecordedOperation& operation : operations) {
      operations_ += 1;
      for (const Corruption corruption : kAllCorruptions) {
        const auto& changing = operation.corruptions;
        if (std::find(changing.begin(), changing.end(), corruption) == changing.end()) {
          ++exempt_[reason(operation, corruption)];
        } else {
          tried_[family_of(operation)][corruption];
        }
      }
    }
  }

  void add(const Fault& fault, const std::string& discovery) {
    ++found_by_[discovery];
    ++tried_[family_of(fault.operation)][fault.corruption];
  }

  /// Tried in vain on the fault's rank, or on all.
  void add_harmless(const Fault& fault) {
    ++exempt_[std::string("harmless on ") +
              (fault.rank == kEveryRank ? "all ranks: " : "one rank: ") +
              family_of(fault.operation)];
  }

  /// Corruptions that would have changed something in a family of operations, and were not tried.
  std::vector<std::string> left_out() const {
    std::vector<std::string> names;
    for (const auto& [family, counts] : tried_) {
      for (const auto& [corruption, count] : counts) {
        if (count == 0) {
          names.push_back(std::string(name_of(corruption)) + " of " + family);
        }
      }
    }
    return names;
  }

  void print() const {
    int64_t runs = 0;
    std::printf("%-35s %7s %7s %7s %7s\n", "corruptions tried", "drop", "scale", "swap", "stale");
    for (const auto& [family, counts] : tried_) {
      std::printf("%-35s", family.c_str());
      for (const Corruption corruption : kAllCorruptions) {
        const int64_t count = counts.count(corruption) > 0 ? counts.at(corruption) : 0;
        std::printf(" %7ld", static_cast<long>(count));
        runs += count;
      }
      std::printf("\n");
    }
    std::printf("%ld in %ld operations of ranks, found by\n",
                static_cast<long>(runs),
                static_cast<long>(operations_));
    print_list(found_by_);
    std::printf("exempt, for they would change no number\n");
    print_list(exempt_);
  }

 private:
  static std::string reason(const RecordedOperation& operation, Corruption corruption) {
    if (operation.kind == OperationKind::kBarrier) {
      return "a barrier";
    }
    if (!operation.received) {
      return "nothing comes from other ranks";
    }
    if (operation.all_zero) {
      return "all zero";
    }
    switch (corruption) {
      case Corruption::kDrop:
        return "drop: the others add nothing";
      case Corruption::kSwap:
        return "swap: both halves are the same";
      case Corruption::kStale:
        return "stale: nothing came before, or what says the same";
      case Corruption::kScale:
        break;
    }
    throw std::logic_error("scaling changes all numbers but zeros");
  }

  static void print_list(const std::map<std::string, int64_t>& counts) {
    for (const auto& [what, count] : counts) {
      std::printf("%8ld  %s\n", static_cast<long>(count), what.c_str());
    }
  }

  int64_t operations_ = 0;
  std::map<std::string, int64_t> found_by_, exempt_;
  std::map<std::string, std::map<Corruption, int64_t>> tried_;
};

/// The experts that a tensor-parallel group's copies want, of which only the order of some matters.
bool is_of_candidates(const RecordedOperation& operation) {
  return operation.traffic == Traffic::kTensor && operation.kind == OperationKind::kExchange &&
         operation.dtype == DType::kInt32;
}

/// The operations of the last step: those that a run of one step less does not have.
std::vector<RecordedOperation> last_step_of(const ParityCase& parity_case) {
  ParityCase shorter = parity_case;
  shorter.steps.pop_back();
  std::map<std::pair<Traffic, int>, int64_t> first;
  for (const RecordedOperation& operation : record(shorter)) {
    int64_t& end = first[{operation.traffic, operation.group}];
    end = std::max(end, operation.index + 1);
  }
  std::vector<RecordedOperation> all = record(parity_case);
  std::erase_if(all, [&](const auto& operation) {
    return operation.index < first[{operation.traffic, operation.group}];
  });
  return all;
}

/// All faults of one operation: of each rank by itself and of all ranks at once.
std::vector<Fault> faults_of(std::span<const RecordedOperation> on_ranks, Corruption corruption) {
  std::vector<Fault> faults;
  for (const RecordedOperation& operation : on_ranks) {
    const auto& changing = operation.corruptions;
    if (std::find(changing.begin(), changing.end(), corruption) != changing.end()) {
      faults.push_back({operation, corruption, operation.rank});
    }
  }
  if (!faults.empty()) {
    faults.push_back({faults.front().operation, corruption, kEveryRank});
  }
  return faults;
}

/// One fault of an operation. Which one goes around with the turn.
std::vector<Fault> fault_of_turn(std::span<const RecordedOperation> on_ranks, size_t turn) {
  for (size_t i = 0; i < kAllCorruptions.size(); ++i) {
    const auto faults = faults_of(on_ranks, kAllCorruptions[(turn + i) % kAllCorruptions.size()]);
    if (!faults.empty()) {
      return {faults[(turn / kAllCorruptions.size()) % faults.size()]};
    }
  }
  return {};
}

/// With the operation's and the case's number as the turn: over the cases an operation meets every
/// corruption, on other ranks.
std::vector<Fault> one_fault(std::span<const RecordedOperation> on_ranks, size_t case_number) {
  return fault_of_turn(on_ranks, static_cast<size_t>(on_ranks.front().index) + case_number);
}

/// Of every twelfth operation, other ones in each case.
std::vector<Fault> a_sample(std::span<const RecordedOperation> on_ranks, size_t case_number) {
  const size_t turn = static_cast<size_t>(on_ranks.front().index) + case_number;
  return turn % 12 == 0 ? fault_of_turn(on_ranks, turn / 12) : std::vector<Fault>();
}

std::vector<Fault> all_faults(std::span<const RecordedOperation> on_ranks, size_t /*case_number*/) {
  std::vector<Fault> all;
  for (const Corruption corruption : kAllCorruptions) {
    const auto faults = faults_of(on_ranks, corruption);
    all.insert(all.end(), faults.begin(), faults.end());
  }
  return all;
}

using Choose = std::vector<Fault> (*)(std::span<const RecordedOperation>, size_t case_number);

void try_case(const ParityCase& parity_case, size_t number, Choose choose, Tally& tally) {
  const Problem problem{parity_case};
  for (const ParityStep& step : problem.reference.steps) {
    ASSERT_GT(step.grad_norm, parity_case.options.clip_norm) << "clipping is to be in force";
  }
  const std::vector<RecordedOperation> operations = last_step_of(parity_case);
  tally.count(operations);
  for (auto first = operations.begin(); first != operations.end();) {
    const auto last = std::find_if(first, operations.end(), [&](const auto& operation) {
      return operation.traffic != first->traffic || operation.group != first->group ||
             operation.index != first->index;
    });
    for (Fault fault : choose(std::span(first, last), number)) {
      std::string discovery = discovery_of(fault, problem);
      if (discovery == kHarmless && fault.rank != kEveryRank) {
        // A rank without heads, or with no token of its part of the vocabulary, may do without; all
        // ranks may not.
        tally.add_harmless(fault);
        fault.rank = kEveryRank;
        discovery = discovery_of(fault, problem);
      }
      if (discovery == kHarmless && is_of_candidates(fault.operation)) {
        tally.add_harmless(fault);  // other copies stood for admission, and the same were dropped
        continue;
      }
      EXPECT_THAT(discovery, AllOf(Not(IsEmpty()), Ne(kHarmless)))
          << to_string(fault) << " is not found in " << parity_case.name;
      tally.add(fault, discovery);
    }
    first = last;
  }
}

void expect_all_found(const std::vector<ParityCase>& cases, Choose choose) {
  Tally tally;
  size_t number = 0;
  for (const ParityCase& parity_case : cases) {
    try_case(where_all_matters(parity_case), number++, choose, tally);
  }
  tally.print();
  EXPECT_THAT(tally.left_out(), IsEmpty());
}

/// The cases of random plans, all or some that move replicas each in a way of its own. What is
/// gathered is used: weights that a plan has no token for may be what they like, as in the case
/// where all tokens go to one expert.
std::vector<ParityCase> plans_in_use(const std::set<std::string>& names = {}) {
  std::vector<ParityCase> cases = placement_cases();
  std::erase_if(cases, [&](const ParityCase& c) {
    return c.layout.policy != &kRandomPlans || c.name == "W4PlansAllToOneExpert" ||
           (!names.empty() && !names.contains(c.name));
  });
  for (ParityCase& parity_case : cases) {
    parity_case.layout.policy = &kRandomPlansInUse;
  }
  return cases;
}

/// In every second row tokens travel in bfloat16, where one rank computes the same.
void expect_found_in_pairs(Choose choose) {
  Tally tally;
  size_t number = 0;
  for (const PairRow& row : pair_rows()) {
    ParityCase parity_case = pair_case(row);
    if (number % 2 == 1 && !has_global_scope(row)) {
      parity_case.layout.dispatch_dtype = DType::kBFloat16;
    }
    try_case(where_all_matters(parity_case), number++, choose, tally);
  }
  tally.print();
}

TEST(EveryCommunication, OfPairsIsMissedInASample) {
  expect_found_in_pairs(a_sample);
}

TEST(EveryCommunication, DISABLED_OfPairsIsMissedWhenItIsFalsifiedInOneWay) {
  expect_found_in_pairs(one_fault);
}

TEST(EveryCommunication, IsMissedWhenItIsFalsifiedInOneWay) {
  expect_all_found(parity_cases(), one_fault);
}

TEST(EveryCommunication, DISABLED_IsMissedWhenItIsFalsifiedInEveryWay) {
  expect_all_found(parity_cases(), all_faults);
}

TEST(EveryCommunication, OfPlansIsMissedWhenItIsFalsifiedInOneWay) {
  expect_all_found(plans_in_use({"W2Plans",
                                 "W3PlansAccumulation3",
                                 "W4Plans",
                                 "W3PlansRecomputedLayers",
                                 "W3PlansOwnersMove",
                                 "W4PlansStripes2"}),
                   one_fault);
}

TEST(EveryCommunication, DISABLED_OfPlansIsMissedWhenItIsFalsifiedInEveryWay) {
  expect_all_found(plans_in_use(), all_faults);
}

}  // namespace
}  // namespace enodia

#pragma once

#include <string>
#include <vector>

#include "tests/parity/parity_case.h"
#include "tests/parity/parity_run.h"
#include "tests/references/parity.h"

namespace enodia {

/// The steps of a case as the reference computes them when so many groups of ranks each compute a
/// micro-batch at a time: what a load-balance loss over the step so far depends on, and nothing
/// else.
struct ReferenceRun {
  std::vector<ParityStep> steps;
  double smallest_margin = 0.0;      ///< of all decisions of the router, see ReferenceStep
  double widest_disagreement = 0.0;  ///< with the decisions that are replayed, see ReferenceStep
};
/// With `replay` the decisions of the router are those of its steps.
ReferenceRun run_reference(const ParityCase& parity_case,
                           int groups,
                           const std::vector<ParityStep>* replay = nullptr);

/// As the layout of a case computes it, and as one rank does.
struct ReferenceRuns {
  ReferenceRun of_layout, of_one_rank;
};
ReferenceRuns run_references(const ParityCase& parity_case);

/// What one rank computes of a case, several times: as it is, and with the channels of the residual
/// stream in other orders, which changes the order of nearly every sum and nothing else
/// (docs/adr/0006). In float64 as it is alone.
using OneRankRuns = std::vector<std::vector<ParityStep>>;
OneRankRuns run_one_rank(const ParityCase& parity_case, ParityType type);

/// Compares the steps of one rank with the reference's: losses, imbalance, norm, every gradient and
/// every updated parameter. Sentences as in parity.h, each beginning with `what` and the step.
std::vector<std::string> compare_one_rank(const std::string& what,
                                          const std::vector<ParityStep>& one_rank,
                                          const ReferenceRun& reference,
                                          ParityType type);

/// The same for a layout, for which one rank's largest errors are the measure: tensor by tensor in
/// the first step, and by the worst tensor in later ones, which start from parameters already
/// rounded apart.
std::vector<std::string> compare_layout(const std::string& what,
                                        const std::vector<ParityStep>& layout,
                                        const OneRankRuns& one_rank,
                                        const ReferenceRun& reference,
                                        ParityType type);

/// Runs the case's layout in bfloat16 and compares as above, but each run with the reference that
/// replays its decisions, since rounding may decide otherwise. Also violated by decisions that
/// rounding does not explain. The layout is `given` the case, or another that it takes for it, and
/// its communicators are decorated.
std::vector<std::string> bfloat16_violations(const ParityCase& parity_case,
                                             const ParityCase& given,
                                             const Decorate& decorate = {});
inline std::vector<std::string> bfloat16_violations(const ParityCase& parity_case) {
  return bfloat16_violations(parity_case, parity_case);
}

/// The names of all values in which two runs are not the same bits, each with its step.
std::vector<std::string> differing_bits(const std::vector<ParityStep>& a,
                                        const std::vector<ParityStep>& b);

}  // namespace enodia

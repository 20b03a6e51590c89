#pragma once

#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "models/model_options.h"
#include "parallel/dense_sharding.h"
#include "parallel/placement/policy.h"
#include "tests/references/reference_model.h"

namespace enodia {

/// How many ranks compute, and what each does; by default one that does all.
struct ParityLayout {
  int world_size = 1;
  int ep = 1;
  int tp = 1;
  Zero1 zero1 = Zero1::kOff;
  Recompute recompute = Recompute::kNone;
  std::optional<DType> dispatch_dtype = {};
  const PolicyEntry* policy = nullptr;  ///< null: experts are computed at home
  int extra_slots = 0;
  int stripes = 1;              ///< ranks that own an expert together
  int kept_layers = 0;          ///< whose replicas stay from forward to backward
  bool owners_move = false;     ///< experts get other owners, at random, before each later step
  std::vector<int> nodes = {};  ///< of ranks that are threads; empty: all on one
  int dp() const { return world_size / tp; }
};

/// A problem and the layout that must solve it as the reference does.
struct ParityCase {
  std::string name;
  ReferenceOptions options;
  ParityLayout layout;
  /// [step][micro-batch]; the m-th is the one with number m / dp of data-parallel group m % dp.
  std::vector<std::vector<ReferenceMicroBatch>> steps;
  /// Where training starts: float64 tensors of values that float32 holds exactly.
  NamedTensors parameters;
};

/// For GoogleTest's messages.
inline void PrintTo(const ParityCase& parity_case, std::ostream* out) {
  *out << parity_case.name;
}

/// Where training starts by default: small enough that float32 keeps seven digits through the
/// layers, while the router stays decided. Values that float32 holds exactly.
NamedTensors parity_parameters(const ReferenceOptions& options, uint64_t seed = 20);

/// The case with every third label taken away.
ParityCase with_masks(ParityCase parity_case);

/// What most cases use: two MoE layers of eight experts, two per token, on sizes that no vector
/// width divides, with aux and z loss and clipping in force.
ReferenceOptions parity_options();

/// A case of two steps with several documents a micro-batch, of other lengths in each group.
ParityCase make_parity_case(const std::string& name,
                            const ReferenceOptions& options,
                            const ParityLayout& layout,
                            int accumulation = 1,
                            uint64_t seed = 1);

/// Every layout and kind of problem of invariant 1, with experts at home.
std::vector<ParityCase> parity_cases();

/// Random plans on all kinds of problems: replicas anywhere, quotas at random. And each policy
/// once.
std::vector<ParityCase> placement_cases();

}  // namespace enodia

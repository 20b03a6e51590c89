#pragma once

#include <map>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "tests/references/reference_model.h"

/// Whether a layout computed what the reference computed. Every comparison returns its violations
/// as sentences with figures; an empty list means parity.
namespace enodia {

/// The type that a layout computed in, which decides how close it must come.
enum class ParityType { kFloat32, kFloat64, kBFloat16 };

/// By what a tensor's error is measured.
enum class ParityMeasure {
  kSameTensor,   ///< one rank's error in the same tensor
  kSameKind,     ///< one rank's largest error in that tensor of any layer and expert
  kWorstTensor,  ///< one rank's largest error in any: for steps that do not start from equal bits
};

/// err(t) = |t - t64|_2 / max(|t64|_2, tiny), in float64. Infinite or not a number when t is not
/// finite; 0 for two tensors without elements. The shapes must be equal.
double parity_error(const at::Tensor& t, const at::Tensor& t64);

/// 4 max(err(one rank), floor): summing in another order may cost what computing in that type costs
/// anyway, times four, and no more. The floor is 2^-22 in float32 and 2^-9 in bfloat16. float64:
/// 1e-9, whatever one rank did.
double parity_bound(double one_rank_error, ParityType type);

/// Errors by name.
using ParityErrors = std::map<std::string, double>;

/// parity_error of every tensor of the reference; 0 where `found` has none of that name and shape.
ParityErrors parity_errors(const NamedTensors& found, const NamedTensors& reference);

/// Compares the tensors of a layout (any dtype) with those of the float64 reference, name by name.
/// One rank's errors are the largest of its runs', each of which adds up in another order.
/// Violations: a name missing or too many, another shape, an error above parity_bound, and an
/// element not exactly zero that is exactly zero in the reference (an expert without tokens, a
/// token that never came). In bfloat16 the worst tensor's bound counts twice: a step that starts
/// from masters that are 1 % apart differs by more than its own rounding. `what` begins each
/// sentence, such as "w3 ep3 gradient".
std::vector<std::string> parity_violations(const std::string& what,
                                           const NamedTensors& layout,
                                           const ParityErrors& one_rank,
                                           const NamedTensors& reference,
                                           ParityType type,
                                           ParityMeasure measure = ParityMeasure::kSameTensor);

/// One rank has nobody to be measured by but the reference: each tensor's error must be at most
/// 1e-4 in float32, 0.25 in bfloat16 and 1e-9 in float64, and exact zeros must be exact zeros.
std::vector<std::string> one_rank_violations(const std::string& what,
                                             const NamedTensors& one_rank,
                                             const NamedTensors& reference,
                                             ParityType type);

}  // namespace enodia

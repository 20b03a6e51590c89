#include "tests/parity/parity_comparison.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <numeric>

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/argsort.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/tensor.h>

namespace enodia {
namespace {

double imbalance_of(const std::vector<int64_t>& load, int64_t num_experts) {
  if (load.empty()) {
    return 1.0;  // a dense model
  }
  double sum = 0.0;
  for (auto first = load.begin(); first != load.end(); first += num_experts) {
    const auto last = first + num_experts;
    const auto total = static_cast<double>(std::accumulate(first, last, int64_t{0}));
    const auto largest = static_cast<double>(*std::max_element(first, last));
    sum += largest * static_cast<double>(num_experts) / total;
  }
  return sum * static_cast<double>(num_experts) / static_cast<double>(load.size());
}

// All that a step has computed, as one list.
NamedTensors values_of(const ParityStep& step) {
  const auto number = [](double value) { return at::tensor({value}, at::kDouble); };
  NamedTensors values{{"loss", number(step.loss)},
                      {"aux loss", number(step.aux_loss)},
                      {"device loss", number(step.device_loss)},
                      {"dropped copies", number(static_cast<double>(step.dropped))},
                      {"z loss", number(step.z_loss)},
                      {"imbalance", number(step.imbalance)},
                      {"load", at::tensor(at::ArrayRef<int64_t>(step.load)).to(at::kDouble)},
                      {"router entropy", at::tensor(at::ArrayRef<double>(step.router_entropy))},
                      {"gradient norm", number(step.grad_norm)}};
  for (const auto& [name, tensor] : step.gradients) {
    values["gradient of " + name] = tensor;
  }
  for (const auto& [name, tensor] : step.updated) {
    values["updated " + name] = tensor;
  }
  return values;
}

constexpr int kOneRankRuns = 4;

// The tensors with the channels of the residual stream in another order.
NamedTensors with_channels(const NamedTensors& tensors, const at::Tensor& order) {
  NamedTensors reordered;
  for (const auto& [name, tensor] : tensors) {
    at::Tensor& result = reordered[name] = tensor;
    for (int64_t dim = 0; dim < tensor.dim(); ++dim) {
      if (tensor.size(dim) == order.numel()) {  // no other dim of these problems has this size
        result = result.index_select(dim, order);
      }
    }
  }
  return reordered;
}

std::string title_of(const std::string& what, size_t step) {
  return what + " step " + std::to_string(step + 1) + ":";
}

void append(std::vector<std::string>& all, std::vector<std::string> more) {
  std::move(more.begin(), more.end(), std::back_inserter(all));
}

void keep_larger(ParityErrors& errors, const ParityErrors& others) {
  for (const auto& [name, error] : others) {
    errors[name] = std::max(errors[name], error);
  }
}

/// parity_error of all gradients as one tensor, which that of its norm may be as large as.
double whole_error(const ParityStep& step, const ParityStep& reference) {
  std::vector<at::Tensor> found, wanted;
  for (const auto& [name, gradient] : reference.gradients) {
    found.push_back(step.gradients.at(name).flatten());
    wanted.push_back(gradient.flatten());
  }
  return parity_error(at::cat(found), at::cat(wanted));
}

/// values_of(step) without those gradients that are short beside the whole gradient of the
/// reference: sums that cancel, of which bfloat16 leaves only rounding. Zero is not short.
NamedTensors long_values_of(const ParityStep& step, const ParityStep& reference) {
  constexpr double kShort = 0x1p-8;
  NamedTensors values = values_of(step);
  for (const auto& [name, gradient] : reference.gradients) {
    const double length = at::linalg_vector_norm(gradient).item<double>();
    if (length > 0.0 && length < kShort * reference.grad_norm) {
      values.erase("gradient of " + name);
    }
  }
  return values;
}

/// What all runs round alike would only hide in what rounding of their own is allowed.
ParityCase with_rounded_parameters(ParityCase parity_case) {
  for (auto& [name, tensor] : parity_case.parameters) {
    tensor = tensor.to(at::kBFloat16).to(at::kDouble);
  }
  return parity_case;
}

/// Of a score in [0, 1] after some layers in bfloat16.
constexpr double kWidestDisagreement = 0.03;

std::vector<std::string> disagreements(const std::string& what, const ReferenceRun& reference) {
  if (reference.widest_disagreement <= kWidestDisagreement) {
    return {};
  }
  return {what + " decides otherwise where the margin is " +
          std::to_string(reference.widest_disagreement)};
}

}  // namespace

ReferenceRun run_reference(const ParityCase& parity_case,
                           int groups,
                           const std::vector<ParityStep>* replay) {
  ReferenceRun run{{}, std::numeric_limits<double>::infinity()};
  ReferenceOptions options = parity_case.options;
  options.micro_batches_at_once = groups;
  NamedTensors parameters = parity_case.parameters;
  NamedTensors exp_avg, exp_avg_sq;
  for (const auto& batches : parity_case.steps) {
    const bool first = run.steps.empty();
    const ReferenceStep step =
        reference_step(options,
                       parameters,
                       batches,
                       static_cast<int64_t>(run.steps.size()) + 1,
                       first ? nullptr : &exp_avg,
                       first ? nullptr : &exp_avg_sq,
                       replay ? &replay->at(run.steps.size()).routes : nullptr);
    run.steps.push_back({step.loss,
                         step.aux_loss,
                         step.device_loss,
                         step.z_loss,
                         imbalance_of(step.load, parity_case.options.num_experts),
                         step.load,
                         step.dropped,
                         step.router_entropy,
                         step.grad_norm,
                         step.gradients,
                         step.updated,
                         step.routes});
    run.widest_disagreement = std::max(run.widest_disagreement, step.widest_disagreement);
    run.smallest_margin = std::min(run.smallest_margin, step.smallest_margin);
    parameters = step.updated;
    exp_avg = step.exp_avg;
    exp_avg_sq = step.exp_avg_sq;
  }
  return run;
}

ReferenceRuns run_references(const ParityCase& parity_case) {
  const ReferenceRun of_layout = run_reference(parity_case, parity_case.layout.dp());
  const bool depends_on_groups = parity_case.options.aux_loss_scope == "global_batch";
  return {of_layout, depends_on_groups ? run_reference(parity_case, 1) : of_layout};
}

OneRankRuns run_one_rank(const ParityCase& parity_case, ParityType type) {
  OneRankRuns runs{run_parity_case_on_threads(parity_case, {}, type)};
  const int64_t channels = parity_case.options.hidden_size;
  // A channel's random factors go with its place.
  const bool once = type == ParityType::kFloat64 || parity_case.options.jitter_eps > 0;
  for (int run = 1; run < (once ? 1 : kOneRankRuns); ++run) {
    // Strides that share no divisor with the channels visit each of them once.
    int64_t stride = 2 * run + 1;
    while (std::gcd(stride, channels) > 1) {
      stride += 2;
    }
    const at::Tensor order = (at::arange(channels, at::kLong) * stride).remainder(channels);
    ParityCase reordered = parity_case;
    reordered.parameters = with_channels(parity_case.parameters, order);
    runs.push_back(run_parity_case_on_threads(reordered, {}, type));
    for (ParityStep& step : runs.back()) {
      const at::Tensor back = at::argsort(order);
      step.gradients = with_channels(step.gradients, back);
      step.updated = with_channels(step.updated, back);
    }
  }
  return runs;
}

std::vector<std::string> compare_one_rank(const std::string& what,
                                          const std::vector<ParityStep>& one_rank,
                                          const ReferenceRun& reference,
                                          ParityType type) {
  std::vector<std::string> all;
  for (size_t s = 0; s < reference.steps.size(); ++s) {
    append(all,
           one_rank_violations(
               title_of(what, s), values_of(one_rank.at(s)), values_of(reference.steps[s]), type));
  }
  return all;
}

std::vector<std::string> compare_layout(const std::string& what,
                                        const std::vector<ParityStep>& layout,
                                        const OneRankRuns& one_rank,
                                        const ReferenceRun& reference,
                                        ParityType type) {
  std::vector<std::string> all;
  for (size_t s = 0; s < reference.steps.size(); ++s) {
    const NamedTensors wanted = values_of(reference.steps[s]);
    ParityErrors errors;
    for (const std::vector<ParityStep>& run : one_rank) {
      keep_larger(errors, parity_errors(values_of(run.at(s)), wanted));
    }
    append(all,
           parity_violations(title_of(what, s),
                             values_of(layout.at(s)),
                             errors,
                             wanted,
                             type,
                             s == 0 ? ParityMeasure::kSameTensor : ParityMeasure::kWorstTensor));
  }
  return all;
}

std::vector<std::string> bfloat16_violations(const ParityCase& unrounded,
                                             const ParityCase& given,
                                             const Decorate& decorate) {
  constexpr ParityType kType = ParityType::kBFloat16;
  const ParityCase parity_case = with_rounded_parameters(unrounded);
  const auto one_rank = run_parity_case_on_threads(parity_case, {}, kType);
  const auto layout = run_parity_case_on_threads(
      with_rounded_parameters(given), parity_case.layout, kType, decorate);
  const ReferenceRun alone = run_reference(parity_case, 1, &one_rank);
  const ReferenceRun reference = run_reference(parity_case, parity_case.layout.dp(), &layout);
  std::vector<std::string> all = disagreements("w1", alone);
  append(all, disagreements("layout", reference));
  ParityErrors errors;  // of one rank so far: a step starts from the roundings of those before
  for (size_t s = 0; s < parity_case.steps.size(); ++s) {
    const NamedTensors one = long_values_of(one_rank.at(s), alone.steps.at(s));
    const NamedTensors one_wanted = long_values_of(alone.steps[s], alone.steps[s]);
    const NamedTensors wanted = long_values_of(reference.steps.at(s), reference.steps[s]);
    append(all, one_rank_violations(title_of("w1", s), one, one_wanted, kType));
    keep_larger(errors, parity_errors(one, one_wanted));
    keep_larger(errors, {{"gradient norm", whole_error(one_rank[s], alone.steps[s])}});
    append(all,
           parity_violations(title_of("layout", s),
                             long_values_of(layout.at(s), reference.steps[s]),
                             errors,
                             wanted,
                             kType,
                             s == 0 ? ParityMeasure::kSameKind : ParityMeasure::kWorstTensor));
  }
  return all;
}

std::vector<std::string> differing_bits(const std::vector<ParityStep>& a,
                                        const std::vector<ParityStep>& b) {
  std::vector<std::string> names;
  for (size_t s = 0; s < a.size(); ++s) {
    const NamedTensors others = values_of(b.at(s));
    for (const auto& [name, value] : values_of(a[s])) {
      if (!value.equal(others.at(name))) {
        names.push_back(title_of("differs in", s) + " " + name);
      }
    }
  }
  return names;
}

}  // namespace enodia

#include "models/router/admission.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>
#include <vector>

namespace enodia {
namespace {

/// A copy that wants to be admitted; those that sort first are.
struct Candidate {
  bool is_masked;
  double rank;  // smaller is better
  int64_t copy;
  bool operator<(const Candidate& other) const {
    return std::tie(is_masked, rank, copy) < std::tie(other.is_masked, other.rank, other.copy);
  }
};

double rank_of(const CopyCandidates& candidates,
               const Capacity& capacity,
               const at::Tensor& scores,
               int64_t copy,
               int32_t expert) {
  switch (capacity.policy) {
    case DropPolicy::kPosition:
      return 0;  // copies are numbered by token
    case DropPolicy::kProbs:
      return -scores.const_data_ptr<double>()[copy];
    case DropPolicy::kRandom:
      break;
  }
  const int64_t token = candidates.first_token + copy / candidates.expert_ids.size(1);
  return -random_uniform(capacity.key.with(static_cast<uint64_t>(expert)),
                         static_cast<uint64_t>(token));
}

}  // namespace

int64_t capacity_of(double capacity_factor,
                    int64_t valid_tokens,
                    int64_t num_chosen,
                    int64_t experts) {
  const double even = static_cast<double>(valid_tokens * num_chosen) / static_cast<double>(experts);
  return static_cast<int64_t>(std::ceil(capacity_factor * even));
}

at::Tensor admit(const CopyCandidates& candidates, const Capacity& capacity) {
  at::Tensor admitted = candidates.expert_ids.clone();
  const at::Tensor scores =
      candidates.scores.defined() ? candidates.scores.to(at::kDouble).contiguous() : at::Tensor();
  const auto* ids = candidates.expert_ids.const_data_ptr<int32_t>();
  const auto* valid = candidates.valid.const_data_ptr<bool>();
  const int64_t per_token = admitted.size(1);
  std::map<int32_t, std::vector<Candidate>> by_expert;
  for (int64_t copy = 0; copy < admitted.numel(); ++copy) {
    by_expert[ids[copy]].push_back(
        {!valid[copy / per_token], rank_of(candidates, capacity, scores, copy, ids[copy]), copy});
  }
  auto* result = admitted.mutable_data_ptr<int32_t>();
  for (auto& [expert, wanting] : by_expert) {
    std::sort(wanting.begin(), wanting.end());
    for (auto i = static_cast<size_t>(capacity.copies); i < wanting.size(); ++i) {
      result[wanting[i].copy] = -1;
    }
  }
  return admitted;
}

}  // namespace enodia

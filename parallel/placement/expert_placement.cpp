#include "parallel/placement/expert_placement.h"

#include <algorithm>
#include <sstream>

#include "common/check.h"
#include "common/random.h"

namespace enodia {
namespace {

std::span<const int32_t> row(const std::vector<int32_t>& offsets,
                             const std::vector<int32_t>& values,
                             int index) {
  const int32_t first = offsets.at(index);
  return {values.data() + first, static_cast<size_t>(offsets.at(index + 1) - first)};
}

}  // namespace

ExpertPlacement ExpertPlacement::create(int world_size,
                                        std::span<const std::vector<int32_t>> holders) {
  ExpertPlacement placement;
  std::vector<std::vector<int32_t>> experts_of_rank(world_size);
  for (size_t expert = 0; expert < holders.size(); ++expert) {
    std::vector<int32_t> ranks = holders[expert];
    std::sort(ranks.begin(), ranks.end());
    ENODIA_CHECK(!ranks.empty(), "expert ", expert, " has no holder");
    ENODIA_CHECK(ranks.front() >= 0 && ranks.back() < world_size,
                 "expert ",
                 expert,
                 " is placed outside of ",
                 world_size,
                 " ranks");
    ENODIA_CHECK(std::adjacent_find(ranks.begin(), ranks.end()) == ranks.end(),
                 "expert ",
                 expert,
                 " is placed twice on one rank");
    for (const int32_t rank : ranks) {
      experts_of_rank[rank].push_back(static_cast<int32_t>(expert));
    }
    placement.ranks_.insert(placement.ranks_.end(), ranks.begin(), ranks.end());
    placement.rank_offsets_.push_back(static_cast<int32_t>(placement.ranks_.size()));
  }
  for (const auto& experts : experts_of_rank) {
    placement.experts_.insert(placement.experts_.end(), experts.begin(), experts.end());
    placement.expert_offsets_.push_back(static_cast<int32_t>(placement.experts_.size()));
  }
  return placement;
}

std::span<const int32_t> ExpertPlacement::ranks_of(int expert) const {
  return row(rank_offsets_, ranks_, expert);
}

std::span<const int32_t> ExpertPlacement::experts_on(int rank) const {
  return row(expert_offsets_, experts_, rank);
}

int ExpertPlacement::slot_of(int rank, int expert) const {
  const auto experts = experts_on(rank);
  const auto found = std::lower_bound(experts.begin(), experts.end(), expert);
  return found != experts.end() && *found == expert ? static_cast<int>(found - experts.begin())
                                                    : -1;
}

uint64_t ExpertPlacement::hash() const {
  RandomKey key(static_cast<uint64_t>(world_size()));
  for (const int32_t offset : rank_offsets_) {
    key = key.with(static_cast<uint64_t>(offset));
  }
  for (const int32_t rank : ranks_) {
    key = key.with(static_cast<uint64_t>(rank));
  }
  return key.value();
}

std::string ExpertPlacement::to_string() const {
  std::ostringstream text;
  for (int expert = 0; expert < num_experts(); ++expert) {
    text << (expert > 0 ? " " : "") << expert << ":[";
    const auto ranks = ranks_of(expert);
    for (size_t i = 0; i < ranks.size(); ++i) {
      text << (i > 0 ? "," : "") << ranks[i];
    }
    text << "]";
  }
  return text.str();
}

}  // namespace enodia

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace enodia {

/// Which ranks hold a replica of each expert of one layer. An immutable value, checked once, in
/// create(); flat arrays (CSR) both ways.
class ExpertPlacement {
 public:
  ExpertPlacement() = default;
  /// holders[e] lists the ranks of expert e: at least one, distinct, each in [0, world_size).
  /// Throws UsageError.
  static ExpertPlacement create(int world_size, std::span<const std::vector<int32_t>> holders);

  int num_experts() const { return static_cast<int>(rank_offsets_.size()) - 1; }
  int world_size() const { return static_cast<int>(expert_offsets_.size()) - 1; }
  int num_replicas() const { return static_cast<int>(ranks_.size()); }

  /// Ranks that hold expert e, ascending.
  std::span<const int32_t> ranks_of(int expert) const;
  /// Index of expert e's first replica: replicas are numbered expert by expert, rank by rank.
  int first_replica(int expert) const { return rank_offsets_.at(expert); }
  /// Experts on a rank, ascending; an expert's index in it is its slot there.
  std::span<const int32_t> experts_on(int rank) const;
  /// The slot of an expert on a rank, -1 when it is not there.
  int slot_of(int rank, int expert) const;

  /// Equal placements have equal hashes on every machine.
  uint64_t hash() const;
  /// For people: "0:[0,2] 1:[1]".
  std::string to_string() const;
  bool operator==(const ExpertPlacement&) const = default;

 private:
  std::vector<int32_t> rank_offsets_{0}, ranks_;      // expert -> ranks
  std::vector<int32_t> expert_offsets_{0}, experts_;  // rank -> experts
};

/// A placement and how many tokens of each expert each replica computes in one micro-batch.
struct ExpertPlan {
  ExpertPlacement placement;
  std::vector<int64_t> quota;  ///< [num_replicas]; an expert's quotas sum to its tokens
};

}  // namespace enodia

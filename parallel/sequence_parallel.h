#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "collectives/communicator.h"
#include "parallel/slice.h"

namespace enodia {

/// How the T tokens of one micro-batch are cut among the ranks of a tensor-parallel group, and the
/// two moves between a rank's own rows [Tr, D] and all rows [T, D] (Korthikanti et al., arXiv
/// 2205.05198, section 4.2.2). The moves are transposes of each other, so each is the other's
/// backward. T need not be a multiple of the ranks, and a rank may have no rows. With one rank both
/// return what they are given. Tensors are on the host or on the queue's device; the moves do not
/// block the host for those of the device. Borrows the group. All moves are collective over it.
class SequenceParallel {
 public:
  /// One rank has all tokens.
  explicit SequenceParallel(int64_t tokens = 0) : counts_{tokens}, mine_{0, tokens} {}
  SequenceParallel(Communicator& group, int64_t tokens, const Queue& queue = Queue());
  /// mine() of such a cut.
  static Slice own_tokens(const Communicator& group, int64_t tokens) {
    return share_of(tokens, group.world_size(), group.rank());
  }

  /// This rank's tokens.
  const Slice& mine() const { return mine_; }
  bool is_cut() const { return counts_.size() > 1; }
  /// Whether this rank is the first of its group: the one that adds what all have computed alike.
  bool is_first() const { return group_ == nullptr || group_->rank() == 0; }
  /// The rows of this rank's tokens, of something that this rank has for all.
  at::Tensor own_rows(const at::Tensor& all) const;

  /// [Tr, D] -> [T, D]: every rank's rows.
  at::Tensor gather(const at::Tensor& own) const;
  /// [T, D] of each rank -> [Tr, D]: this rank's rows of the sum, added in rank order (bfloat16 in
  /// float32).
  at::Tensor reduce_scatter(const at::Tensor& parts) const;
  /// Adds up the group's counts, in place.
  void sum(std::span<int64_t> counts) const;
  /// Adds up the group's tensors of one shape, in place.
  void sum(const at::Tensor& inout) const;
  /// Every rank's [N, C], in rank order: [ranks, N, C].
  at::Tensor stack(const at::Tensor& own) const;

 private:
  /// Elements of each rank's rows.
  std::vector<int64_t> elements(int64_t row) const;
  /// The queue that works on a tensor.
  Queue queue_of(const at::Tensor& tensor) const { return tensor.is_cpu() ? Queue() : queue_; }

  Communicator* group_ = nullptr;
  std::vector<int64_t> counts_;  // [ranks] tokens
  Slice mine_;
  Queue queue_;
};

}  // namespace enodia

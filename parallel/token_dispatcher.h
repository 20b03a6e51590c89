#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "collectives/communicator.h"
#include "parallel/compute_device.h"
#include "parallel/exchange_counts.h"
#include "parallel/placement/expert_placement.h"
#include "parallel/precision.h"

namespace enodia {

/// Where every token copy of one layer and micro-batch goes, and where those that arrive here
/// belong: integers only, saved for backward and recompute. T tokens, K experts per token, S copies
/// sent, R copies received. Tensors are where the rows are.
struct TokenMap {
  at::Tensor sent_position;   ///< [T, K] int64: place in the send order, -1 = no expert
  at::Tensor sent_token;      ///< [S] int64: the token of each sent copy, by (rank, slot, token)
  at::Tensor sent_choice;     ///< [S] int64: t * K + k of each sent copy
  at::Tensor received_order;  ///< [R] int64: from (slot, rank, token) order to arrival order
  at::Tensor arrival_order;   ///< [R] int64: its inverse
  std::vector<int64_t> send_counts, receive_counts;  ///< [W] copies to and from each rank
  std::vector<int64_t> slot_offsets;                 ///< [slots + 1] rows of each slot here
  uint64_t plan_hash = 0;  ///< of plan, quotas and counts: the same on all ranks of the group
  int64_t num_received() const { return slot_offsets.back(); }
};

/// Rows on their way between ranks; others compute meanwhile. Move-only.
class MovingRows {
 public:
  MovingRows() = default;
  /// `arrange` turns what arrives into what was asked for.
  /// They are seen by `queue`.
  MovingRows(Work work,
             const Queue& queue,
             at::Tensor arriving,
             std::function<at::Tensor(const at::Tensor&)> arrange)
      : work_(std::move(work)),
        queue_(queue),
        arriving_(std::move(arriving)),
        arrange_(std::move(arrange)) {}
  /// Blocks (the host, or the queue of a device) until the rows are here and hands them over; once.
  at::Tensor wait();

 private:
  Work work_;
  Queue queue_;
  at::Tensor arriving_;
  std::function<at::Tensor(const at::Tensor&)> arrange_;
};

/// Moves tokens to the ranks that hold their experts, and results back. `send` and `collect` are
/// linear and transposes of each other, so each is the other's backward. Stable: copies of a slot
/// stay ordered by (source rank, token). Collective over the group; zero tokens are ordinary. The
/// map must live until the rows have arrived.
class TokenDispatcher {
 public:
  /// Rows of tokens travel in the type `wire`, by default their own, and so do those that stay on
  /// their rank, so that no bit depends on the layout.
  explicit TokenDispatcher(Communicator& group,
                           const ComputeDevice& device = {},
                           std::optional<DType> wire = {})
      : group_(group),
        device_(device),
        wire_(wire) {}

  /// expert_ids is [T, K] int32 on the host, -1 = empty. Each rank's copies of an expert fill the
  /// quotas of its replicas in the order of split_tokens: here, in the node, elsewhere. Exchanges
  /// how many copies each pair of ranks has for each slot; throws CommError when ranks planned from
  /// different counts or a slot would get other than its quota.
  TokenMap plan(const at::Tensor& expert_ids,
                const ExchangedCounts& counts,
                const ExpertPlan& plan) const;

  /// [T, D] -> [R, D] in (slot, source rank, token) order, in the type of x.
  MovingRows send(const TokenMap& map, const at::Tensor& x) const;
  /// [R, D] -> [T, D]: each token's copies are summed in order of k, in the wide type of y.
  MovingRows collect(const TokenMap& map, const at::Tensor& y) const;
  /// [T, K] -> [R]: a number for each copy (its weight).
  MovingRows send_choices(const TokenMap& map, const at::Tensor& weights) const;
  /// [R] -> [T, K]; zero where there is no expert.
  MovingRows collect_choices(const TokenMap& map, const at::Tensor& values) const;

 private:
  at::Tensor on_wire(const at::Tensor& rows) const;
  /// [S, ..] -> [R, ..], which take the type `type`
  MovingRows to_owners(const TokenMap& map, const at::Tensor& copies, at::ScalarType type) const;
  /// [R, ..] -> [S, ..], then `arrange`
  MovingRows to_sources(const TokenMap& map,
                        const at::Tensor& results,
                        std::function<at::Tensor(const at::Tensor&)> arrange) const;
  Communicator& group_;
  ComputeDevice device_;
  std::optional<DType> wire_;
};

}  // namespace enodia

#pragma once

#include <compare>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "collectives/communicator.h"
#include "collectives/sparse/sparse_collectives.h"
#include "parallel/column_table.h"
#include "parallel/expert_shape.h"
#include "parallel/mesh.h"
#include "parallel/parameter_registry.h"
#include "parallel/placement/expert_stripes.h"
#include "parallel/placement/placement_options.h"
#include "parallel/placement/static_placement.h"
#include "parallel/slot_pool.h"

namespace enodia {

/// One expert's matrices: gate_up [2F, D] (gate first) and down [D, F].
struct ExpertMatrices {
  at::Tensor gate_up, down;
};

class ExpertStore;

/// One micro-batch on its way through an MoE layer, forward and back.
struct LayerPass {
  int layer = 0;
  int64_t micro_batch = 0;
  auto operator<=>(const LayerPass&) const = default;
};

/// The right to use the experts placed on this rank for one pass over a layer. Move-only; weights
/// must not change while a lease is out. Slots are in the order of placement.experts_on(rank).
class Lease {
 public:
  Lease(Lease&& other) noexcept;
  Lease& operator=(Lease&&) = delete;
  ~Lease();
  int layer() const { return layer_; }
  std::vector<ExpertMatrices> weights;
  /// Gradients accumulate here: an owner's straight into its row, a replica's into its slot, as do
  /// those of all experts where owners have stripes.
  /// Empty for a lease of a forward pass.
  std::vector<ExpertMatrices> gradients;

 private:
  friend class ExpertStore;
  Lease(ExpertStore& store, int layer, const ExpertPlacement& placement)
      : store_(&store),
        layer_(layer),
        placement_(placement) {}
  ExpertStore* store_;
  int layer_;
  ExpertPlacement placement_;
  std::map<int32_t, at::Tensor> gradient_slots_;  // by expert
};

enum class LeaseUse : uint8_t { kForward, kBackward };

/// What a change of owners has moved, over all ranks.
struct MovedExperts {
  int64_t experts = 0;
  int64_t bytes = 0;
};

/// A table of experts: row = chunk, or stripe of one, that this rank owns, columns `master`, `grad`
/// and those the optimizer adds, and in mixed precision `compute`, which
/// ParameterRegistry::write_compute writes. An expert may be computed elsewhere, too. Where it has
/// further homes (ep < world, or fewer experts than ranks) these hold a permanent replica,
/// refreshed in commit_step; other replicas are materialized for a layer and a placement, and
/// released (Hecate, arXiv 2502.02581v1, section 3). With shape.stripes > 1 an owner has a stripe
/// (owner_of_stripe), and whoever computes an expert, at home too, materializes it (LAER-MoE, arXiv
/// 2602.11686v1). The gradients of all replicas go home after every micro-batch. Owners stay,
/// unless move_owners says otherwise. All collective calls are made by all ranks, in one order.
class ExpertStore {
 public:
  /// names[layer] is the prefix of an MoE layer's experts, "model.layers.3.mlp.experts", and
  /// layers[layer] where they live. Adds the logical parameters of the owned experts to the
  /// registry, which it borrows. shape.stripes divides world_size. `rule` says how chunks travel
  /// between nodes. Local.
  ExpertStore(const ProcessMesh& mesh,
              ParameterRegistry& registry,
              const std::vector<std::string>& names,
              std::vector<StaticLayer> layers,
              const ExpertShape& shape,
              const ScheduleRule& rule = {});

  int num_layers() const { return static_cast<int>(layers_.size()); }
  /// Homes of a layer's experts among the ranks of an expert-parallel group.
  const ExpertPlacement& placement(int layer) const { return layers_.at(layer).homes; }
  const std::vector<int32_t>& owners(int layer) const { return layers_.at(layer).owners; }
  ExpertOwners owners() const { return owners_of(layers_); }
  /// Whether owners are others than those that the store began with, or have been.
  bool owners_have_moved() const { return owners_have_moved_; }

  /// Makes the slots that a step of so many micro-batches may need under `options`, so that no load
  /// that comes up later asks for more memory. Of a policy without a limit none are made before
  /// they are needed. Holds for owners that move later, too. Local.
  void reserve_slots(const PlacementOptions& options, int64_t micro_batches, int kept_layers);

  /// Starts to bring the experts of `placement` here that are neither whole at home nor here
  /// already for this pass, and drops others. Replicas beyond homes need ep = world_size.
  /// Collective.
  void materialize(const LayerPass& pass, const ExpertPlacement& placement);
  /// Frees the slots of a pass's replicas; no lease of it may be out. Local.
  void release(const LayerPass& pass);
  /// Materializes what is missing and waits for it. For kBackward the gradients of replicas start
  /// at zero. Collective.
  Lease acquire(const LayerPass& pass, const ExpertPlacement& placement, LeaseUse use);
  /// Starts the way home of the replicas' gradients and ends the lease. Collective.
  void send_home(Lease lease);
  /// Waits for all gradients under way. Owners have then summed in order of micro-batch, in each
  /// their own first, then the other ranks' by rank. Before gradients are read.
  void finish_gradients();
  /// Whether experts may change owners: each lives with its owner alone.
  bool can_move() const;
  /// Gives the experts other owners, [layers][experts]: their rows travel bit by bit, in all
  /// columns but the gradient, which starts at zero. Each rank has as many rows as before, of all
  /// layers together (UsageError otherwise). Between a step's update and the next forward: no lease
  /// may be out, nothing materialized, no gradient under way. Collective.
  MovedExperts move_owners(const ExpertOwners& owners);
  /// After the owners' weights changed: permanent replicas take the new weights. No lease may be
  /// out and no replica materialized. Collective.
  void refresh_replicas();

 private:
  friend class Lease;
  /// Where this rank's chunk of an expert is, or its stripe.
  struct Home {
    int64_t offset;  // in its table's columns
    bool owned;
  };
  /// Experts for a pass that are here or on their way.
  struct Materialized {
    ExpertPlacement placement;
    std::map<int32_t, at::Tensor> slots;  // by expert
    std::vector<Work> arriving;
  };
  /// Gradients on their way to their owners.
  struct GoingHome {
    Work work;
    std::map<int32_t, at::Tensor> slots;  // that are free when they have arrived
  };

  void place_layer(int layer);
  /// A row whose owner changes.
  struct RowMove {
    int layer;
    int32_t expert;
    int stripe;
    int32_t from, to;
  };
  std::vector<LogicalParameter> logical_parameters(int layer, int32_t expert, int64_t offset) const;
  std::vector<RowMove> list_moves(const ExpertOwners& owners) const;
  void settle(const std::vector<RowMove>& moves, const std::vector<int64_t>& places);
  void move_column(const std::vector<RowMove>& moves,
                   const std::vector<int64_t>& new_rows,
                   const std::string& column);
  bool is_striped() const { return shape_.stripes > 1; }
  /// The elements that this rank owns of a chunk; all of it, unless it is striped.
  Slice own_part() const { return shape_.stripe(stripe_of_rank(mesh_.rank(), shape_.stripes)); }
  /// What a home has of an expert.
  at::Tensor part(const Home& home, std::string_view column) const;
  /// Null where an expert is not whole at home here.
  const Home* home_of(int layer, int32_t expert) const;
  const Home& owned_home(int layer, int32_t expert) const;
  /// What the schedules of sparse collectives call a chunk: stripe by stripe, expert by expert.
  int32_t expert_of(int32_t chunk) const { return chunk / shape_.stripes; }
  at::Tensor stripe_in(const at::Tensor& slot, int32_t chunk) const;
  /// Runs through the stripes that this rank owns of experts that it holds in slots.
  void with_own_parts(int layer,
                      std::string_view column,
                      const std::map<int32_t, at::Tensor>& slots,
                      const std::function<void(at::Tensor owned, at::Tensor in_slot)>& use) const;
  /// Every rank of all groups that holds an expert of `placement`, for each of its stripes.
  ChunkPlaces places_of(int layer, const ExpertPlacement& placement) const;
  SparseSchedule schedule_for(const ChunkPlaces& places, at::ScalarType type) const;
  void wait_until_here(Materialized& replicas);
  void end_oldest();

  /// What reserve_slots was asked for.
  struct Reservation {
    PlacementOptions options;
    int64_t micro_batches = 0;
    int kept_layers = 0;
  };

  const ProcessMesh& mesh_;
  ParameterRegistry& registry_;
  ExpertShape shape_;
  ScheduleRule rule_;
  std::vector<std::string> names_;  // [layers]
  std::vector<StaticLayer> layers_;
  std::vector<std::map<int32_t, Home>> homes_;  // [layers] of this rank, by expert
  int64_t owned_rows_ = 0, replica_rows_ = 0;
  Precision precision_;
  std::unique_ptr<ColumnTable> owned_, replicas_;
  SlotPool weight_slots_, gradient_slots_;
  std::map<LayerPass, Materialized> materialized_;
  std::deque<GoingHome> going_home_;  // oldest first
  int leases_out_ = 0;
  bool owners_have_moved_ = false;
  std::optional<Reservation> reserved_;
};

}  // namespace enodia

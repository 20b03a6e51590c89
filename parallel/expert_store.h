#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "collectives/communicator.h"
#include "collectives/sparse/sparse_collectives.h"
#include "parallel/column_table.h"
#include "parallel/mesh.h"
#include "parallel/parameter_registry.h"
#include "parallel/placement/static_placement.h"

namespace enodia {

/// What the experts of all MoE layers look like: SwiGLU feed-forwards of one shape.
struct ExpertShape {
  int64_t hidden_size = 0;        ///< D
  int64_t intermediate_size = 0;  ///< F
  int64_t gate_up_elements() const { return 2 * intermediate_size * hidden_size; }
  int64_t down_elements() const { return hidden_size * intermediate_size; }
  /// Elements of one chunk: gate, up and down, padded to 256 bytes.
  int64_t chunk_elements() const;
};

/// One expert's matrices: gate_up [2F, D] (gate first) and down [D, F].
struct ExpertMatrices {
  at::Tensor gate_up, down;
};

class ExpertStore;

/// The right to use the experts placed on this rank for one pass over a layer. Move-only; weights
/// must not change while a lease is out. Slots are in the order of placement.experts_on(rank).
class Lease {
 public:
  Lease(Lease&& other) noexcept;
  Lease& operator=(Lease&&) = delete;
  ~Lease();
  int layer() const { return layer_; }
  std::vector<ExpertMatrices> weights;
  /// Gradients accumulate here: an owner's straight into its row, a replica's into its slot.
  /// Empty for a lease of a forward pass.
  std::vector<ExpertMatrices> gradients;

 private:
  friend class ExpertStore;
  Lease(ExpertStore& store, int layer) : store_(&store), layer_(layer) {}
  ExpertStore* store_;
  int layer_;
};

enum class LeaseUse : uint8_t { kForward, kBackward };

/// A table of experts: row = expert chunk that this rank owns, columns `master`, `grad` and those
/// the optimizer adds, and in mixed precision `compute`, which ParameterRegistry::write_compute
/// writes. Where an expert has further homes (ep < world, or fewer experts than ranks)
/// these hold a permanent replica: its gradients go home after every micro-batch, its weights are
/// refreshed in commit_step. All collective calls are made by all ranks, for layers in one order.
class ExpertStore {
 public:
  /// names[layer] is the prefix of an MoE layer's experts, "model.layers.3.mlp.experts". Adds the
  /// logical parameters of the owned experts to the registry. Local.
  ExpertStore(const ProcessMesh& mesh,
              ParameterRegistry& registry,
              const std::vector<std::string>& names,
              int num_experts,
              const ExpertShape& shape);

  int num_layers() const { return static_cast<int>(layers_.size()); }
  /// Homes of a layer's experts among the ranks of an expert-parallel group.
  const ExpertPlacement& placement(int layer) const { return layers_.at(layer).homes; }
  const std::vector<int32_t>& owners(int layer) const { return layers_.at(layer).owners; }

  /// Local. For kBackward the gradients of replicas start at zero.
  Lease acquire(int layer, LeaseUse use);
  /// Starts the way home of the replicas' gradients and ends the lease. Collective.
  void send_home(Lease lease);
  /// Waits for all gradients under way. Owners have then summed in order of micro-batch, in each
  /// their own first, then the other homes' by rank. Before gradients are read.
  void finish_gradients();
  /// After the owners' weights changed: replicas take the new weights. No lease may be out.
  /// Collective.
  void refresh_replicas();

 private:
  friend class Lease;
  struct Slot {
    int64_t offset;  // of its chunk, in its table's columns
    bool owned;
  };
  struct StoredLayer {
    SparseSchedule schedule;
    std::vector<Slot> slots;              // of this rank, in order of experts_on(rank in group)
    std::vector<int32_t> slot_of_expert;  // -1 = not here
  };

  void place_layer(int layer, ParameterRegistry& registry, const std::string& name);
  void add_logical_parameters(ParameterRegistry& registry,
                              const std::string& name,
                              int64_t offset) const;
  ExpertMatrices matrices(const Slot& slot, std::string_view column) const;
  at::Tensor chunk(const Slot& slot, std::string_view column) const;
  const Slot& slot_on_this_rank(int layer, int32_t expert) const;

  const ProcessMesh& mesh_;
  ExpertShape shape_;
  std::vector<StaticLayer> layers_;
  std::vector<StoredLayer> stored_;
  int64_t owned_rows_ = 0, replica_rows_ = 0;
  Precision precision_;
  std::unique_ptr<ColumnTable> owned_, replicas_;
  std::deque<std::pair<int, Work>> going_home_;  // (layer, work), oldest first
  int leases_out_ = 0;
};

}  // namespace enodia

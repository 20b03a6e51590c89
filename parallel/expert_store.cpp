#include "parallel/expert_store.h"

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "parallel/tensor_view.h"

namespace enodia {

int64_t ExpertShape::chunk_elements() const {
  constexpr int64_t kAlignment = 64;  // 256 bytes of float32
  const int64_t elements = gate_up_elements() + down_elements();
  return (elements + kAlignment - 1) / kAlignment * kAlignment;
}

Lease::Lease(Lease&& other) noexcept
    : weights(std::move(other.weights)),
      gradients(std::move(other.gradients)),
      store_(std::exchange(other.store_, nullptr)),
      layer_(other.layer_) {}

Lease::~Lease() {
  if (store_ != nullptr) {
    --store_->leases_out_;
  }
}

ExpertStore::ExpertStore(const ProcessMesh& mesh,
                         ParameterRegistry& registry,
                         const std::vector<std::string>& names,
                         int num_experts,
                         const ExpertShape& shape)
    : mesh_(mesh),
      shape_(shape),
      layers_(static_placement(
          static_cast<int>(names.size()), num_experts, mesh.layout().ep, mesh.world_size())),
      precision_(registry.precision()) {
  int64_t owned_rows = 0;
  int64_t held_rows = 0;
  for (const StaticLayer& layer : layers_) {
    owned_rows += std::count(layer.owners.begin(), layer.owners.end(), mesh.rank());
    held_rows += std::ssize(layer.world_homes(mesh.world_size()).experts_on(mesh.rank()));
  }
  const auto make_table = [&](int64_t rows) {
    return std::make_unique<ColumnTable>(rows * shape.chunk_elements(), mesh.device().place);
  };
  owned_ = make_table(owned_rows);
  replicas_ = make_table(held_rows - owned_rows);
  owned_->add_column("master", MemoryKind::kParameters, precision_.wide);
  owned_->add_column("grad", MemoryKind::kGradients, precision_.wide);
  if (precision_.is_mixed()) {
    owned_->add_column("compute", MemoryKind::kParameters, precision_.compute);
  }
  const std::string weights(precision_.weights());
  replicas_->add_column(weights, MemoryKind::kReplicas, precision_.compute);
  replicas_->add_column("grad", MemoryKind::kReplicas, precision_.wide);
  registry.adopt(*owned_);
  for (size_t layer = 0; layer < names.size(); ++layer) {
    place_layer(static_cast<int>(layer), registry, names[layer]);
  }
}

void ExpertStore::place_layer(int layer, ParameterRegistry& registry, const std::string& name) {
  const StaticLayer& placed = layers_[layer];
  const ExpertPlacement homes = placed.world_homes(mesh_.world_size());
  StoredLayer& stored = stored_.emplace_back();
  stored.slot_of_expert.assign(homes.num_experts(), -1);
  std::vector<std::vector<int32_t>> holders(homes.num_experts());
  for (int expert = 0; expert < homes.num_experts(); ++expert) {
    const auto ranks = homes.ranks_of(expert);
    holders[expert].assign(ranks.begin(), ranks.end());
  }
  stored.schedule = direct_schedule(placed.owners, holders);
  for (const int32_t expert : homes.experts_on(mesh_.rank())) {
    const bool owned = placed.owners[expert] == mesh_.rank();
    const int64_t row = owned ? owned_rows_++ : replica_rows_++;
    const Slot slot{row * shape_.chunk_elements(), owned};
    stored.slot_of_expert[expert] = static_cast<int32_t>(stored.slots.size());
    stored.slots.push_back(slot);
    if (owned) {
      add_logical_parameters(registry, name + "." + std::to_string(expert), slot.offset);
    }
  }
}

void ExpertStore::add_logical_parameters(ParameterRegistry& registry,
                                         const std::string& name,
                                         int64_t offset) const {
  const int64_t hidden = shape_.hidden_size;
  const int64_t ffn = shape_.intermediate_size;
  const auto add = [&](const std::string& matrix, std::vector<int64_t> shape, int64_t at) {
    LogicalParameter parameter;
    parameter.name = name + "." + matrix + "_proj.weight";
    parameter.shape = parameter.size = std::move(shape);
    parameter.offset.assign(parameter.shape.size(), 0);
    parameter.owned_rows = parameter.updated_rows = parameter.master_rows = parameter.all_rows();
    parameter.table = owned_.get();
    parameter.first = offset + at;
    registry.add_owned(std::move(parameter));
  };
  add("gate", {ffn, hidden}, 0);
  add("up", {ffn, hidden}, ffn * hidden);
  add("down", {hidden, ffn}, shape_.gate_up_elements());
}

at::Tensor ExpertStore::chunk(const Slot& slot, std::string_view column) const {
  const ColumnTable& table = slot.owned ? *owned_ : *replicas_;
  return table.view(column, {slot.offset, shape_.chunk_elements()});
}

ExpertMatrices ExpertStore::matrices(const Slot& slot, std::string_view column) const {
  const at::Tensor flat = chunk(slot, column);
  const int64_t hidden = shape_.hidden_size;
  const int64_t ffn = shape_.intermediate_size;
  return {flat.narrow(0, 0, shape_.gate_up_elements()).view({2 * ffn, hidden}),
          flat.narrow(0, shape_.gate_up_elements(), shape_.down_elements()).view({hidden, ffn})};
}

const ExpertStore::Slot& ExpertStore::slot_on_this_rank(int layer, int32_t expert) const {
  const StoredLayer& stored = stored_.at(layer);
  return stored.slots.at(stored.slot_of_expert.at(expert));
}

Lease ExpertStore::acquire(int layer, LeaseUse use) {
  Lease lease(*this, layer);
  ++leases_out_;
  if (use == LeaseUse::kBackward) {
    // A replica has one gradient slot: what an earlier micro-batch left in it must be home first.
    // Draining in order keeps the owner's sums in (micro-batch, rank) order.
    const auto busy = [&](const auto& going) { return going.first == layer; };
    while (std::any_of(going_home_.begin(), going_home_.end(), busy)) {
      going_home_.front().second.wait(mesh_.device().queue);
      going_home_.pop_front();
    }
  }
  for (const Slot& slot : stored_.at(layer).slots) {
    lease.weights.push_back(matrices(slot, precision_.weights()));
    if (use == LeaseUse::kBackward) {
      lease.gradients.push_back(matrices(slot, "grad"));
      if (!slot.owned) {
        chunk(slot, "grad").zero_();
      }
    }
  }
  return lease;
}

void ExpertStore::send_home(Lease lease) {
  const int layer = lease.layer();
  const auto gradient = [&](int32_t expert) {
    return view(chunk(slot_on_this_rank(layer, expert), "grad"));
  };
  going_home_.emplace_back(
      layer,
      sparse_reduce_scatter(
          mesh_.replicas(), stored_.at(layer).schedule, gradient, gradient, mesh_.device().queue));
}

void ExpertStore::finish_gradients() {
  for (; !going_home_.empty(); going_home_.pop_front()) {
    going_home_.front().second.wait(mesh_.device().queue);
  }
}

void ExpertStore::refresh_replicas() {
  ENODIA_CHECK_EQ(leases_out_, 0, "weights must not change while a lease is out");
  std::vector<Work> works;
  for (int layer = 0; layer < num_layers(); ++layer) {
    const auto weights = [&](int32_t expert) {
      return view(chunk(slot_on_this_rank(layer, expert), precision_.weights()));
    };
    works.push_back(sparse_all_gather(
        mesh_.replicas(), stored_[layer].schedule, weights, weights, mesh_.device().queue));
  }
  for (Work& work : works) {
    work.wait(mesh_.device().queue);
  }
}

}  // namespace enodia

#include "parallel/expert_store.h"

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "parallel/placement/slot_count.h"
#include "parallel/tensor_view.h"

namespace enodia {
namespace {

/// Gradients of so many layers may be on their way while those of the next are computed: enough to
/// hide them, and few enough for their slots.
constexpr size_t kLayersGoingHome = 1;

ExpertMatrices matrices_of(const at::Tensor& chunk, const ExpertShape& shape) {
  const int64_t hidden = shape.hidden_size;
  const int64_t ffn = shape.intermediate_size;
  return {chunk.narrow(0, 0, shape.gate_up_elements()).view({2 * ffn, hidden}),
          chunk.narrow(0, shape.gate_up_elements(), shape.down_elements()).view({hidden, ffn})};
}

}  // namespace

Lease::Lease(Lease&& other) noexcept
    : weights(std::move(other.weights)),
      gradients(std::move(other.gradients)),
      store_(std::exchange(other.store_, nullptr)),
      layer_(other.layer_),
      placement_(std::move(other.placement_)),
      gradient_slots_(std::move(other.gradient_slots_)) {}

Lease::~Lease() {
  if (store_ != nullptr) {
    --store_->leases_out_;
  }
}

ExpertStore::ExpertStore(const ProcessMesh& mesh,
                         ParameterRegistry& registry,
                         const std::vector<std::string>& names,
                         std::vector<StaticLayer> layers,
                         const ExpertShape& shape,
                         const ScheduleRule& rule)
    : mesh_(mesh),
      registry_(registry),
      shape_(shape),
      rule_(rule),
      names_(names),
      layers_(std::move(layers)),
      precision_(registry.precision()),
      weight_slots_(shape.chunk_elements(), precision_.compute, mesh.device().place),
      gradient_slots_(shape.chunk_elements(), precision_.wide, mesh.device().place) {
  ENODIA_CHECK_EQ(names.size(), layers_.size());
  ENODIA_CHECK(shape.stripes > 0 && mesh.world_size() % shape.stripes == 0,
               "stripes (",
               shape.stripes,
               ") must divide the world (",
               mesh.world_size(),
               ")");
  const RowCount rows = count_rows(layers_, shape.stripes, mesh.world_size(), mesh.rank());
  const auto make_table = [&](int64_t count) {
    return std::make_unique<ColumnTable>(count * shape.stripe_elements(), mesh.device().place);
  };
  owned_ = make_table(rows.owned);
  replicas_ = make_table(rows.replicas);
  owned_->add_column("master", MemoryKind::kParameters, precision_.wide);
  owned_->add_column("grad", MemoryKind::kGradients, precision_.wide);
  if (precision_.is_mixed()) {
    owned_->add_column("compute", MemoryKind::kParameters, precision_.compute);
  }
  const std::string weights(precision_.weights());
  replicas_->add_column(weights, MemoryKind::kReplicas, precision_.compute);
  registry.adopt(*owned_);
  for (size_t layer = 0; layer < names.size(); ++layer) {
    place_layer(static_cast<int>(layer));
  }
}

void ExpertStore::place_layer(int layer) {
  const StaticLayer& placed = layers_[layer];
  std::map<int32_t, Home>& homes = homes_.emplace_back();
  const auto add_row = [&](int32_t expert, bool owned) {
    const int64_t row = owned ? owned_rows_++ : replica_rows_++;
    homes[expert] = {row * shape_.stripe_elements(), owned};
  };
  const ExpertPlacement world_homes = placed.world_homes(mesh_.world_size());
  for (int32_t expert = 0; expert < std::ssize(placed.owners); ++expert) {
    if (owns_stripe(mesh_.rank(), placed.owners[expert], shape_.stripes)) {
      add_row(expert, true);
      for (LogicalParameter& parameter : logical_parameters(layer, expert, homes[expert].offset)) {
        registry_.add_owned(std::move(parameter));
      }
    } else if (!is_striped() && world_homes.slot_of(mesh_.rank(), expert) >= 0) {
      add_row(expert, false);
    }
  }
}

/// Of an expert of which this rank has its part, or will have it, at `offset`.
std::vector<LogicalParameter> ExpertStore::logical_parameters(int layer,
                                                              int32_t expert,
                                                              int64_t offset) const {
  const int64_t hidden = shape_.hidden_size;
  const int64_t ffn = shape_.intermediate_size;
  const std::string prefix = names_[layer] + "." + std::to_string(expert) + ".";
  const Slice mine = own_part();
  std::vector<LogicalParameter> parameters;
  const auto add = [&](const std::string& matrix, int64_t rows, int64_t columns, int64_t at) {
    const int64_t first = std::clamp(mine.first - at, int64_t{0}, rows * columns) / columns;
    const int64_t end = std::clamp(mine.end() - at, int64_t{0}, rows * columns) / columns;
    if (first == end) {
      return;
    }
    LogicalParameter& parameter = parameters.emplace_back();
    parameter.name = prefix + matrix + "_proj.weight";
    parameter.shape = {rows, columns};
    parameter.offset = {first, 0};
    parameter.size = {end - first, columns};
    parameter.owned_rows = parameter.updated_rows = parameter.master_rows = parameter.all_rows();
    parameter.table = owned_.get();
    parameter.first = offset + at + first * columns - mine.first;
  };
  add("gate", ffn, hidden, 0);
  add("up", ffn, hidden, ffn * hidden);
  add("down", hidden, ffn, shape_.gate_up_elements());
  return parameters;
}

at::Tensor ExpertStore::part(const Home& home, std::string_view column) const {
  const ColumnTable& table = home.owned ? *owned_ : *replicas_;
  return table.view(column, {home.offset, own_part().count});
}

at::Tensor ExpertStore::stripe_in(const at::Tensor& slot, int32_t chunk) const {
  const Slice stripe = shape_.stripe(chunk % shape_.stripes);
  return slot.narrow(0, stripe.first, stripe.count);
}

const ExpertStore::Home* ExpertStore::home_of(int layer, int32_t expert) const {
  const auto found = homes_.at(layer).find(expert);
  return is_striped() || found == homes_[layer].end() ? nullptr : &found->second;
}

const ExpertStore::Home& ExpertStore::owned_home(int layer, int32_t expert) const {
  const auto found = homes_.at(layer).find(expert);
  ENODIA_CHECK(found != homes_[layer].end() && found->second.owned,
               "expert ",
               expert,
               " is owned elsewhere");
  return found->second;
}

void ExpertStore::with_own_parts(
    int layer,
    std::string_view column,
    const std::map<int32_t, at::Tensor>& slots,
    const std::function<void(at::Tensor owned, at::Tensor in_slot)>& use) const {
  const Slice mine = own_part();
  for (const auto& [expert, slot] : slots) {
    if (owns_stripe(mesh_.rank(), layers_[layer].owners[expert], shape_.stripes)) {
      use(part(owned_home(layer, expert), column), slot.narrow(0, mine.first, mine.count));
    }
  }
}

ChunkPlaces ExpertStore::places_of(int layer, const ExpertPlacement& placement) const {
  ChunkPlaces places;
  for (int expert = 0; expert < placement.num_experts(); ++expert) {
    std::vector<int32_t> holders;
    for (int group = 0; group < mesh_.world_size(); group += placement.world_size()) {
      for (const int32_t rank : placement.ranks_of(expert)) {
        holders.push_back(group + rank);
      }
    }
    for (int stripe = 0; stripe < shape_.stripes; ++stripe) {
      const int32_t owner = layers_[layer].owners[expert];
      places.owners.push_back(owner_of_stripe(owner, stripe, shape_.stripes));
      places.holders.push_back(holders);
      places.elements.push_back(shape_.stripe(stripe).count);
    }
  }
  return places;
}

SparseSchedule ExpertStore::schedule_for(const ChunkPlaces& places, at::ScalarType type) const {
  const auto element_bytes = static_cast<int64_t>(c10::elementSize(type));
  return choose_schedule(places, mesh_.replicas().nodes(), element_bytes, rule_);
}

void ExpertStore::reserve_slots(const PlacementOptions& options,
                                int64_t micro_batches,
                                int kept_layers) {
  reserved_ = {options, micro_batches, kept_layers};
  if (options.policy != nullptr && options.policy->slots == SlotUse::kUnlimited) {
    return;
  }
  const SlotCount count =
      count_slots(layers_, options, mesh_.world_size(), mesh_.rank(), micro_batches, kept_layers);
  weight_slots_.reserve(count.weights);
  gradient_slots_.reserve(count.gradients);
}

void ExpertStore::materialize(const LayerPass& pass, const ExpertPlacement& placement) {
  const int layer = pass.layer;
  const ExpertPlacement& homes = this->placement(layer);
  const auto found = materialized_.find(pass);
  const ExpertPlacement* const before = found != materialized_.end() ? &found->second.placement
                                        : is_striped()               ? nullptr
                                                                     : &homes;
  if (before != nullptr && placement == *before) {
    return;
  }
  const auto is_here = [&](int32_t rank, int32_t expert) {
    return before != nullptr && before->slot_of(rank, expert) >= 0;
  };
  ENODIA_CHECK(placement.world_size() == mesh_.world_size() || placement == homes,
               "replicas beyond homes need ep = world");
  Materialized& here = materialized_[pass];
  ChunkPlaces missing = places_of(layer, placement);
  for (int32_t chunk = 0; chunk < std::ssize(missing.owners); ++chunk) {
    std::erase_if(missing.holders[chunk],
                  [&](int32_t rank) { return is_here(rank, expert_of(chunk)); });
  }
  const int group_rank = mesh_.rank() % placement.world_size();
  for (auto slot = here.slots.begin(); slot != here.slots.end();) {
    if (placement.slot_of(group_rank, slot->first) >= 0) {
      ++slot;
      continue;
    }
    wait_until_here(here);  // nothing may arrive in a slot that is another's
    weight_slots_.give_back(std::move(slot->second));
    slot = here.slots.erase(slot);
  }
  std::map<int32_t, at::Tensor> fresh;
  for (const int32_t expert : placement.experts_on(group_rank)) {
    if (!is_here(group_rank, expert)) {
      fresh[expert] = here.slots[expert] = weight_slots_.take();
    }
  }
  with_own_parts(
      layer, precision_.weights(), fresh, [](const at::Tensor& owned, const at::Tensor& in_slot) {
        at::Tensor(in_slot).copy_(owned);
      });
  here.placement = placement;
  here.arriving.push_back(sparse_all_gather(
      mesh_.replicas(),
      schedule_for(missing, precision_.compute),
      [&](int32_t chunk) {
        return view(part(owned_home(layer, expert_of(chunk)), precision_.weights()));
      },
      [&](int32_t chunk) { return view(stripe_in(here.slots.at(expert_of(chunk)), chunk)); },
      mesh_.device().queue));
}

void ExpertStore::wait_until_here(Materialized& replicas) {
  for (Work& work : replicas.arriving) {
    work.wait(mesh_.device().queue);
  }
  replicas.arriving.clear();
}

void ExpertStore::release(const LayerPass& pass) {
  const auto found = materialized_.find(pass);
  if (found == materialized_.end()) {
    return;
  }
  wait_until_here(found->second);
  for (auto& [expert, slot] : found->second.slots) {
    weight_slots_.give_back(std::move(slot));
  }
  materialized_.erase(found);
}

Lease ExpertStore::acquire(const LayerPass& pass, const ExpertPlacement& placement, LeaseUse use) {
  materialize(pass, placement);
  const int layer = pass.layer;
  const auto materialized = materialized_.find(pass);
  if (materialized != materialized_.end()) {
    wait_until_here(materialized->second);
  }
  if (use == LeaseUse::kBackward) {
    while (going_home_.size() > kLayersGoingHome) {
      end_oldest();
    }
  }
  Lease lease(*this, layer, placement);
  ++leases_out_;
  for (const int32_t expert : placement.experts_on(mesh_.rank() % placement.world_size())) {
    const Home* home = home_of(layer, expert);
    lease.weights.push_back(matrices_of(
        home != nullptr ? part(*home, precision_.weights()) : materialized->second.slots.at(expert),
        shape_));
    if (use == LeaseUse::kForward) {
      continue;
    }
    if (home != nullptr && home->owned) {
      lease.gradients.push_back(matrices_of(part(*home, "grad"), shape_));
    } else {
      const at::Tensor slot = gradient_slots_.take().zero_();
      lease.gradients.push_back(matrices_of(slot, shape_));
      lease.gradient_slots_[expert] = slot;
    }
  }
  return lease;
}

void ExpertStore::send_home(Lease lease) {
  const int layer = lease.layer();
  with_own_parts(
      layer, "grad", lease.gradient_slots_, [](const at::Tensor& owned, const at::Tensor& in_slot) {
        at::Tensor(owned).add_(in_slot);
      });
  Work work = sparse_reduce_scatter(
      mesh_.replicas(),
      schedule_for(places_of(layer, lease.placement_), precision_.wide),
      [&](int32_t chunk) {
        return view(stripe_in(lease.gradient_slots_.at(expert_of(chunk)), chunk));
      },
      [&](int32_t chunk) { return view(part(owned_home(layer, expert_of(chunk)), "grad")); },
      mesh_.device().queue);
  lease.gradients.clear();
  going_home_.push_back({std::move(work), std::move(lease.gradient_slots_)});
}

/// In order, so that the owner's sums are in order of micro-batch and rank.
void ExpertStore::end_oldest() {
  GoingHome& oldest = going_home_.front();
  oldest.work.wait(mesh_.device().queue);
  for (auto& [expert, slot] : oldest.slots) {
    gradient_slots_.give_back(std::move(slot));
  }
  going_home_.pop_front();
}

void ExpertStore::finish_gradients() {
  while (!going_home_.empty()) {
    end_oldest();
  }
}

void ExpertStore::refresh_replicas() {
  ENODIA_CHECK_EQ(leases_out_, 0, "weights must not change while a lease is out");
  ENODIA_CHECK(materialized_.empty(), "weights must not change while replicas of them are out");
  std::vector<Work> works;
  for (int layer = 0; layer < num_layers() && !is_striped(); ++layer) {
    const auto weights = [&](int32_t expert) {
      return view(part(homes_[layer].at(expert), precision_.weights()));
    };
    works.push_back(
        sparse_all_gather(mesh_.replicas(),
                          schedule_for(places_of(layer, placement(layer)), precision_.compute),
                          weights,
                          weights,
                          mesh_.device().queue));
  }
  for (Work& work : works) {
    work.wait(mesh_.device().queue);
  }
}

}  // namespace enodia

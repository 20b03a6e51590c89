#include "parallel/mesh.h"

#include <utility>

#include "common/check.h"

namespace enodia {
namespace {

void check_layout(const Layout& layout, int world_size) {
  ENODIA_CHECK(layout.dp > 0 && layout.tp > 0 && layout.dp * layout.tp == world_size,
               "dp (",
               layout.dp,
               ") times tp (",
               layout.tp,
               ") must be the number of ranks (",
               world_size,
               ")");
  ENODIA_CHECK(layout.ep > 0 && world_size % layout.ep == 0,
               "ep (",
               layout.ep,
               ") must divide the number of ranks (",
               world_size,
               ")");
}

RankPlace place_of(const Layout& layout, int rank, int world_size) {
  RankPlace place = RankPlace::uncut(rank, world_size);
  if (layout.tp == 1) {
    return place;
  }
  place.tp = layout.tp;
  place.tensor_rank = rank % layout.tp;
  const int data_rank = rank / layout.tp;
  // Of heads: whose query heads there are does not matter.
  const HeadShare heads = place.heads(layout.key_value_heads, layout.key_value_heads);
  place.groups[static_cast<size_t>(Holders::kHeads)] = {
      data_rank * heads.holders + place.tensor_rank - heads.first_holder,
      layout.dp * heads.holders};
  place.groups[static_cast<size_t>(Holders::kData)] = {data_rank, layout.dp};
  place.canonical = kAllHolders;
  if (layout.key_value_heads >= layout.tp) {
    place.canonical[static_cast<size_t>(Holders::kHeads)] = Holders::kData;
  }
  return place;
}

}  // namespace

RankPlace RankPlace::uncut(int rank, int world_size) {
  RankPlace place;
  place.rank = rank;
  place.world_size = world_size;
  place.groups.fill({rank, world_size});
  place.canonical.fill(Holders::kWorld);
  return place;
}

ProcessMesh::ProcessMesh(Communicator& world,
                         const Layout& layout,
                         const Decorate& decorate,
                         const ComputeDevice& device)
    : layout_(layout),
      device_(device) {
  check_layout(layout, world.world_size());
  place_ = place_of(layout, world.rank(), world.world_size());
  const auto make = [&](int color, Traffic traffic) {
    std::unique_ptr<Communicator> made = world.split(color, world.rank());
    return decorate ? decorate(std::move(made), traffic) : std::move(made);
  };
  control_ = make(0, Traffic::kControl);
  tensor_ = make(data_rank(), Traffic::kTensor);
  tokens_ = make(world.rank() / layout.ep, Traffic::kTokens);
  replicas_ = make(0, Traffic::kReplicas);
  for (const Holders holders : kAllHolders) {
    if (place_.canonical_of(holders) == holders) {
      // The first rank of a group of holders lies in the first tensor-parallel group.
      const int color =
          holders == Holders::kWorld ? 0
          : holders == Holders::kData
              ? place_.tensor_rank
              : heads_of(
                    layout.key_value_heads, layout.key_value_heads, layout.tp, place_.tensor_rank)
                    .first_holder;
      gradients_[static_cast<size_t>(holders)] = make(color, Traffic::kGradients);
    }
  }
}

}  // namespace enodia

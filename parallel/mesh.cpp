#include "parallel/mesh.h"

#include <utility>

#include "common/check.h"

namespace enodia {

ProcessMesh::ProcessMesh(Communicator& world, const Layout& layout, const Decorate& decorate)
    : layout_(layout) {
  ENODIA_CHECK_EQ(layout.dp, world.world_size(), "dp is the number of ranks");
  ENODIA_CHECK(layout.ep > 0 && layout.dp % layout.ep == 0,
               "ep (",
               layout.ep,
               ") must divide dp (",
               layout.dp,
               ")");
  const auto make = [&](int color, Traffic traffic) {
    std::unique_ptr<Communicator> made = world.split(color, world.rank());
    return decorate ? decorate(std::move(made), traffic) : std::move(made);
  };
  control_ = make(0, Traffic::kControl);
  tokens_ = make(world.rank() / layout.ep, Traffic::kTokens);
  replicas_ = make(0, Traffic::kReplicas);
  gradients_ = make(0, Traffic::kGradients);
}

}  // namespace enodia

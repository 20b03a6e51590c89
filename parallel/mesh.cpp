#include "parallel/mesh.h"

#include "common/check.h"

namespace enodia {

ProcessMesh::ProcessMesh(Communicator& world, const Layout& layout)
    : world_(world),
      layout_(layout) {
  ENODIA_CHECK_EQ(layout.dp, world.world_size(), "dp is the number of ranks");
  ENODIA_CHECK(layout.ep > 0 && layout.dp % layout.ep == 0,
               "ep (",
               layout.ep,
               ") must divide dp (",
               layout.dp,
               ")");
  experts_ = world.split(world.rank() / layout.ep, world.rank());
}

}  // namespace enodia

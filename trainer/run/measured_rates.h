#pragma once

#include "parallel/mesh.h"
#include "parallel/placement/cost_model.h"
#include "trainer/config/train_config.h"

namespace enodia {

/// What all ranks at once reach in products of matrices, on average, and what each sends to a
/// neighbour: in its node, and to another, as many ranks of each node as the smallest has together.
/// Rounded to two digits, since more are noise. Takes half a second, or a second for each rank of a
/// node where links carry 10 MB/s. Collective; the same on every rank but for memory_gb, which is
/// each machine's.
Cluster measure_rates(const ProcessMesh& mesh, const TrainConfig& config);

/// Of the node with the most.
int64_t most_ranks_a_node(const ProcessMesh& mesh);

}  // namespace enodia

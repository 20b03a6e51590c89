#include "parallel/gradient_reduction.h"

#include <numeric>

#include "collectives/collectives.h"
#include "collectives/sharing_rounds.h"
#include "parallel/tensor_view.h"

namespace enodia {
namespace {

/// The elements of a bucket that its holder `index` owns.
Slice share_of_holder(const GradientBucket& bucket, int index) {
  const auto begin = bucket.counts.begin();
  return {std::accumulate(begin, begin + index, bucket.elements.first), bucket.counts[index]};
}

}  // namespace

GradientReduction::GradientReduction(const ProcessMesh& mesh, const ParameterRegistry& registry)
    : mesh_(mesh),
      registry_(registry),
      started_(registry.dense_tables().size()) {}

void GradientReduction::ready_from(int block) {
  const std::span<const DenseTable> tables = registry_.dense_tables();
  for (size_t i = 0; i < tables.size(); ++i) {
    const std::vector<GradientBucket>& buckets = tables[i].buckets;
    size_t& next = started_[i];
    for (; next < buckets.size() && buckets[next].block >= block; ++next) {
      start(tables[i], buckets[next]);
    }
  }
}

void GradientReduction::finish() {
  ready_from(0);
  for (Work& work : under_way_) {
    work.wait(mesh_.device().queue);
  }
  under_way_.clear();
}

void GradientReduction::start(const DenseTable& dense, const GradientBucket& bucket) {
  const ColumnTable& table = *dense.columns;
  Communicator& group = mesh_.gradients(dense.holders);
  const Queue& queue = mesh_.device().queue;
  const Buffer sums = view(table.view("grad", bucket.elements));
  if (registry_.sharding().zero1 == Zero1::kOff) {
    under_way_.push_back(group.all_reduce(sums, ReduceOp::kSum, queue));
  } else {
    const Slice mine = share_of_holder(bucket, group.rank());
    under_way_.push_back(
        reduce_scatter(group, sums, bucket.counts, view(table.view("grad", mine)), queue));
  }
}

void gather_weights(const ProcessMesh& mesh, const ParameterRegistry& registry) {
  if (registry.sharding().zero1 == Zero1::kOff) {
    return;
  }
  std::vector<Work> works;
  for (const DenseTable& table : registry.dense_tables()) {
    if (table.buckets.empty()) {
      continue;
    }
    Communicator& group = mesh.gradients(table.holders);
    std::vector<std::vector<Buffer>> parts(static_cast<size_t>(group.world_size()));
    for (int holder = 0; holder < group.world_size(); ++holder) {
      for (const GradientBucket& bucket : table.buckets) {
        parts[holder].push_back(
            view(table.columns->view(table.weights, share_of_holder(bucket, holder))));
      }
    }
    works.push_back(group.exchange_in_rounds(sharing_rounds(group, parts), mesh.device().queue));
  }
  for (Work& work : works) {
    work.wait(mesh.device().queue);
  }
}

}  // namespace enodia

#include "parallel/gradient_reduction.h"

#include "parallel/tensor_view.h"

namespace enodia {

void reduce_gradients(const ProcessMesh& mesh,
                      const ParameterRegistry& registry,
                      ExpertStore* store) {
  Work dense = mesh.gradients().all_reduce(view(registry.dense_gradients()), ReduceOp::kSum);
  if (store != nullptr) {
    store->finish_gradients();
  }
  dense.wait();
}

}  // namespace enodia

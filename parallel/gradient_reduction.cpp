#include "parallel/gradient_reduction.h"

#include <utility>

#include "parallel/tensor_view.h"

namespace enodia {

GradientReduction::GradientReduction(Communicator& communicator,
                                     at::Tensor gradients,
                                     int64_t bucket_bytes)
    : communicator_(communicator),
      gradients_(std::move(gradients)),
      bucket_bytes_(bucket_bytes),
      under_way_from_(gradients_.numel()) {}

void GradientReduction::ready_from(int64_t first) {
  const auto element_bytes = static_cast<int64_t>(gradients_.element_size());
  if ((under_way_from_ - first) * element_bytes >= bucket_bytes_) {
    start(first);
  }
}

void GradientReduction::finish() {
  start(0);
  for (Work& work : under_way_) {
    work.wait();
  }
  under_way_.clear();
}

void GradientReduction::start(int64_t first) {
  if (first < under_way_from_) {
    const Buffer bucket = view(gradients_).slice(first, under_way_from_ - first);
    under_way_.push_back(communicator_.all_reduce(bucket, ReduceOp::kSum));
    under_way_from_ = first;
  }
}

}  // namespace enodia

#include "parallel/sequence_parallel.h"

#include <ATen/ops/empty.h>

#include "collectives/collectives.h"
#include "common/check.h"
#include "parallel/tensor_view.h"

namespace enodia {

SequenceParallel::SequenceParallel(Communicator& group, int64_t tokens, const Queue& queue)
    : group_(&group),
      queue_(queue) {
  for (int rank = 0; rank < group.world_size(); ++rank) {
    counts_.push_back(share_of(tokens, group.world_size(), rank).count);
  }
  mine_ = own_tokens(group, tokens);
}

std::vector<int64_t> SequenceParallel::elements(int64_t row) const {
  std::vector<int64_t> elements = counts_;
  for (int64_t& count : elements) {
    count *= row;
  }
  return elements;
}

at::Tensor SequenceParallel::own_rows(const at::Tensor& all) const {
  return is_cut() ? all.narrow(0, mine_.first, mine_.count) : all;
}

at::Tensor SequenceParallel::gather(const at::Tensor& own) const {
  if (!is_cut()) {
    return own;
  }
  ENODIA_CHECK_EQ(own.size(0), mine_.count, "rows of this rank");
  const std::vector<int64_t> counts = elements(own.size(1));
  int64_t rows = 0;
  for (const int64_t count : counts_) {
    rows += count;
  }
  const at::Tensor all = at::empty({rows, own.size(1)}, own.options());
  const Queue queue = queue_of(own);
  all_gather(*group_, view(own), counts, view(all), queue).wait(queue);
  return all;
}

at::Tensor SequenceParallel::reduce_scatter(const at::Tensor& parts) const {
  if (!is_cut()) {
    return parts;
  }
  const std::vector<int64_t> counts = elements(parts.size(1));
  const at::Tensor own = at::empty({mine_.count, parts.size(1)}, parts.options());
  const Queue queue = queue_of(parts);
  enodia::reduce_scatter(*group_, view(parts), counts, view(own), queue).wait(queue);
  return own;
}

void SequenceParallel::sum(std::span<int64_t> counts) const {
  if (is_cut()) {
    group_->all_reduce(view(counts), ReduceOp::kSum).wait();
  }
}

void SequenceParallel::sum(const at::Tensor& inout) const {
  if (is_cut()) {
    const Queue queue = queue_of(inout);
    group_->all_reduce(view(inout), ReduceOp::kSum, queue).wait(queue);
  }
}

at::Tensor SequenceParallel::stack(const at::Tensor& own) const {
  std::vector<int64_t> shape{static_cast<int64_t>(counts_.size())};
  shape.insert(shape.end(), own.sizes().begin(), own.sizes().end());
  if (!is_cut()) {
    return own.unsqueeze(0);
  }
  const at::Tensor all = at::empty(shape, own.options());
  const Queue queue = queue_of(own);
  all_gather(*group_, view(own), view(all), queue).wait(queue);
  return all;
}

}  // namespace enodia

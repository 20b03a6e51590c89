#include "trainer/forecast/layer_work.h"

#include <algorithm>
#include <vector>

namespace enodia {

LayerWork layer_work(const TrainConfig& config) {
  const ModelOptions& model = config.model;
  const ForwardFlops flops = micro_batch_flops(config);
  const auto hidden = static_cast<double>(model.hidden_size);
  const double weights = 3 * hidden * static_cast<double>(model.moe_intermediate_size);
  const DType wire = config.parallel.dispatch_dtype.value_or(model.dtype);
  const double wide = model.dtype == DType::kFloat64 ? 8 : 4;
  LayerWork work;
  work.flops_of_copy = flops.token_copy;
  work.flops_between =
      (flops.attention + flops.every_token) / static_cast<double>(config.parallel.tp);
  work.bytes_of_copy = hidden * static_cast<double>(size_of(wire));
  work.bytes_of_weights = weights * static_cast<double>(size_of(model.dtype));
  work.bytes_of_gradients = weights * wide;
  work.brought_twice = config.placement.rematerialize;
  return work;
}

ForwardFlops micro_batch_flops(const TrainConfig& config) {
  const TrainOptions& train = config.train;
  return forward_flops(config.model,
                       SequenceLayout::from_lengths(
                           std::vector<int64_t>(train.micro_batch_size, train.sequence_length)));
}

int64_t num_moe_layers(const ModelOptions& model) {
  return model.num_experts == 0
             ? 0
             : std::max<int64_t>(model.num_hidden_layers - model.first_k_dense_replace, 0);
}

ExpertShape expert_shape(const TrainConfig& config) {
  return {config.model.hidden_size,
          config.model.moe_intermediate_size,
          static_cast<int>(config.placement.stripes)};
}

}  // namespace enodia

#pragma once

#include "models/flops.h"
#include "parallel/expert_shape.h"
#include "parallel/placement/plan_budget.h"
#include "trainer/config/train_config.h"

namespace enodia {

/// What a rank has to do and to send in an MoE layer. For a model with experts.
LayerWork layer_work(const TrainConfig& config);

/// What its experts look like.
ExpertShape expert_shape(const TrainConfig& config);

/// Of the forward pass of one micro-batch, whose sequences have full length.
ForwardFlops micro_batch_flops(const TrainConfig& config);

int64_t num_moe_layers(const ModelOptions& model);

}  // namespace enodia

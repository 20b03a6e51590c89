#pragma once

#include "parallel/expert_shape.h"
#include "parallel/placement/plan_budget.h"
#include "trainer/config/train_config.h"

namespace enodia {

/// What a rank has to do and to send in an MoE layer. For a model with experts.
LayerWork layer_work(const TrainConfig& config);

/// What its experts look like.
ExpertShape expert_shape(const TrainConfig& config);

}  // namespace enodia

#pragma once

#include "parallel/placement/plan_budget.h"
#include "trainer/config/train_config.h"

namespace enodia {

/// What a rank has to do and to send in an MoE layer. For a model with experts.
LayerWork layer_work(const TrainConfig& config);

}  // namespace enodia

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/model_options.h"
#include "trainer/data/micro_batch.h"

namespace enodia {

/// A decoder of two MoE layers that takes no time, with what it may read.
inline ModelOptions small_model() {
  ModelOptions options;
  options.vocab_size = 13;
  options.hidden_size = 6;
  options.num_hidden_layers = 2;
  options.num_attention_heads = 2;
  options.num_key_value_heads = 1;
  options.head_dim = 4;
  options.intermediate_size = 5;
  options.moe_intermediate_size = 3;
  options.num_experts = 4;
  options.num_shared_experts = 1;
  options.use_expert_bias = true;
  return options;
}

inline MicroBatch small_text() {
  MicroBatchBuilder builder;
  const std::vector<int64_t> ids{1, 7, 4, 9, 12, 3, 5, 2};
  builder.add_segment(std::span(ids).first(6), 5);
  builder.add_segment(std::span(ids).subspan(2), 6);
  return builder.finish();
}

}  // namespace enodia

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/hf/hf_config.h"
#include "checkpoint/hf/hf_description.h"
#include "checkpoint/hf/hf_keys.h"

namespace enodia {

// Keys of config.json that several families share and that are more than one value. Each of these
// takes its keys and gathers refusals in `keys`.

/// rope_theta, partial_rotary_factor, rope_scaling (transformers 4) and rope_parameters (5).
void read_rope(HfKeys& keys, const HfFamily& family, ModelOptions& model);

/// q_lora_rank, null where queries have no latent.
void read_query_rank(HfKeys& keys, ModelOptions& model);
void write_query_rank(const ModelOptions& model, HfWritten& keys);

/// Of routers that judge a group of experts by its two best: why the model's groups cannot be.
std::vector<std::string> refuse_groups_of_two_best(const ModelOptions& model);

/// qk_head_dim, which transformers writes beside the widths that it is the sum of.
void read_key_width(HfKeys& keys, const ModelOptions& model);

/// A window is taken when it is not used, or holds the longest sequence: then it has no effect.
void read_sliding_window(HfKeys& keys, const HfSlidingWindow& family, const ModelOptions& model);

/// layer_types: full attention in each layer.
void read_layer_types(HfKeys& keys, const ModelOptions& model);

/// Layer i holds experts when decoder_sparse_step divides i + 1 and mlp_only_layers does not name
/// it. Taken when the dense layers are the first.
void read_dense_layers(HfKeys& keys, ModelOptions& model);

/// bos_token_id, eos_token_id (one or a list) and pad_token_id.
HfTokenIds read_token_ids(HfKeys& keys, const HfFamily& family, int64_t vocab_size);

}  // namespace enodia

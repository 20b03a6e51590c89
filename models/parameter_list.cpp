#include "models/parameter_list.h"

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace enodia {
namespace {

/// Collects the parameters of one prefix.
class Collector {
 public:
  explicit Collector(std::vector<ParameterShape>& list) : list_(list) {}
  void add(std::string name, std::vector<int64_t> shape) {
    list_.push_back({std::move(name), std::move(shape)});
  }
  void add_feed_forward(const std::string& name, int64_t hidden, int64_t width) {
    add(name + ".gate_proj.weight", {width, hidden});
    add(name + ".up_proj.weight", {width, hidden});
    add(name + ".down_proj.weight", {hidden, width});
  }

 private:
  std::vector<ParameterShape>& list_;
};

void add_latent_attention(const ModelOptions& o, const std::string& name, Collector& list) {
  const int64_t heads = o.num_attention_heads;
  const int64_t latent_and_key = o.kv_lora_rank + o.qk_rope_head_dim;
  if (o.q_lora_rank > 0) {
    list.add(name + ".q_a_proj.weight", {o.q_lora_rank, o.hidden_size});
    list.add(name + ".q_a_layernorm.weight", {o.q_lora_rank});
    list.add(name + ".q_b_proj.weight", {heads * o.key_dim(), o.q_lora_rank});
  } else {
    list.add(name + ".q_proj.weight", {heads * o.key_dim(), o.hidden_size});
  }
  list.add(name + ".kv_a_proj_with_mqa.weight", {latent_and_key, o.hidden_size});
  list.add(name + ".kv_a_layernorm.weight", {o.kv_lora_rank});
  list.add(name + ".kv_b_proj.weight",
           {heads * (o.qk_nope_head_dim + o.v_head_dim), o.kv_lora_rank});
  list.add(name + ".o_proj.weight", {o.hidden_size, heads * o.v_head_dim});
  if (o.attention_bias) {
    list.add(name + ".kv_a_proj_with_mqa.bias", {latent_and_key});
  }
  if (o.attention_bias && o.q_lora_rank > 0) {
    list.add(name + ".q_a_proj.bias", {o.q_lora_rank});
  }
  if (o.attention_output_bias) {
    list.add(name + ".o_proj.bias", {o.hidden_size});
  }
}

void add_attention(const ModelOptions& o, const std::string& name, Collector& list) {
  const int64_t query_width = o.num_attention_heads * o.head_dim;
  const int64_t key_width = o.num_key_value_heads * o.head_dim;
  list.add(name + ".q_proj.weight", {query_width, o.hidden_size});
  list.add(name + ".k_proj.weight", {key_width, o.hidden_size});
  list.add(name + ".v_proj.weight", {key_width, o.hidden_size});
  list.add(name + ".o_proj.weight", {o.hidden_size, query_width});
  if (o.attention_bias) {
    list.add(name + ".q_proj.bias", {query_width});
    list.add(name + ".k_proj.bias", {key_width});
    list.add(name + ".v_proj.bias", {key_width});
  }
  if (o.attention_output_bias) {
    list.add(name + ".o_proj.bias", {o.hidden_size});
  }
  if (o.use_qk_norm) {
    const bool full = o.qk_norm == "full";
    list.add(name + ".q_norm.weight", {full ? query_width : o.head_dim});
    list.add(name + ".k_norm.weight", {full ? key_width : o.head_dim});
  }
}

void add_moe(const ModelOptions& o, const std::string& name, Collector& list) {
  list.add(name + ".gate.weight", {o.num_experts, o.hidden_size});
  if (o.use_expert_bias) {
    list.add(name + ".gate.e_score_correction_bias", {o.num_experts});
  }
  for (int64_t expert = 0; expert < o.num_experts; ++expert) {
    list.add_feed_forward(
        name + ".experts." + std::to_string(expert), o.hidden_size, o.moe_intermediate_size);
  }
  if (o.shared_width() > 0) {
    list.add_feed_forward(name + ".shared_experts", o.hidden_size, o.shared_width());
  }
  if (o.shared_expert_gate) {
    list.add(name + ".shared_expert_gate.weight", {1, o.hidden_size});
  }
}

/// The parameters of the same model with one layer, dense or with this many experts.
int64_t count_with_one_layer(ModelOptions o, bool dense, int64_t num_experts) {
  o.num_hidden_layers = 1;
  o.first_k_dense_replace = dense ? 1 : 0;
  o.num_experts = num_experts;
  return std::ssize(list_parameters(o));
}

}  // namespace

std::vector<ParameterShape> list_parameters(const ModelOptions& o) {
  ENODIA_CHECK(o.is_built_in(), "attention ", o.attention, " and router ", o.router);
  std::vector<ParameterShape> parameters;
  Collector list(parameters);
  list.add("model.embed_tokens.weight", {o.vocab_size, o.hidden_size});
  for (int64_t layer = 0; layer < o.num_hidden_layers; ++layer) {
    const std::string name = "model.layers." + std::to_string(layer);
    list.add(name + ".input_layernorm.weight", {o.hidden_size});
    const auto add = o.is_latent() ? add_latent_attention : add_attention;
    add(o, name + ".self_attn", list);
    list.add(name + ".post_attention_layernorm.weight", {o.hidden_size});
    if (o.is_moe_layer(layer)) {
      add_moe(o, name + ".mlp", list);
    } else {
      list.add_feed_forward(name + ".mlp", o.hidden_size, o.intermediate_size);
    }
  }
  list.add("model.norm.weight", {o.hidden_size});
  if (!o.tie_word_embeddings) {
    list.add("lm_head.weight", {o.vocab_size, o.hidden_size});
  }
  std::sort(parameters.begin(), parameters.end(), [](const auto& a, const auto& b) {
    return a.name < b.name;
  });
  return parameters;
}

// Each layer of a kind adds equally many, and so does each expert: models of one layer tell them.
int64_t count_parameters(const ModelOptions& o) {
  ModelOptions none = o;
  none.num_hidden_layers = 0;
  const int64_t outside = std::ssize(list_parameters(none));
  const int64_t dense = count_with_one_layer(o, /*dense=*/true, 1) - outside;
  const int64_t moe = count_with_one_layer(o, /*dense=*/false, 1) - outside;
  const int64_t expert = count_with_one_layer(o, /*dense=*/false, 2) - outside - moe;
  const int64_t dense_layers = o.num_experts == 0
                                   ? o.num_hidden_layers
                                   : std::min(o.first_k_dense_replace, o.num_hidden_layers);
  return outside + dense_layers * dense +
         (o.num_hidden_layers - dense_layers) * (moe + (o.num_experts - 1) * expert);
}

}  // namespace enodia

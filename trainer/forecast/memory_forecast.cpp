#include "trainer/forecast/memory_forecast.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <string_view>

#include "common/check.h"
#include "models/parameter_list.h"
#include "parallel/placement/slot_count.h"
#include "parallel/placement/static_placement.h"
#include "parallel/slice.h"
#include "trainer/forecast/layer_work.h"

namespace enodia {
namespace {

constexpr int64_t kAlignment = 64;  // elements that tables and chunks are padded to
constexpr int64_t kMomentColumns = 2;
constexpr int64_t kIndexBytes = 8;
constexpr int64_t kHeadRows = 512;  // of logits at a time

int64_t aligned(int64_t elements) {
  return (elements + kAlignment - 1) / kAlignment * kAlignment;
}

/// Bytes of an element.
struct ElementBytes {
  explicit ElementBytes(DType dtype)
      : compute(static_cast<int64_t>(size_of(dtype))),
        wide(dtype == DType::kFloat64 ? 8 : 4) {}
  bool is_mixed() const { return compute != wide; }
  int64_t compute, wide;
};

/// A rank in the layout.
struct Place {
  int rank, world_size, tp;
  int tensor_rank() const { return rank % tp; }
  int64_t share(int64_t total) const { return share_of(total, tp, tensor_rank()).count; }
  HeadShare heads(const ModelOptions& model) const {
    const int64_t query = model.num_attention_heads;
    return heads_of(
        query, model.is_latent() ? query : model.num_key_value_heads, tp, tensor_rank());
  }
};

/// What a rank holds of a dense parameter.
struct Held {
  int64_t elements;
  int64_t holders;  // ranks that hold the same
  bool wide;        // computed with in the wide type
};

bool ends_with_any(std::string_view name, std::initializer_list<std::string_view> ends) {
  return std::any_of(
      ends.begin(), ends.end(), [&](std::string_view end) { return name.ends_with(end); });
}

/// As the blocks cut it.
Held held_part(const ParameterShape& parameter, const ModelOptions& model, const Place& place) {
  const std::string_view name = parameter.name;
  const int64_t all = std::accumulate(
      parameter.shape.begin(), parameter.shape.end(), int64_t{1}, std::multiplies<>());
  const int64_t data_holders = place.world_size / place.tp;
  const auto part = [&](int64_t mine, int64_t of, int64_t holders, bool wide = false) {
    return Held{all / of * mine, holders, wide};
  };
  const HeadShare heads = place.heads(model);
  const bool full_norm = model.qk_norm == "full";
  if (ends_with_any(name, {"embed_tokens.weight", "lm_head.weight"})) {
    return part(place.share(model.vocab_size), model.vocab_size, data_holders);
  }
  if (ends_with_any(name, {".gate_proj.weight", ".up_proj.weight", ".down_proj.weight"})) {
    const bool is_shared = name.find(".shared_experts.") != std::string_view::npos;
    const int64_t width = is_shared ? model.shared_width() : model.intermediate_size;
    return part(place.share(width), width, data_holders);
  }
  if (ends_with_any(name, {".k_proj.weight", ".v_proj.weight", ".k_proj.bias", ".v_proj.bias"})) {
    return part(heads.key_value.count, model.num_key_value_heads, data_holders * heads.holders);
  }
  if (ends_with_any(name,
                    {".q_proj.weight", ".q_proj.bias", ".o_proj.weight", ".q_b_proj.weight"})) {
    return part(heads.query.count, model.num_attention_heads, data_holders);
  }
  if (name.ends_with(".kv_b_proj.weight")) {
    return part(heads.query.count, model.num_attention_heads, data_holders);
  }
  if (full_norm && name.ends_with(".q_norm.weight")) {
    return part(heads.query.count, model.num_attention_heads, data_holders, true);
  }
  if (full_norm && name.ends_with(".k_norm.weight")) {
    return part(
        heads.key_value.count, model.num_key_value_heads, data_holders * heads.holders, true);
  }
  const bool wide = ends_with_any(name,
                                  {"norm.weight",
                                   ".mlp.gate.weight",
                                   ".e_score_correction_bias",
                                   ".shared_expert_gate.weight"});
  return {all, place.world_size, wide};
}

/// All parameters but the experts'.
std::vector<ParameterShape> dense_parameters(ModelOptions model) {
  const int64_t experts = model.num_experts;
  model.num_experts = std::min<int64_t>(experts, 1);  // there may be too many to list
  std::vector<ParameterShape> parameters = list_parameters(model);
  std::erase_if(parameters, [](const ParameterShape& parameter) {
    return parameter.name.find(".experts.") != std::string::npos;
  });
  for (ParameterShape& parameter : parameters) {
    if (parameter.name.find(".mlp.gate.") != std::string::npos) {
      parameter.shape[0] = experts;
    }
  }
  return parameters;
}

void add_dense(const TrainConfig& config, const Place& place, RankMemory& memory) {
  const ElementBytes bytes(config.model.dtype);
  for (const ParameterShape& parameter : dense_parameters(config.model)) {
    const Held held = held_part(parameter, config.model, place);
    const int64_t elements = aligned(held.elements);
    const int64_t kept = config.parallel.zero1 == Zero1::kOff
                             ? elements
                             : (elements + held.holders - 1) / held.holders;
    const bool computes_with_master = held.wide || !bytes.is_mixed();
    memory.parameters.dense +=
        computes_with_master ? elements * bytes.wide : elements * bytes.compute + kept * bytes.wide;
    memory.gradients.dense += elements * bytes.wide;
    memory.optimizer.dense += kMomentColumns * kept * bytes.wide;
  }
}

std::vector<StaticLayer> expert_layers(const TrainConfig& config, int world_size) {
  const ModelOptions& model = config.model;
  if (num_moe_layers(model) == 0) {
    return {};
  }
  std::vector<StaticLayer> layers =
      static_placement(static_cast<int>(num_moe_layers(model)),
                       static_cast<int>(model.num_experts),
                       static_cast<int>(config.parallel.expert_ranks(world_size)),
                       world_size);
  return config.placement_options(world_size).policy != nullptr
             ? without_replicas(std::move(layers))
             : layers;
}

void add_experts(const TrainConfig& config,
                 const Place& place,
                 const std::vector<StaticLayer>& layers,
                 int kept_layers,
                 RankMemory& memory) {
  const ModelOptions& model = config.model;
  const ElementBytes bytes(model.dtype);
  const ExpertShape shape = expert_shape(config);
  const int64_t chunk = shape.chunk_elements();
  const RowCount rows = count_rows(layers, shape.stripes, place.world_size, place.rank);
  const int64_t owned = rows.owned * shape.stripe_elements();
  const SlotCount slots = count_slots(layers,
                                      config.placement_options(place.world_size),
                                      place.world_size,
                                      place.rank,
                                      config.micro_batches_of_rank(place.world_size),
                                      kept_layers);
  const int64_t copies = bytes.is_mixed() ? bytes.wide + bytes.compute : bytes.wide;
  memory.parameters.experts = owned * copies;
  memory.gradients.experts = owned * bytes.wide;
  memory.optimizer.experts = kMomentColumns * owned * bytes.wide;
  memory.replica_weights = (rows.replicas + slots.weights) * chunk * bytes.compute;
  memory.replica_gradients = slots.gradients * chunk * bytes.wide;
}

/// Bytes of one block's activations.
struct BlockBytes {
  int64_t saved = 0;  // from forward to backward
  int64_t kept = 0;   // of them, when the layer is recomputed
  int64_t extra = 0;  // besides, while backward goes over the block
};

/// Activations of one micro-batch on a rank. T tokens of the micro-batch, t of them its own.
class ActivationForecast {
 public:
  ActivationForecast(const TrainConfig& config, const Place& place)
      : model_(config.model),
        recompute_(config.train.recompute),
        bytes_(config.model.dtype),
        place_(place),
        all_tokens_(config.train.micro_batch_size * config.train.sequence_length),
        tokens_(place.share(all_tokens_)),
        row_(tokens_ * config.model.hidden_size * bytes_.compute) {}

  /// The larger of two moments: the head's forward, and backward of the last layer.
  int64_t peak() const {
    int64_t kept = 0;
    BlockBytes last;
    for (int64_t layer = 0; layer < model_.num_hidden_layers; ++layer) {
      last = model_.is_moe_layer(layer) ? experts() : feed_forward(model_.intermediate_size);
      const BlockBytes heads = attention();
      const bool recomputed = recompute_ == Recompute::kLayers;
      kept += recomputed ? heads.kept + last.kept : heads.saved + last.saved;
    }
    const int64_t again = recompute_ == Recompute::kLayers ? last.saved - last.kept : 0;
    return kept + std::max(head(), again + last.extra + row_);
  }

 private:
  /// With tensor parallelism the rows of all ranks of the group are here for a while.
  int64_t all_rows() const {
    return place_.tp > 1 ? all_tokens_ * model_.hidden_size * bytes_.wide : 0;
  }

  BlockBytes attention() const {
    const HeadShare heads = place_.heads(model_);
    const bool latent = model_.is_latent();
    const int64_t query = heads.query.count * model_.key_dim();
    const int64_t key_value = heads.key_value.count * model_.key_dim();
    const int64_t qkv = latent ? 3 * query : query + 2 * key_value;
    const int64_t latents = 2 * (model_.q_lora_rank + model_.kv_lora_rank);
    const int64_t beside = latent ? latents : model_.use_qk_norm ? query + key_value : 0;
    const int64_t tables = all_tokens_ * model_.rotary_dim() * bytes_.wide;
    BlockBytes block;
    block.saved = 2 * row_ + tables + all_tokens_ * (qkv + beside + query) * bytes_.compute;
    block.kept = row_;
    block.extra = all_tokens_ * (qkv + query) * bytes_.wide + 2 * all_rows();
    return block;
  }

  BlockBytes feed_forward(int64_t width) const {
    const int64_t hidden = all_tokens_ * place_.share(width);
    BlockBytes block;
    block.saved = 2 * row_ + 2 * hidden * bytes_.compute;
    block.kept = row_;
    block.extra = 3 * hidden * bytes_.wide + 2 * row_ + 2 * all_rows();
    return block;
  }

  /// Backward has, besides, the gradients of its outputs and inputs, each on both sides of the way,
  /// of the hidden products, and the activation again.
  BlockBytes experts() const {
    const int64_t copies = tokens_ * model_.num_experts_per_tok;  // sent, and as many received
    const int64_t elements = copies * model_.hidden_size;
    const int64_t hidden = copies * model_.moe_intermediate_size;
    const int64_t shared = all_tokens_ * place_.share(model_.shared_width());
    const int64_t of_hidden = 2 * (hidden + shared) * bytes_.compute;
    const int64_t scores = tokens_ * model_.num_experts;
    const int64_t choices = (scores + copies) * kIndexBytes;
    const int64_t map = 5 * copies * kIndexBytes;
    const bool keeps_hidden = recompute_ != Recompute::kExperts;
    BlockBytes block;
    block.saved = 2 * row_ + 4 * scores * bytes_.wide + choices + map + elements * bytes_.compute +
                  (keeps_hidden ? of_hidden : 0);
    block.kept = row_ + choices + map;
    block.extra = (4 * elements + 3 * hidden) * bytes_.wide + (keeps_hidden ? 0 : of_hidden);
    return block;
  }

  /// Its input, that normed and the gradient of that, and a chunk of logits.
  int64_t head() const {
    const int64_t rows = std::min(kHeadRows, all_tokens_);
    const int64_t vocabulary = place_.share(model_.vocab_size);
    const int64_t weight = bytes_.is_mixed() ? vocabulary * model_.hidden_size * bytes_.wide : 0;
    return 3 * row_ + 2 * all_rows() + rows * vocabulary * bytes_.wide + weight;
  }

  const ModelOptions& model_;
  Recompute recompute_;
  ElementBytes bytes_;
  Place place_;
  int64_t all_tokens_, tokens_;
  int64_t row_;  // of the residual stream on this rank
};

}  // namespace

MemoryUse::ByKind RankMemory::by_kind() const {
  MemoryUse::ByKind bytes{};
  const auto set = [&](MemoryKind kind, int64_t value) {
    bytes[static_cast<size_t>(kind)] = value;
  };
  set(MemoryKind::kParameters, parameters.total());
  set(MemoryKind::kGradients, gradients.total());
  set(MemoryKind::kOptimizer, optimizer.total());
  set(MemoryKind::kReplicas, replica_weights + replica_gradients);
  set(MemoryKind::kData, data);
  set(MemoryKind::kActivations, activations);
  return bytes;
}

int64_t RankMemory::total() const {
  const MemoryUse::ByKind bytes = by_kind();
  return std::accumulate(bytes.begin(), bytes.end(), int64_t{0});
}

Json RankMemory::to_json() const {
  const auto trained = [](const TrainedBytes& bytes) {
    return Json{{"dense", bytes.dense}, {"experts", bytes.experts}};
  };
  return {{"parameters", trained(parameters)},
          {"gradients", trained(gradients)},
          {"optimizer", trained(optimizer)},
          {"replicas", {{"weights", replica_weights}, {"gradients", replica_gradients}}},
          {"data", data},
          {"activations", activations},
          {"total", total()}};
}

int kept_layers(const TrainConfig& config, int world_size) {
  if (!config.placement.rematerialize) {
    return kAllLayers;
  }
  const int64_t slot =
      expert_shape(config).chunk_elements() * ElementBytes(config.model.dtype).compute;
  return layers_that_fit(expert_layers(config, world_size),
                         config.placement_options(world_size),
                         world_size,
                         config.placement.keep_memory_mb * 1'000'000 / std::max<int64_t>(slot, 1));
}

std::vector<RankMemory> forecast_memory(const TrainConfig& config, int world_size) {
  const ModelOptions& model = config.model;
  ENODIA_CHECK(model.vocab_size > 0, "model.vocab_size must be known");
  const std::vector<StaticLayer> layers = expert_layers(config, world_size);
  const int kept = kept_layers(config, world_size);  // the same on all ranks
  const int64_t tokens = config.train.micro_batch_size * config.train.sequence_length;
  std::vector<RankMemory> ranks(world_size);
  for (int rank = 0; rank < world_size; ++rank) {
    const Place place{rank, world_size, static_cast<int>(config.parallel.tp)};
    add_dense(config, place, ranks[rank]);
    add_experts(config, place, layers, kept, ranks[rank]);
    // Tokens, labels, and the sequence of each token.
    ranks[rank].data = 3 * kIndexBytes * tokens * config.micro_batches_of_rank(world_size);
    ranks[rank].activations = ActivationForecast(config, place).peak();
  }
  return ranks;
}

}  // namespace enodia

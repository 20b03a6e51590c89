#include "models/decoder.h"

#include <numeric>
#include <string>
#include <utility>

#include <ATen/ops/tensor.h>

#include "common/check.h"
#include "models/embedding_block.h"
#include "models/feed_forward.h"
#include "models/head_block.h"
#include "models/moe_block.h"
#include "parallel/gradient_reduction.h"
#include "parallel/tensor_view.h"

namespace enodia {
namespace {

std::string layer_name(int64_t layer) {
  return "model.layers." + std::to_string(layer);
}

/// One name an MoE layer.
std::vector<std::string> names_of_experts(const ModelOptions& options) {
  std::vector<std::string> names;
  for (int64_t layer = 0; layer < options.num_hidden_layers; ++layer) {
    if (options.is_moe_layer(layer)) {
      names.push_back(layer_name(layer) + ".mlp.experts");
    }
  }
  return names;
}

std::vector<StaticLayer> place_experts(int num_layers,
                                       const ModelOptions& options,
                                       const ProcessMesh& mesh,
                                       const PlacementOptions& placement) {
  std::vector<StaticLayer> layers = static_placement(
      num_layers, static_cast<int>(options.num_experts), mesh.layout().ep, mesh.world_size());
  if (placement.policy == nullptr) {
    return layers;
  }
  ENODIA_CHECK_EQ(mesh.layout().ep, mesh.world_size(), "a placement policy needs ep = world");
  return without_replicas(std::move(layers));
}

template <typename Factory>
const Factory& find_part(const std::map<std::string, Factory>& factories, const std::string& name) {
  const auto found = factories.find(name);
  ENODIA_CHECK(found != factories.end(), "this program has no part called '", name, "'");
  return found->second;
}

}  // namespace

Decoder::Decoder(const ModelOptions& options,
                 const RouterOptions& router,
                 const ProcessMesh& mesh,
                 const ModelParts& parts,
                 LossFunction loss,
                 const DenseSharding& sharding,
                 const ExpertParallelOptions& expert_parallel,
                 const Emulation& emulation)
    : options_(options),
      bias_update_rate_(router.expert_bias_update_rate),
      mesh_(mesh),
      registry_(mesh.place(), scalar_type(options.dtype), mesh.device().place),
      has_own_loss_(static_cast<bool>(loss)) {
  ENODIA_CHECK(emulation.compute == nullptr || mesh.layout().tp == 1,
               "virtual computation leaves out what tensor parallel ranks send each other");
  const std::vector<std::string> names = names_of_experts(options);
  if (!names.empty()) {
    const std::vector<StaticLayer> layers =
        place_experts(static_cast<int>(names.size()), options, mesh, expert_parallel.placement);
    store_ = std::make_unique<ExpertStore>(
        mesh,
        registry_,
        names,
        layers,
        ExpertShape{
            options.hidden_size, options.moe_intermediate_size, expert_parallel.placement.stripes},
        expert_parallel.schedule);
    const auto nodes = mesh.tokens().nodes();
    ENODIA_CHECK(expert_parallel.placement.reshard_interval == 0 || store_->can_move(),
                 "owners move where each expert lives with its owner alone");
    planner_ = std::make_unique<ExpertPlanner>(
        layers, Topology({nodes.begin(), nodes.end()}), expert_parallel.placement);
  }
  const AttentionFactory& make_attention = find_part(parts.attentions, options.attention);
  const RouterFactory& make_router = find_part(parts.routers, options.router);
  const auto next_index = [this] { return static_cast<int>(blocks_.size()); };
  const Slice vocabulary = registry_.place().share(options.vocab_size);
  const auto add_vocabulary = [&](const std::string& name) -> const DenseParameter& {
    return registry_.add_dense(
        {{name, options.vocab_size, vocabulary}}, options.hidden_size, {.holders = Holders::kData});
  };
  const auto add = [&](std::unique_ptr<Block> block, double ForwardFlops::*part) {
    if (emulation.compute != nullptr) {
      block = std::make_unique<VirtualBlock>(
          std::move(block), emulation.compute, [this, part](const SequenceLayout& layout) {
            return forward_flops(options_, layout).*part;
          });
    }
    blocks_.push_back(std::move(block));
  };
  // A tied head adds to the embedding, which comes first: its gradients are final with block 0.
  const DenseParameter& embedding = add_vocabulary("model.embed_tokens.weight");
  blocks_.push_back(std::make_unique<EmbeddingBlock>(embedding, vocabulary));
  int moe_layer = 0;
  for (int64_t layer = 0; layer < options.num_hidden_layers; ++layer) {
    registry_.begin_block();
    add(make_attention(options_, layer_name(layer), next_index(), registry_),
        &ForwardFlops::attention);
    registry_.begin_block();
    if (options.is_moe_layer(layer)) {
      const MoeBlock::Wiring wiring{next_index(),
                                    moe_layer++,
                                    store_.get(),
                                    planner_.get(),
                                    &mesh.tokens(),
                                    &mesh.control(),
                                    mesh.device(),
                                    expert_parallel.dispatch_dtype,
                                    emulation};
      auto block = std::make_unique<MoeBlock>(
          options_, router, layer_name(layer), wiring, registry_, make_router);
      if (block->expert_bias() != nullptr) {
        expert_biases_.push_back(block->expert_bias());
      }
      blocks_.push_back(std::move(block));
    } else {
      add(std::make_unique<DenseMlpBlock>(options_, layer_name(layer), next_index(), registry_),
          &ForwardFlops::feed_forward);
    }
  }
  registry_.begin_block();
  const DenseParameter& head =
      options.tie_word_embeddings ? embedding : add_vocabulary("lm_head.weight");
  blocks_.push_back(std::make_unique<HeadBlock>(
      options_, next_index(), head, vocabulary, registry_, std::move(loss)));
  registry_.allocate(sharding);
}

int Decoder::layer_of(int block) const {
  const bool in_layer = block > 0 && block + 1 < static_cast<int>(blocks_.size());
  return in_layer ? (block - 1) / 2 : -1;
}

void Decoder::initialize(uint64_t seed) {
  registry_.initialize(seed, options_.initializer_range);
  commit_step();
}

/// An expert with fewer tokens than the mean becomes more attractive, one with more less, by the
/// same step whatever the distance. Integers decide, so that all ranks decide alike.
void Decoder::move_expert_biases(std::span<const int64_t> tokens) {
  const int64_t experts = options_.num_experts;
  for (size_t layer = 0; layer < expert_biases_.size(); ++layer) {
    const auto counts = tokens.subspan(layer * experts, experts);
    const int64_t total = std::accumulate(counts.begin(), counts.end(), int64_t{0});
    std::vector<double> moves;
    for (const int64_t count : counts) {
      const int64_t lacking = total - count * experts;
      moves.push_back(lacking > 0 ? bias_update_rate_ : lacking < 0 ? -bias_update_rate_ : 0.0);
    }
    at::Tensor bias = expert_biases_[layer]->value;
    bias.add_(at::tensor(moves, at::kDouble).to(bias.options()));
  }
}

MovedExperts Decoder::move_owners(const ExpertOwners& owners) {
  ENODIA_CHECK(store_ != nullptr, "a dense model has no owners of experts");
  ++generation_;  // what a forward saved names slots of the owners before
  const MovedExperts moved = store_->move_owners(owners);
  planner_->set_owners(owners);
  return moved;
}

void Decoder::commit_step(std::span<const int64_t> tokens) {
  ++generation_;
  if (!tokens.empty()) {
    move_expert_biases(tokens);
  }
  registry_.write_compute();
  gather_weights(mesh_, registry_);
  if (store_ != nullptr) {
    store_->refresh_replicas();
  }
}

}  // namespace enodia

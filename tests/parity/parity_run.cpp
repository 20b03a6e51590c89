#include "tests/parity/parity_run.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>
#include <stdexcept>

#include <ATen/ops/zeros.h>
#include <c10/util/accumulate.h>

#include "collectives/collectives.h"
#include "collectives/loopback/loopback.h"
#include "collectives/progress/communication_thread.h"
#include "models/decoder.h"
#include "optim/adamw.h"
#include "parallel/tensor_view.h"
#include "tests/parallel/shuffled_owners.h"
#include "trainer/step/step_engine.h"

namespace enodia {
namespace {

void set_rotary(ModelOptions& options, const ReferenceOptions& o) {
  options.partial_rotary_factor = o.partial_rotary_factor;
  options.rope_interleave = o.rope_interleave;
  if (o.yarn) {
    options.rope_scaling = "yarn";
    options.rope_factor = o.yarn_factor;
    options.rope_original_max_position_embeddings = static_cast<int64_t>(o.yarn_original_length);
    options.rope_beta_fast = o.yarn_beta_fast;
    options.rope_beta_slow = o.yarn_beta_slow;
    options.rope_mscale = o.yarn_mscale;
    options.rope_mscale_all_dim = o.yarn_mscale_all_dim;
    options.rope_attention_factor = o.yarn_attention_factor;
    options.rope_truncate = o.yarn_truncate;
  }
}

ModelOptions model_options(const ReferenceOptions& o, ParityType type) {
  ModelOptions options;
  options.vocab_size = o.vocab_size;
  options.hidden_size = o.hidden_size;
  options.num_hidden_layers = o.num_hidden_layers;
  options.num_attention_heads = o.num_attention_heads;
  options.num_key_value_heads = o.num_key_value_heads;
  options.head_dim = o.head_dim;
  options.intermediate_size = o.intermediate_size;
  options.moe_intermediate_size = o.moe_intermediate_size;
  options.num_experts = o.num_experts;
  options.num_experts_per_tok = o.num_experts_per_tok;
  options.num_shared_experts = o.num_shared_experts;
  options.first_k_dense_replace = o.first_k_dense_replace;
  options.norm_topk_prob = o.norm_topk_prob;
  options.scoring_func = o.sigmoid_scores ? "sigmoid" : "softmax";
  options.routed_scaling_factor = o.routed_scaling_factor;
  options.n_group = o.n_group;
  options.topk_group = o.topk_group;
  options.group_score = o.group_score_is_max ? "max" : "top2_sum";
  options.use_expert_bias = o.use_expert_bias;
  options.rope_theta = o.rope_theta;
  options.rms_norm_eps = o.rms_norm_eps;
  options.tie_word_embeddings = o.tie_word_embeddings;
  options.attention_bias = o.attention_bias;
  options.attention_output_bias = o.attention_output_bias;
  options.use_qk_norm = o.use_qk_norm;
  options.qk_norm = o.full_qk_norm ? "full" : "head";
  options.shared_expert_intermediate_size = o.shared_expert_intermediate_size;
  options.shared_expert_gate = o.shared_expert_gate;
  set_rotary(options, o);
  if (o.latent_attention) {
    options.attention = kLatentAttention;
    options.q_lora_rank = o.q_lora_rank;
    options.kv_lora_rank = o.kv_lora_rank;
    options.qk_nope_head_dim = o.qk_nope_head_dim;
    options.qk_rope_head_dim = o.qk_rope_head_dim;
    options.v_head_dim = o.v_head_dim;
  }
  options.dtype = type == ParityType::kFloat64    ? DType::kFloat64
                  : type == ParityType::kBFloat16 ? DType::kBFloat16
                                                  : DType::kFloat32;
  return options;
}

RouterOptions router_options(const ReferenceOptions& o) {
  RouterOptions options;
  options.aux_loss_coef = o.aux_loss_coef;
  options.aux_loss_scope = o.aux_loss_scope == "sequence"       ? AuxLossScope::kSequence
                           : o.aux_loss_scope == "global_batch" ? AuxLossScope::kGlobalBatch
                                                                : AuxLossScope::kMicroBatch;
  options.device_loss_coef = o.device_loss_coef;
  options.device_groups = o.device_groups;
  options.z_loss_coef = o.z_loss_coef;
  options.expert_bias_update_rate = o.expert_bias_update_rate;
  options.jitter_eps = o.jitter_eps;
  options.capacity_factor = o.capacity_factor;
  options.drop_policy = o.drop_policy == "probs"    ? DropPolicy::kProbs
                        : o.drop_policy == "random" ? DropPolicy::kRandom
                                                    : DropPolicy::kPosition;
  return options;
}

OptimOptions optim_options(const ReferenceOptions& o) {
  return {{o.beta1, o.beta2}, o.eps, o.weight_decay, o.clip_norm};
}

// The part of a whole tensor that a rank holds, or some rows of that part.
at::Tensor box_of(at::Tensor whole, const LogicalParameter& parameter, const Slice& rows) {
  for (size_t dim = 1; dim < parameter.size.size(); ++dim) {
    whole = whole.narrow(static_cast<int64_t>(dim), parameter.offset[dim], parameter.size[dim]);
  }
  return whole.narrow(0, parameter.offset[0] + rows.first, rows.count);
}

// One buffer for all ranks' parameters, and one that counts the owners of each element.
NamedTensors gather_column(Communicator& observer,
                           const ParameterRegistry& registry,
                           const ReferenceOptions& options,
                           const std::string& column) {
  const auto shapes = reference_parameter_shapes(options);
  NamedTensors gathered;
  NamedTensors owners;
  int64_t size = 0;
  for (const auto& [name, shape] : shapes) {
    size += c10::multiply_integers(shape);
  }
  const at::Tensor all = at::zeros({2, size}, at::kDouble);
  int64_t place = 0;
  for (const auto& [name, shape] : shapes) {
    const int64_t numel = c10::multiply_integers(shape);
    gathered[name] = all[0].narrow(0, place, numel).view(shape);
    owners[name] = all[1].narrow(0, place, numel).view(shape);
    place += numel;
  }
  for (const LogicalParameter& parameter : registry.parameters()) {
    const Slice& rows = parameter.owned_rows;
    box_of(gathered.at(parameter.name), parameter, rows).copy_(parameter.rows(column, rows));
    box_of(owners.at(parameter.name), parameter, rows).add_(1.0);
  }
  observer.all_reduce(view(all), ReduceOp::kSum).wait();
  for (const auto& [name, count] : owners) {
    if (count.ne(1.0).any().item<bool>()) {
      throw std::logic_error(name + " has elements with no owner or several");
    }
  }
  return gathered;
}

void expect_nowhere(Communicator& observer, bool wrong_here, const std::string& what) {
  if (all_reduce_value(observer, int64_t{wrong_here}, ReduceOp::kMax) != 0) {
    throw std::logic_error(what);
  }
}

// Every rank that holds a master, or weights that it computes with, must hold the owner's bits.
void check_copies(Communicator& observer, Decoder& decoder, int ep, const NamedTensors& owned) {
  bool differs = false;
  for (const LogicalParameter& parameter : decoder.registry().parameters()) {
    const auto differs_in = [&](const char* column, const Slice& rows) {
      const at::Tensor mine = parameter.rows(column, rows).to(at::kCPU);
      return !mine.equal(box_of(owned.at(parameter.name), parameter, rows).to(mine.scalar_type()));
    };
    differs =
        differs || differs_in("master", parameter.master_rows) ||
        (parameter.table->has_column("compute") && differs_in("compute", parameter.all_rows()));
  }
  expect_nowhere(observer, differs, "masters differ from their owner's");

  const int64_t ffn = decoder.options().moe_intermediate_size;
  ExpertStore* const experts = decoder.experts();
  const int layers = experts != nullptr ? experts->num_layers() : 0;
  for (int layer = 0; layer < layers; ++layer) {
    std::optional<const Lease> lease(
        experts->acquire({layer}, experts->placement(layer), LeaseUse::kForward));
    auto weights = lease->weights.begin();
    for (const int32_t expert : experts->placement(layer).experts_on(observer.rank() % ep)) {
      const std::string prefix = "model.layers." +
                                 std::to_string(decoder.options().first_k_dense_replace + layer) +
                                 ".mlp.experts." + std::to_string(expert);
      const auto is_owners = [&](const at::Tensor& there, const std::string& matrix) {
        const at::Tensor mine = there.to(at::kCPU);
        return mine.equal(owned.at(prefix + "." + matrix + "_proj.weight").to(mine.scalar_type()));
      };
      differs = differs || !is_owners(weights->gate_up.narrow(0, 0, ffn), "gate") ||
                !is_owners(weights->gate_up.narrow(0, ffn, ffn), "up") ||
                !is_owners(weights->down, "down");
      ++weights;
    }
    lease.reset();
    experts->release({layer});
  }
  expect_nowhere(observer, differs, "experts' replicas differ from their owner's weights");
}

/// What the routers of this rank decide in a step.
class RouteLog {
 public:
  explicit RouteLog(StepEngine& engine) {
    engine.observe_routes([this](const RoutedTokens& routed) { log_.push_back(routed); });
  }

  /// What those of all ranks decided since the last call: each token by the rank that had it.
  ReferenceRoutes take(Communicator& observer,
                       const ProcessMesh& mesh,
                       const ReferenceOptions& options,
                       const std::vector<ReferenceMicroBatch>& batches) {
    ReferenceRoutes routes;
    for (const ReferenceMicroBatch& batch : batches) {
      const auto tokens = static_cast<int64_t>(batch.tokens.size());
      const int64_t layers =
          options.num_experts > 0 ? options.num_hidden_layers - options.first_k_dense_replace : 0;
      const at::Tensor ids = at::zeros({layers, 2, tokens, options.num_experts_per_tok}, at::kLong);
      for (const RoutedTokens& routed : log_) {
        const auto m =
            static_cast<size_t>(mesh.data_rank() + routed.micro_batch * mesh.layout().dp);
        if (m == routes.size()) {
          const at::Tensor rows = ids[routed.moe_layer].narrow(
              1, routed.first_token - batch.first_token, routed.chosen_ids.size(0));
          rows[0].copy_(routed.chosen_ids);
          rows[1].copy_(routed.expert_ids.ge(0));
        }
      }
      observer.all_reduce(view(ids), ReduceOp::kSum).wait();
      auto& of_layers = routes.emplace_back();
      for (int64_t layer = 0; layer < layers; ++layer) {
        of_layers.push_back({ids[layer][0], ids[layer][1].to(at::kBool)});
      }
    }
    log_.clear();
    return routes;
  }

 private:
  std::vector<RoutedTokens> log_;
};

// What is logged must be the same bits on every rank, whoever logs it.
void check_logged(Communicator& observer, const ParityStep& step) {
  std::vector<double> mine{step.loss,
                           step.aux_loss,
                           step.device_loss,
                           step.z_loss,
                           step.imbalance,
                           static_cast<double>(step.dropped),
                           step.grad_norm};
  mine.insert(mine.end(), step.load.begin(), step.load.end());
  mine.insert(mine.end(), step.router_entropy.begin(), step.router_entropy.end());
  std::vector<double> first = mine;
  observer.broadcast(view(std::span<double>(first)), 0).wait();
  expect_nowhere(observer, mine != first, "losses, loads or norm differ between ranks");
}

// Every token, labelled or not, is computed K times somewhere in each layer.
void check_rows(Communicator& observer,
                const StepLoad& load,
                const ReferenceOptions& options,
                const std::vector<ReferenceMicroBatch>& batches) {
  int64_t expected = 0;
  for (const ReferenceMicroBatch& batch : batches) {
    expected += static_cast<int64_t>(batch.tokens.size() * load.entropy.size()) *
                options.num_experts_per_tok;
  }
  const int64_t computed = std::accumulate(load.rows.begin(), load.rows.end(), int64_t{0});
  if (options.capacity_factor > 0) {  // tokens without a label are dropped uncounted
    expect_nowhere(observer,
                   computed > expected - load.dropped,
                   "the ranks have computed copies that were dropped");
    return;
  }
  expect_nowhere(observer, computed != expected, "the ranks have not computed every token K times");
}

MicroBatch to_product(const ReferenceMicroBatch& batch) {
  MicroBatch product;
  product.tokens = batch.tokens;
  product.labels = batch.labels;
  product.layout = SequenceLayout::from_lengths(batch.segment_lengths);
  product.sequence_lengths = batch.sequence_lengths;
  product.first_token = batch.first_token;
  product.num_valid = static_cast<int64_t>(batch.labels.size()) -
                      std::count(batch.labels.begin(), batch.labels.end(), MicroBatch::kNoLabel);
  return product;
}

std::vector<MicroBatch> micro_batches_of(const ProcessMesh& mesh,
                                         const std::vector<ReferenceMicroBatch>& all) {
  std::vector<MicroBatch> mine;
  for (size_t m = mesh.data_rank(); m < all.size(); m += mesh.layout().dp) {
    mine.push_back(to_product(all[m]));
  }
  return mine;
}

void set_masters(Decoder& decoder, const NamedTensors& parameters) {
  for (const LogicalParameter& parameter : decoder.registry().parameters()) {
    parameter.rows("master", parameter.master_rows)
        .copy_(box_of(parameters.at(parameter.name), parameter, parameter.master_rows));
  }
  decoder.commit_step();
}

}  // namespace

std::vector<ParityStep> run_parity_case(Communicator& world,
                                        const ParityCase& parity_case,
                                        const ParityLayout& layout,
                                        ParityType type,
                                        const Decorate& decorate,
                                        const ParityMachine& machine) {
  const ReferenceOptions& options = parity_case.options;
  const ProcessMesh mesh(
      world,
      {.dp = layout.dp(),
       .tp = layout.tp,
       .ep = layout.ep,
       .key_value_heads =
           options.latent_attention ? options.num_attention_heads : options.num_key_value_heads},
      decorate,
      machine.device);
  Decoder decoder(model_options(options, type),
                  router_options(options),
                  mesh,
                  {},
                  {},
                  // every block's gradients by themselves
                  {.zero1 = layout.zero1, .bucket_bytes = 1},
                  {.dispatch_dtype = layout.dispatch_dtype,
                   .placement = {layout.policy, layout.extra_slots, layout.stripes}});
  AdamW optimizer(optim_options(options), decoder.registry());
  StepEngine engine(decoder, mesh, {options.seed, layout.recompute, layout.kept_layers});
  RouteLog routes(engine);
  set_masters(decoder, parity_case.parameters);
  check_copies(world, decoder, layout.ep, parity_case.parameters);

  const auto gather = [&](const std::string& column) {
    return gather_column(world, decoder.registry(), options, column);
  };
  const auto copies = [&] { return machine.copies_to_host ? machine.copies_to_host() : 0; };
  std::vector<ParityStep> steps;
  for (const auto& batches : parity_case.steps) {
    const auto number = static_cast<int64_t>(steps.size());
    if (layout.owners_move && number > 0) {
      decoder.move_owners(shuffled(decoder.experts()->owners(), static_cast<unsigned>(number)));
      check_copies(world, decoder, layout.ep, steps.back().updated);
    }
    const int64_t copies_before = copies();
    const StepLosses losses = engine.accumulate_gradients(number, micro_batches_of(mesh, batches));
    const int64_t gradient_copies = copies() - copies_before;
    check_rows(world, losses.load, options, batches);
    const NamedTensors gradients = gather("grad");
    const int64_t copies_before_update = copies();
    const UpdateResult update = engine.apply_update(optimizer, options.lr, losses.load);
    const int64_t update_copies = copies() - copies_before_update;
    steps.push_back({losses.loss,
                     losses.aux_loss,
                     losses.device_loss,
                     losses.z_loss,
                     imbalance_of(losses.load).expert,
                     losses.load.tokens,
                     losses.load.dropped,
                     losses.load.entropy,
                     update.grad_norm,
                     gradients,
                     gather("master"),
                     routes.take(world, mesh, options, batches),
                     gradient_copies,
                     update_copies});
    check_logged(world, steps.back());
    check_copies(world, decoder, layout.ep, steps.back().updated);
  }
  return steps;
}

std::vector<ParityStep> run_parity_case_on_threads(const ParityCase& parity_case,
                                                   const ParityLayout& layout,
                                                   ParityType type,
                                                   const Decorate& decorate) {
  std::vector<ParityStep> steps;
  const auto body = [&](Communicator& world) {
    std::vector<ParityStep> mine = run_parity_case(world, parity_case, layout, type, decorate);
    if (world.rank() == 0) {
      steps = std::move(mine);
    }
  };
  run_loopback(layout.world_size, body, layout.nodes);
  return steps;
}

std::vector<ParityStep> run_parity_case_with_progress_threads(const ParityCase& parity_case,
                                                              const ParityLayout& layout,
                                                              ParityType type) {
  std::vector<ParityStep> steps;
  const auto body = [&](Communicator& world) {
    CommunicationThread thread({.chunk_bytes = 20000});
    std::vector<ParityStep> mine =
        run_parity_case(world,
                        parity_case,
                        layout,
                        type,
                        [&thread](std::unique_ptr<Communicator> inner, Traffic traffic) {
                          return thread.take_over(std::move(inner), traffic);
                        });
    if (world.rank() == 0) {
      steps = std::move(mine);
    }
  };
  run_loopback(layout.world_size, body, layout.nodes);
  return steps;
}

}  // namespace enodia

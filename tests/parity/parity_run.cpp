#include "tests/parity/parity_run.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <stdexcept>

#include <ATen/ops/zeros.h>
#include <c10/util/accumulate.h>

#include "collectives/collectives.h"
#include "collectives/loopback/loopback.h"
#include "collectives/progress/communication_thread.h"
#include "models/decoder.h"
#include "optim/adamw.h"
#include "parallel/tensor_view.h"
#include "trainer/step/step_engine.h"

namespace enodia {
namespace {

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
  options.rope_theta = o.rope_theta;
  options.rms_norm_eps = o.rms_norm_eps;
  options.tie_word_embeddings = o.tie_word_embeddings;
  options.attention_bias = o.attention_bias;
  options.attention_output_bias = o.attention_output_bias;
  options.use_qk_norm = o.use_qk_norm;
  options.dtype = type == ParityType::kFloat64 ? DType::kFloat64 : DType::kFloat32;
  return options;
}

OptimOptions optim_options(const ReferenceOptions& o) {
  return {{o.beta1, o.beta2}, o.eps, o.weight_decay, o.clip_norm};
}

// One buffer for all ranks' parameters, each followed by the number of its owners.
NamedTensors gather_column(Communicator& observer,
                           const ParameterRegistry& registry,
                           const ReferenceOptions& options,
                           const std::string& column) {
  const auto shapes = reference_parameter_shapes(options);
  std::map<std::string, int64_t> places;
  int64_t size = 0;
  for (const auto& [name, shape] : shapes) {
    places[name] = size;
    size += c10::multiply_integers(shape) + 1;
  }
  const at::Tensor all = at::zeros({size}, at::kDouble);
  for (const LogicalParameter& parameter : registry.parameters()) {
    if (parameter.owner == observer.rank()) {
      const at::Tensor mine = parameter.column(column).reshape({-1});
      all.narrow(0, places.at(parameter.name), mine.numel()).copy_(mine);
      all[places.at(parameter.name) + mine.numel()].fill_(1.0);
    }
  }
  observer.all_reduce(view(all), ReduceOp::kSum).wait();
  NamedTensors gathered;
  for (const auto& [name, shape] : shapes) {
    const int64_t numel = c10::multiply_integers(shape);
    gathered[name] = all.narrow(0, places[name], numel).view(shape);
    if (const auto owners = all[places[name] + numel].item<double>(); owners != 1.0) {
      throw std::logic_error(name + " has " + std::to_string(owners) + " owners");
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
    const at::Tensor mine = parameter.column("master").to(at::kDouble);
    differs = differs || !mine.equal(owned.at(parameter.name));
  }
  expect_nowhere(observer, differs, "masters differ from their owner's");

  const int64_t ffn = decoder.options().moe_intermediate_size;
  const int layers = decoder.experts() != nullptr ? decoder.experts()->num_layers() : 0;
  for (int layer = 0; layer < layers; ++layer) {
    const Lease lease = decoder.experts()->acquire(layer, LeaseUse::kForward);
    auto weights = lease.weights.begin();
    for (const int32_t expert :
         decoder.experts()->placement(layer).experts_on(observer.rank() % ep)) {
      const std::string prefix = "model.layers." +
                                 std::to_string(decoder.options().first_k_dense_replace + layer) +
                                 ".mlp.experts." + std::to_string(expert);
      const auto is_owners = [&](const at::Tensor& mine, const std::string& matrix) {
        return mine.to(at::kDouble).equal(owned.at(prefix + "." + matrix + "_proj.weight"));
      };
      differs = differs || !is_owners(weights->gate_up.narrow(0, 0, ffn), "gate") ||
                !is_owners(weights->gate_up.narrow(0, ffn, ffn), "up") ||
                !is_owners(weights->down, "down");
      ++weights;
    }
  }
  expect_nowhere(observer, differs, "experts' replicas differ from their owner's weights");
}

// What is logged must be the same bits on every rank, whoever logs it.
void check_logged(Communicator& observer, const ParityStep& step) {
  std::vector<double> mine{step.loss, step.aux_loss, step.z_loss, step.imbalance, step.grad_norm};
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
  expect_nowhere(observer, computed != expected, "the ranks have not computed every token K times");
}

MicroBatch to_product(const ReferenceMicroBatch& batch) {
  MicroBatch product;
  product.tokens = batch.tokens;
  product.labels = batch.labels;
  product.layout = SequenceLayout::from_lengths(batch.segment_lengths);
  product.num_valid = static_cast<int64_t>(batch.labels.size()) -
                      std::count(batch.labels.begin(), batch.labels.end(), MicroBatch::kNoLabel);
  return product;
}

std::vector<MicroBatch> micro_batches_of(const Communicator& world,
                                         const std::vector<ReferenceMicroBatch>& all) {
  std::vector<MicroBatch> mine;
  for (size_t m = world.rank(); m < all.size(); m += world.world_size()) {
    mine.push_back(to_product(all[m]));
  }
  return mine;
}

void set_masters(Decoder& decoder, const NamedTensors& parameters) {
  for (const LogicalParameter& parameter : decoder.registry().parameters()) {
    parameter.column("master").copy_(parameters.at(parameter.name));
  }
  decoder.commit_step();
}

}  // namespace

std::vector<ParityStep> run_parity_case(Communicator& world,
                                        const ParityCase& parity_case,
                                        int ep,
                                        ParityType type,
                                        const Decorate& decorate) {
  const ReferenceOptions& options = parity_case.options;
  const ProcessMesh mesh(world, {world.world_size(), ep}, decorate);
  Decoder decoder(model_options(options, type), {options.aux_loss_coef, options.z_loss_coef}, mesh);
  AdamW optimizer(optim_options(options), decoder.registry());
  StepEngine engine(decoder, mesh, /*bucket_bytes=*/1);  // every block's gradients by themselves
  set_masters(decoder, parity_case.parameters);
  check_copies(world, decoder, ep, parity_case.parameters);

  const auto gather = [&](const std::string& column) {
    return gather_column(world, decoder.registry(), options, column);
  };
  std::vector<ParityStep> steps;
  for (const auto& batches : parity_case.steps) {
    const auto number = static_cast<int64_t>(steps.size());
    const StepLosses losses = engine.accumulate_gradients(number, micro_batches_of(world, batches));
    check_rows(world, losses.load, options, batches);
    const NamedTensors gradients = gather("grad");
    const UpdateResult update = engine.apply_update(optimizer, options.lr);
    steps.push_back({losses.loss,
                     losses.aux_loss,
                     losses.z_loss,
                     imbalance_of(losses.load).expert,
                     losses.load.tokens,
                     losses.load.entropy,
                     update.grad_norm,
                     gradients,
                     gather("master")});
    check_logged(world, steps.back());
    check_copies(world, decoder, ep, steps.back().updated);
  }
  return steps;
}

std::vector<ParityStep> run_parity_case_on_threads(const ParityCase& parity_case,
                                                   int world_size,
                                                   int ep,
                                                   ParityType type,
                                                   const Decorate& decorate) {
  std::vector<ParityStep> steps;
  run_loopback(world_size, [&](Communicator& world) {
    std::vector<ParityStep> mine = run_parity_case(world, parity_case, ep, type, decorate);
    if (world.rank() == 0) {
      steps = std::move(mine);
    }
  });
  return steps;
}

std::vector<ParityStep> run_parity_case_with_progress_threads(const ParityCase& parity_case,
                                                              int world_size,
                                                              int ep,
                                                              ParityType type) {
  std::vector<ParityStep> steps;
  run_loopback(world_size, [&](Communicator& world) {
    CommunicationThread thread({.chunk_bytes = 20000});
    std::vector<ParityStep> mine =
        run_parity_case(world,
                        parity_case,
                        ep,
                        type,
                        [&thread](std::unique_ptr<Communicator> inner, Traffic traffic) {
                          return thread.take_over(std::move(inner), traffic);
                        });
    if (world.rank() == 0) {
      steps = std::move(mine);
    }
  });
  return steps;
}

}  // namespace enodia

#include "trainer/config/schema.h"

#include "trainer/config/source_list.h"

namespace enodia {
namespace {

// Bounds far above any run: products of two of them stay within int64.
constexpr int64_t kMaxWidth = int64_t{1} << 24;
constexpr int64_t kMaxCount = int64_t{1} << 16;
constexpr int64_t kMaxMegabytes = 1'000'000'000;
constexpr int64_t kMaxTokens = (int64_t{1} << 31) - 1;
constexpr int64_t kMaxSteps = 1'000'000'000;
constexpr int64_t kMaxSeconds = 1'000'000;

IntegerRule integer(int64_t min, int64_t max) {
  return {min, max, {}};
}
IntegerRule integer_or_auto(int64_t max) {
  return {1, max, "auto"};
}
RealRule at_least(double min) {
  return {.min = min};
}
RealRule above(double min) {
  return {.min = min, .min_excluded = true};
}
FlagRule flag() {
  return {};
}
TextRule text() {
  return {.may_be_empty = false};
}
TextRule text_or_empty() {
  return {.may_be_empty = true};
}

std::vector<YamlComplaint> complain(const YamlNode& node, std::string refusal) {
  if (refusal.empty()) {
    return {};
  }
  return {{node.line, node.column, std::move(refusal)}};
}
std::vector<YamlComplaint> complain(const YamlNode&, std::vector<YamlComplaint> complaints) {
  return complaints;
}

template <typename Field>
OneOf<Field> one_of(std::vector<std::string> words, std::vector<Field> values) {
  return {{std::move(words)}, std::move(values)};
}

/// The name of a part.
OneOf<std::string> one_of(const std::vector<std::string>& names) {
  return {{names}, names};
}

enum class Presence { kOptional, kRequired };

/// Gathers the keys of one section.
class Section {
 public:
  Section(std::string name, std::vector<ConfigKey>& keys) : name_(std::move(name)), keys_(keys) {}

  template <typename Field, typename Rule>
  void key(std::string name,
           Field& field,
           Rule rule,
           std::string meaning,
           Presence presence = Presence::kOptional) {
    ConfigKey key;
    key.section = name_;
    key.name = std::move(name);
    key.meaning = std::move(meaning);
    key.required = presence == Presence::kRequired;
    key.rule = rule;
    key.read = [rule, &field](const YamlNode& node) {
      return complain(node, read_value(node, rule, field));
    };
    key.write = [rule, &field] { return write_value(rule, field); };
    keys_.push_back(std::move(key));
  }

 private:
  std::string name_;
  std::vector<ConfigKey>& keys_;
};

void describe(Section run, RunOptions& o) {
  run.key("name", o.name, text(), "names the run; by default the file's name without extension");
  run.key("dir", o.dir, text(), "folder of the run; by default runs/NAME");
  run.key("seed",
          o.seed,
          integer(0, std::numeric_limits<int64_t>::max()),
          "of initial weights and of the order of samples");
  run.key("peak_tflops",
          o.peak_tflops,
          RealRule{.min_excluded = true, .zero_word = "measured"},
          "what one rank can compute, for mfu; measured tries it at the start");
  run.key("timeout_s",
          o.timeout_s,
          integer(0, kMaxSeconds),
          "seconds without a sign of life in a step after which the watchdog ends the job; 0 = no "
          "watchdog at all");
  run.key("start_timeout_s",
          o.start_timeout_s,
          integer_or_auto(kMaxSeconds),
          "the same before the first step; auto = 4 timeout_s");
  run.key("first_step_timeout_s",
          o.first_step_timeout_s,
          integer_or_auto(kMaxSeconds),
          "the same in the first step; auto = 4 timeout_s");
  run.key("save_timeout_s",
          o.save_timeout_s,
          integer_or_auto(kMaxSeconds),
          "the same while a checkpoint is saved; auto = 4 timeout_s");
  run.key("eval_timeout_s",
          o.eval_timeout_s,
          integer_or_auto(kMaxSeconds),
          "the same while data.valid is evaluated; auto = timeout_s");
  run.key("tensorboard",
          o.tensorboard,
          flag(),
          "writes what metrics.jsonl says of each step for TensorBoard too");
  run.key("progress",
          o.progress,
          one_of<ProgressMode>({"auto", "thread", "inline"},
                               {ProgressMode::kAuto, ProgressMode::kThread, ProgressMode::kInline}),
          "who moves messages while a rank computes: a communication thread, or nobody (inline); "
          "auto takes a thread where every rank has two cores or more");
  run.key("device",
          o.device,
          one_of<DeviceKind>({"cpu", "cuda"}, {DeviceKind::kCpu, DeviceKind::kCuda}),
          "where ranks compute: cuda gives each rank of a machine a GPU of its own");
}

void describe_rotary(Section& model, ModelOptions& o) {
  model.key("rope_theta", o.rope_theta, above(0), "base of the rotary embedding's angles");
  model.key("partial_rotary_factor",
            o.partial_rotary_factor,
            above(0),
            "the part of a head, its first dims, that is rotated");
  model.key("rope_interleave",
            o.rope_interleave,
            flag(),
            "pairs that are turned are neighbours, else one of each half");
  model.key("rope_scaling",
            o.rope_scaling,
            one_of<std::string>({"none", "yarn"}, {"none", "yarn"}),
            "stretches the rotary embedding to longer sequences, by the eight keys that follow");
  model.key("rope_factor", o.rope_factor, above(0), "how many times longer");
  model.key("rope_original_max_position_embeddings",
            o.rope_original_max_position_embeddings,
            integer(1, kMaxTokens),
            "longest sequence before");
  model.key("rope_beta_fast",
            o.rope_beta_fast,
            above(0),
            "pairs that make more turns in that sequence stay as they are");
  model.key("rope_beta_slow",
            o.rope_beta_slow,
            above(0),
            "pairs that make fewer are slowed down by the whole factor");
  model.key("rope_mscale", o.rope_mscale, at_least(0), "YaRN's mscale; 0 = not given");
  model.key("rope_mscale_all_dim",
            o.rope_mscale_all_dim,
            at_least(0),
            "YaRN's mscale_all_dim; 0 = not given; with mla it multiplies the scores too");
  model.key("rope_attention_factor",
            o.rope_attention_factor,
            at_least(0),
            "multiplies what is rotated; 0 = follows from the factor and mscales");
  model.key("rope_truncate",
            o.rope_truncate,
            flag(),
            "the ramp between both kinds of pairs begins and ends at whole pairs");
}

void describe_latents(Section& model, ModelOptions& o) {
  model.key("q_lora_rank",
            o.q_lora_rank,
            integer(0, kMaxWidth),
            "of mla: width of the queries' latent; 0 = none");
  model.key("kv_lora_rank",
            o.kv_lora_rank,
            integer(1, kMaxWidth),
            "of mla: width of the latent of keys and values");
  model.key("qk_nope_head_dim",
            o.qk_nope_head_dim,
            integer(1, kMaxCount),
            "of mla: width of a query or key without position");
  model.key("qk_rope_head_dim",
            o.qk_rope_head_dim,
            integer(2, kMaxCount),
            "of mla: width of its rotated part; even");
  model.key("v_head_dim", o.v_head_dim, integer(1, kMaxCount), "of mla: width of a value");
}

void describe(Section model, ModelOptions& o, const PartNames& parts) {
  model.key("vocab_size",
            o.vocab_size,
            integer(0, kMaxTokens),
            "tokens in the vocabulary; 0 takes the tokenizer's of the training data");
  model.key("hidden_size", o.hidden_size, integer(1, kMaxWidth), "width of the residual stream");
  model.key("num_hidden_layers", o.num_hidden_layers, integer(1, kMaxCount), "decoder layers");
  model.key("num_attention_heads", o.num_attention_heads, integer(1, kMaxCount), "query heads");
  model.key("num_key_value_heads",
            o.num_key_value_heads,
            integer(1, kMaxCount),
            "key and value heads; divides num_attention_heads");
  model.key("head_dim",
            o.head_dim,
            integer(2, kMaxCount),
            "width of a head; even; mla has widths of its own");
  model.key("intermediate_size",
            o.intermediate_size,
            integer(1, kMaxWidth),
            "hidden width of the dense layers");
  model.key("moe_intermediate_size",
            o.moe_intermediate_size,
            integer(1, kMaxWidth),
            "hidden width of one expert");
  model.key("num_experts",
            o.num_experts,
            integer(0, kMaxCount),
            "experts in an MoE layer; 0 makes a dense model");
  model.key("num_experts_per_tok",
            o.num_experts_per_tok,
            integer(1, kMaxCount),
            "experts that each token is sent to");
  model.key("num_shared_experts",
            o.num_shared_experts,
            integer(0, kMaxCount),
            "width, in experts, of the feed-forward network that every token passes");
  model.key("shared_expert_intermediate_size",
            o.shared_expert_intermediate_size,
            integer(0, kMaxWidth),
            "its width instead, for one shared expert; 0 = num_shared_experts times "
            "moe_intermediate_size");
  model.key("shared_expert_gate",
            o.shared_expert_gate,
            flag(),
            "a token's shared output is weighed by a sigmoid of its own, as in Qwen2-MoE");
  model.key("first_k_dense_replace",
            o.first_k_dense_replace,
            integer(0, kMaxCount),
            "the first k layers are dense");
  model.key("norm_topk_prob",
            o.norm_topk_prob,
            flag(),
            "renormalize the chosen experts' weights to sum to one");
  model.key("scoring_func",
            o.scoring_func,
            one_of<std::string>({"softmax", "sigmoid"}, {"softmax", "sigmoid"}),
            "turns router logits into scores");
  model.key("routed_scaling_factor",
            o.routed_scaling_factor,
            above(0),
            "multiplies the chosen experts' weights");
  model.key("n_group",
            o.n_group,
            integer(1, kMaxCount),
            "groups that experts are in, as many in each; 1 = no groups");
  model.key(
      "topk_group", o.topk_group, integer(1, kMaxCount), "groups that a token's experts come from");
  model.key("group_score",
            o.group_score,
            one_of<std::string>({"top2_sum", "max"}, {"top2_sum", "max"}),
            "by what groups are chosen: the sum of their two largest scores, or the largest");
  model.key(
      "use_expert_bias",
      o.use_expert_bias,
      flag(),
      "a bias on each expert's score, for the choice alone, moved against its load after each "
      "step");
  describe_rotary(model, o);
  model.key("rms_norm_eps", o.rms_norm_eps, above(0), "added to the mean square in RMSNorm");
  model.key(
      "initializer_range", o.initializer_range, above(0), "standard deviation of initial weights");
  model.key("tie_word_embeddings",
            o.tie_word_embeddings,
            flag(),
            "the embedding serves as output layer too");
  model.key("attention_bias", o.attention_bias, flag(), "biases on q, k and v");
  model.key("attention_output_bias",
            o.attention_output_bias,
            flag(),
            "a bias on o; the attention_bias of Qwen3-MoE is this and the other");
  model.key("use_qk_norm", o.use_qk_norm, flag(), "RMSNorm on q and k, before RoPE");
  model.key("qk_norm",
            o.qk_norm,
            one_of<std::string>({"head", "full"}, {"head", "full"}),
            "what that norm is of: each head, or all heads together as in OLMoE");
  describe_latents(model, o);
  model.key("max_position_embeddings",
            o.max_position_embeddings,
            integer(1, kMaxTokens),
            "longest sequence that the model is meant for");
  model.key(
      "dtype",
      o.dtype,
      one_of<DType>({"float32", "bfloat16", "float64"},
                    {DType::kFloat32, DType::kBFloat16, DType::kFloat64}),
      "type of computation; bfloat16 keeps weights, their gradients, the optimizer's state and "
      "the router in float32; float64 is for proofs");
  model.key(
      "attention",
      o.attention,
      one_of(parts.attentions),
      "grouped_query, or mla (multi-head latent attention); docs/extending.md says how to add one");
  model.key("router",
            o.router,
            one_of(parts.routers),
            "what scores the experts for a token; docs/extending.md says how to add one");
}

void describe(Section section, std::map<std::string, double>& settings, const PartNames& parts) {
  constexpr double kAny = -std::numeric_limits<double>::infinity();
  for (const auto& [name, setting] : parts.settings) {
    section.key(name, settings[name], at_least(kAny), setting.meaning);
  }
}

void describe(Section router, RouterOptions& o) {
  router.key("aux_loss_coef", o.aux_loss_coef, at_least(0), "weight of the load-balance loss");
  router.key("aux_loss_scope",
             o.aux_loss_scope,
             one_of<AuxLossScope>(
                 {"micro_batch", "sequence", "global_batch"},
                 {AuxLossScope::kMicroBatch, AuxLossScope::kSequence, AuxLossScope::kGlobalBatch}),
             "tokens among which the load-balance loss evens out: of each micro-batch, of each "
             "sequence, or of all ranks in the step so far");
  router.key("device_loss_coef",
             o.device_loss_coef,
             at_least(0),
             "weight of the load-balance loss between groups of experts");
  router.key("device_groups",
             o.device_groups,
             integer(1, kMaxCount),
             "groups of that loss; divides model.num_experts");
  router.key("expert_bias_update_rate",
             o.expert_bias_update_rate,
             at_least(0),
             "how far a step moves the bias of an expert, with model.use_expert_bias");
  router.key("jitter_eps",
             o.jitter_eps,
             RealRule{.min = 0, .below = 1},
             "the router's input is multiplied by random numbers from 1 - jitter_eps to 1 + "
             "jitter_eps in training");
  router.key("forced_skew",
             o.forced_skew,
             at_least(0),
             "for measurements of placement: experts are drawn at random in training, whatever the "
             "router scores, the n-th with probability 1 / n^forced_skew; 0 = the router decides");
  router.key("forced_counts",
             o.forced_counts,
             text_or_empty(),
             "for measurements of placement: recorded routing (docs/placement.md) whose counts of "
             "tokens for each expert are repeated in training, whatever the router scores; empty = "
             "the router decides");
  router.key("capacity_factor",
             o.capacity_factor,
             at_least(0),
             "room of an expert for the tokens of a micro-batch in training, in even shares; what "
             "does not fit is dropped; 0 = everything fits");
  router.key("drop_policy",
             o.drop_policy,
             one_of<DropPolicy>({"position", "probs", "random"},
                                {DropPolicy::kPosition, DropPolicy::kProbs, DropPolicy::kRandom}),
             "which tokens an expert takes when not all fit: the first, those with the largest "
             "scores, or any");
  router.key("z_loss_coef", o.z_loss_coef, at_least(0), "weight of the router's z loss");
}

void describe(Section parallel, ParallelOptions& o) {
  constexpr int64_t kFewestBytes = int64_t{1} << 10;
  constexpr int64_t kMostBytes = int64_t{1} << 30;
  parallel.key(
      "dp",
      o.dp,
      integer_or_auto(kMaxCount),
      "data parallel groups of tp ranks, each with micro-batches of its own; auto makes as "
      "many as there are ranks for");
  parallel.key("tp",
               o.tp,
               integer(1, kMaxCount),
               "tensor parallel ranks: they share each micro-batch, and cut its tokens, attention "
               "heads, feed-forwards and the vocabulary among them; divides the ranks");
  parallel.key("ep",
               o.ep,
               integer_or_auto(kMaxCount),
               "ranks that share the experts of a layer; divides the ranks, auto takes all");
  parallel.key(
      "zero1",
      o.zero1,
      one_of<Zero1>({"off", "rows", "parameters"}, {Zero1::kOff, Zero1::kRows, Zero1::kParameters}),
      "cuts the optimizer's state of what is no expert among the ranks that hold the same: "
      "by rows of a parameter, or by whole parameters");
  using Type = std::optional<DType>;
  parallel.key(
      "dispatch_dtype",
      o.dispatch_dtype,
      one_of<Type>({"model", "bfloat16"}, {Type(), Type(DType::kBFloat16)}),
      "type in which tokens, and their gradients, travel to experts and back: as the model "
      "computes, or rounded to bfloat16, half the bytes of float32");
  parallel.key("chunk_bytes",
               o.chunk_bytes,
               integer(kFewestBytes, kMostBytes),
               "of a message or a reduction that a communication thread sends at a time (replicas "
               "in quarters of it), so that more urgent ones wait for no more: less on slow links");
  parallel.key("bucket_bytes",
               o.bucket_bytes,
               integer(kFewestBytes, kMostBytes),
               "dense gradients that are reduced together while backward goes on");
}

void describe(Section placement, PlacementConfig& o) {
  std::vector<std::string> policies{PlacementConfig::kAuto};
  for (const PolicyEntry& entry : placement_policies()) {
    policies.emplace_back(entry.name);
  }
  placement.key("policy",
                o.policy,
                one_of(policies),
                "where experts are computed, besides at their owners, so that no rank waits for "
                "another (docs/placement.md); owners moves no expert; auto is enodia where each of "
                "several ranks owns experts of every layer, else owners");
  placement.key("extra_slots",
                o.extra_slots,
                integer(0, kMaxCount),
                "replicas of experts that a rank may hold for one layer at a time; fastermoe and "
                "replicate_all know no limit, eplb and laer fill as many slots again as the rank "
                "owns experts");
  placement.key("stripes",
                o.stripes,
                integer(1, kMaxCount),
                "neighbouring ranks that own an expert together: each has a part of its weights, "
                "gradients and moments, and whoever computes it gathers the parts, at home too; "
                "divides the ranks, 1 = one owner, all ranks = fully sharded experts (FSEP)");
  placement.key("rematerialize",
                o.rematerialize,
                flag(),
                "whether replicas are freed after forward and brought again for backward: two "
                "layers' replicas in memory instead of all layers', for one more gather");
  placement.key("keep_memory_mb",
                o.keep_memory_mb,
                integer(0, kMaxMegabytes),
                "memory of a rank, in millions of bytes, for replicas that stay from forward to "
                "backward even so: those of as many of the last layers as fit");
  placement.key("budget",
                o.budget,
                text(),
                "by what enodia prices its plans: the rates of a cluster file (configs/clusters), "
                "with which experts travel as far as they gain more than they cost; measured, the "
                "same measured when a run begins and kept in run.dir; fixed, prices in tokens for "
                "no machine in particular, with which a run repeats bit by bit; auto is measured "
                "where ranks are on several nodes, else fixed");
  placement.key("reshard_interval",
                o.reshard_interval,
                integer(0, kMaxSteps),
                "steps between two looks at who should own which expert, from the load of the last "
                "steps; rows of weights and moments move to new owners; 0 = owners stay");
  placement.key("reshard_gain",
                o.reshard_gain,
                RealRule{.min = 0, .below = 1},
                "owners move when the tokens of the layers' slowest ranks fall by this part of "
                "them, and each exchange of two experts must gain as much of a layer's mean");
}

void describe(Section optim, OptimOptions& o, ScheduleOptions& s) {
  optim.key("lr", s.lr, above(0), "largest learning rate");
  optim.key("min_lr", s.min_lr, at_least(0), "learning rate at the end of the decay");
  optim.key("betas", o.betas, PairRule{{.min = 0, .below = 1}}, "AdamW's decay of both moments");
  optim.key("eps", o.eps, above(0), "AdamW's guard against division by zero");
  optim.key("weight_decay",
            o.weight_decay,
            at_least(0),
            "decoupled; norms, biases and the router never decay");
  optim.key("clip_norm", o.clip_norm, at_least(0), "largest gradient norm; 0 = no clipping");
  optim.key("schedule",
            s.kind,
            one_of<ScheduleKind>({"cosine", "linear", "wsd", "constant"},
                                 {ScheduleKind::kCosine,
                                  ScheduleKind::kLinear,
                                  ScheduleKind::kWsd,
                                  ScheduleKind::kConstant}),
            "learning rate after the warm-up; wsd = stable, then a linear decay at the end");
  optim.key("warmup_samples",
            s.warmup_samples,
            integer(0, std::numeric_limits<int64_t>::max()),
            "sequences over which the learning rate rises from 0");
  optim.key(
      "decay_samples",
      s.decay_samples,
      integer_or_auto(std::numeric_limits<int64_t>::max()),
      "sequences after which min_lr is reached, auto = the whole run; under wsd the length of "
      "the decay that ends with the run, auto = a tenth of it");
}

void describe(Section data, DataOptions& o) {
  data.key("train",
           o.train,
           SourceListRule{},
           "prefix of the training data's .bin and .idx files, or a list of them with weights",
           Presence::kRequired);
  data.key("valid",
           o.valid,
           text_or_empty(),
           "prefix of the held-out data's .bin and .idx files; empty = none");
  data.key("order",
           o.order,
           one_of<SampleOrder>({"shuffled", "sequential"},
                               {SampleOrder::kShuffled, SampleOrder::kSequential}),
           "of the training sequences");
}

void describe(Section train, TrainOptions& o, const PartNames& parts) {
  train.key("steps", o.steps, integer(1, kMaxSteps), "updates of the weights", Presence::kRequired);
  train.key("global_batch_size",
            o.global_batch_size,
            integer(1, kMaxSteps),
            "sequences in a step, over all ranks",
            Presence::kRequired);
  train.key("micro_batch_size",
            o.micro_batch_size,
            integer(1, kMaxSteps),
            "sequences that a rank computes at once",
            Presence::kRequired);
  train.key("sequence_length",
            o.sequence_length,
            integer(1, kMaxTokens),
            "tokens in a sequence",
            Presence::kRequired);
  train.key("eval_interval",
            o.eval_interval,
            integer(0, kMaxSteps),
            "steps between evaluations on data.valid; 0 = only at the end");
  train.key("log_interval", o.log_interval, integer(1, kMaxSteps), "steps between log lines");
  train.key("init",
            o.init,
            text_or_empty(),
            "model whose weights a new run starts from: a run directory, a checkpoint or a Hugging "
            "Face folder; what the sections model and router leave out is taken from it; empty = "
            "fresh weights");
  train.key("recompute",
            o.recompute,
            one_of<Recompute>({"none", "experts", "layers"},
                              {Recompute::kNone, Recompute::kExperts, Recompute::kLayers}),
            "what is computed again in backward instead of being kept: the hidden products of "
            "experts, or all of a layer but its input and where its tokens went");
  train.key("virtual_compute",
            o.virtual_compute,
            text(),
            "for measurements of placement: a cluster file, as in configs/clusters, at whose rate "
            "ranks sleep in place of computing attention, feed-forwards and experts; losses mean "
            "nothing then, and nothing is saved; off = compute");
  train.key("time_dilation",
            o.time_dilation,
            above(0),
            "how many times longer virtual computation takes than on that cluster");
  train.key("loss",
            o.loss,
            one_of(parts.losses),
            "what is trained on; docs/extending.md says how to add one");
}

void describe(Section checkpoint, CheckpointOptions& o) {
  checkpoint.key("interval",
                 o.interval,
                 integer(0, kMaxSteps),
                 "steps between checkpoints; 0 = only at the end");
  checkpoint.key("keep", o.keep, integer(1, kMaxCount), "newest checkpoints that are kept");
}

void describe(Section trace, TraceOptions& o) {
  trace.key("first_step",
            o.first_step,
            integer(0, kMaxSteps),
            "first step that is traced, to run.dir/trace-step_N.json; 0 = none");
  trace.key("steps", o.steps, integer(1, 1000), "steps that are traced");
}

}  // namespace

std::vector<ConfigKey> list_keys(TrainConfig& config) {
  std::vector<ConfigKey> keys;
  describe(Section("run", keys), config.run);
  describe(Section("model", keys), config.model, config.parts);
  describe(Section("parts", keys), config.model.settings, config.parts);
  describe(Section("router", keys), config.router);
  describe(Section("parallel", keys), config.parallel);
  describe(Section("placement", keys), config.placement);
  describe(Section("optim", keys), config.optim, config.schedule);
  describe(Section("data", keys), config.data);
  describe(Section("train", keys), config.train, config.parts);
  describe(Section("checkpoint", keys), config.checkpoint);
  describe(Section("trace", keys), config.trace);
  return keys;
}

}  // namespace enodia

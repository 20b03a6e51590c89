#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/rules.h"
#include "models/model_options.h"
#include "optim/optim_options.h"
#include "parallel/dense_sharding.h"
#include "parallel/placement/placement_options.h"
#include "trainer/data/data_source.h"
#include "trainer/data/sample_order.h"

namespace enodia {

/// Who moves messages while a rank computes.
enum class ProgressMode : uint8_t {
  kAuto,    ///< a thread where every rank has two cores or more, else inline
  kThread,  ///< a communication thread
  kInline,  ///< nobody: they move while the rank waits for one
};

/// Where ranks compute.
enum class DeviceKind : uint8_t { kCpu, kCuda };

struct RunOptions {
  std::string name;  ///< default: the configuration file's name without its extension
  std::string dir;   ///< default: runs/<name>; relative to the current directory
  int64_t seed = 1;
  double peak_tflops = 0;  ///< of one rank, that mfu is a fraction of; 0 = measured
  /// Seconds without a sign of life after which the watchdog ends the job, by section; 0 = auto
  /// (trainer/run/start.h), but of `timeout_s`: no watchdog.
  int64_t timeout_s = 300;
  int64_t start_timeout_s = 0;
  int64_t first_step_timeout_s = 0;
  int64_t save_timeout_s = 0;
  int64_t eval_timeout_s = 0;
  bool tensorboard = true;  ///< write TensorBoard's event files too
  ProgressMode progress = ProgressMode::kAuto;
  DeviceKind device = DeviceKind::kCpu;

  void check(Rules& rules) const;
};

/// World = dp * tp; ep divides it.
struct ParallelOptions {
  int64_t dp = 0;  ///< groups of tp ranks; 0 = auto, as many as there are
  int64_t tp = 1;  ///< ranks that share a micro-batch
  int64_t ep = 0;  ///< ranks over which the experts of a layer are spread; 0 = auto, all ranks
  Zero1 zero1 = Zero1::kOff;
  /// Of tokens on their way to experts and back; as the model computes by default.
  std::optional<DType> dispatch_dtype;
  /// Of a message or a reduction that is sent at a time; more urgent ones wait for no more.
  int64_t chunk_bytes = int64_t{1} << 20;
  int64_t bucket_bytes = int64_t{2} << 20;  ///< dense gradients that are reduced together

  /// How many groups of tp ranks there are.
  int64_t groups(int64_t world_size) const { return std::max<int64_t>(world_size / tp, 1); }
  /// Over how many ranks the experts of a layer are spread.
  int64_t expert_ranks(int64_t world_size) const { return ep > 0 ? ep : world_size; }
};

/// Where experts are computed besides at home.
struct PlacementConfig {
  std::string policy = kAuto;    ///< a name of placement_policies(), or kAuto
  int64_t extra_slots = 2;       ///< of a rank for one layer at a time
  int64_t stripes = 1;           ///< ranks that own an expert together
  bool rematerialize = true;     ///< replicas are brought again for backward
  int64_t keep_memory_mb = 0;    ///< of a rank, for those of the last layers that stay even so
  std::string budget = kAuto;    ///< prices of enodia's plans: kFixed, kMeasured, kAuto or a file
  int64_t reshard_interval = 0;  ///< steps after which owners may move; 0 = never
  double reshard_gain = 0.03;    ///< that it takes

  bool budget_is_file() const { return budget != kAuto && budget != kFixed && budget != kMeasured; }

  static constexpr const char* kFixed = "fixed";
  static constexpr const char* kMeasured = "measured";
  static constexpr const char* kOwners = "owners";
  static constexpr const char* kEnodia = "enodia";
  /// Of policy: kEnodia where each of several ranks owns experts of every layer, else kOwners. Of
  /// budget: kMeasured where ranks that compute are on several nodes, else kFixed.
  static constexpr const char* kAuto = "auto";
};

struct DataOptions {
  std::vector<DataSource> train;
  std::string valid;  ///< prefix as in DataSource; empty = no held-out data
  SampleOrder order = SampleOrder::kShuffled;
};

/// Batch sizes count sequences.
struct TrainOptions {
  int64_t steps = 0;
  int64_t global_batch_size = 0;
  int64_t micro_batch_size = 0;
  int64_t sequence_length = 0;
  int64_t eval_interval = 0;         ///< steps between evaluations; 0 = only at the end
  int64_t log_interval = 1;          ///< steps between log lines
  std::string init;                  ///< MODEL whose weights a new run starts from; empty = fresh
  std::string loss = kCrossEntropy;  ///< by name in ModelParts::losses
  Recompute recompute = Recompute::kNone;
  std::string virtual_compute = kOff;  ///< a cluster file: sleep at its rate in place of computing
  double time_dilation = 1;            ///< of that sleep

  static constexpr const char* kOff = "off";
  bool computes() const { return virtual_compute == kOff; }
  void check(Rules& rules) const;
};

struct CheckpointOptions {
  int64_t interval = 0;  ///< steps between checkpoints; 0 = only at the end
  int64_t keep = 2;      ///< newest checkpoints that are kept
};

/// Which steps are traced (trainer/run/step_trace.h).
struct TraceOptions {
  int64_t first_step = 0;  ///< from 1; 0 = none
  int64_t steps = 3;       ///< how many
};

/// Where a value was written: a line of a file, `--set model.hidden_size` (line 0), or nowhere
/// (empty origin: the default).
struct ValueSource {
  std::string origin;
  int line = 0;
  int column = 0;

  /// "configs/tiny.yaml:12:3", "--set model.hidden_size" or "".
  std::string place() const;
  /// For a comment or a list: "configs/tiny.yaml:12:3", "--set" or "default", on one line.
  std::string brief() const;
};

/// Everything that `enodia train` needs to know, with the source of each value.
struct TrainConfig {
  RunOptions run;
  ModelOptions model;  ///< vocab_size 0 = the tokenizer's of the training data
  RouterOptions router;
  ParallelOptions parallel;
  PlacementConfig placement;
  OptimOptions optim;
  ScheduleOptions schedule;  ///< written in the section `optim`
  DataOptions data;
  TrainOptions train;
  CheckpointOptions checkpoint;
  TraceOptions trace;

  PartNames parts;  ///< that it may choose from; the keys of model.settings are among them
  std::string file_name;
  std::map<std::string, ValueSource> sources;  ///< by path ("model.hidden_size"); absent = default

  /// Where a value came from; of the default when it was written nowhere.
  ValueSource source_of(const std::string& path) const;
  /// For a Decoder on so many ranks.
  PlacementOptions placement_options(int64_t world_size) const;
  /// placement.budget, decided where it is auto.
  std::string budget_on(int64_t nodes) const {
    const bool can_measure = nodes > 1 && train.computes();
    return placement.budget != PlacementConfig::kAuto ? placement.budget
           : can_measure                              ? PlacementConfig::kMeasured
                                                      : PlacementConfig::kFixed;
  }
  /// Micro-batches that a rank has in a step.
  int64_t micro_batches_of_rank(int64_t world_size) const {
    const int64_t at_once = train.micro_batch_size * parallel.groups(world_size);
    return std::max<int64_t>(train.global_batch_size / std::max<int64_t>(at_once, 1), 1);
  }
  /// Sequences in the whole run.
  int64_t run_samples() const { return train.steps * train.global_batch_size; }
};

/// The defaults of a program with these parts.
TrainConfig default_config(const PartNames& parts);

/// One thing that is wrong: where ("tiny.yaml:14:3", may be empty) and a sentence.
struct ConfigProblem {
  std::string where;
  std::string sentence;
  std::string text() const { return where.empty() ? sentence : where + ": " + sentence; }
};

/// Whether a key belongs to the sections that say what is computed: model, router and parts.
bool shapes_model(std::string_view path);

/// The sections model and router of the model that train.init names.
struct InitialModel {
  ModelOptions model;
  RouterOptions router;
};
/// Finds it for what was written so far (train.init and run.dir are resolved). Throws FileError.
using FindInitialModel = std::function<InitialModel(const TrainConfig& written)>;

/// Reads YAML text strictly, then `overrides` ("model.hidden_size=64", each the argument of one
/// --set; later ones win). Local; the same text gives the same result on every rank. `file_name`
/// is for messages and run.name. With a train.init, what the sections model and router leave out is
/// the initial model's, and what they say of its weights must be so. What cannot work on
/// `world_size` ranks (dp, ep, batch sizes) is refused too, unless that is 0. Throws ConfigError
/// that lists every problem, one a line.
TrainConfig parse_train_config(const std::string& yaml_text,
                               const std::string& file_name,
                               std::span<const std::string> overrides,
                               int world_size = 0,
                               const PartNames& parts = {},
                               const FindInitialModel& find_initial_model = {});

/// Throws ConfigError with the problems' texts, one a line, unless there are none.
void throw_problems(const std::vector<ConfigProblem>& problems);

/// The resolved configuration, each value followed by a comment with its source and its meaning.
/// Reading it back gives the same values, bit by bit.
std::string to_yaml(const TrainConfig& config);
/// The same of the sections model and router alone.
std::string model_to_yaml(const TrainConfig& config);

/// One key of a configuration with its value as YAML text, in the order of to_yaml.
struct ConfigEntry {
  std::string path;
  std::string value;
};

/// All keys, for comparing two configurations key by key.
std::vector<ConfigEntry> list_entries(const TrainConfig& config);

/// The configuration of a checkpoint, which another version of the program may have written.
struct StoredConfig {
  TrainConfig config;  ///< keys that were not stored, even required ones, have their defaults
  std::vector<ConfigEntry> unknown;  ///< keys that there are no more; none that shapes the model
};

/// As parse_train_config, but sets unknown keys aside, those of the sections model and router
/// excepted: a model that is not understood must not be computed. Parts of other programs are read
/// all the same (stored_parts.h); who computes must see that it has them.
StoredConfig parse_stored_config(const std::string& yaml_text, const std::string& file_name);

}  // namespace enodia

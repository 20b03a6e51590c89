#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "models/model_options.h"
#include "optim/optim_options.h"
#include "trainer/data/sample_order.h"

namespace enodia {

struct RunOptions {
  std::string name;  ///< default: the configuration file's name without its extension
  std::string dir;   ///< default: runs/<name>; relative to the current directory
  int64_t seed = 1;
  double peak_tflops = 0;  ///< of one rank, that mfu is a fraction of; 0 = measured

  /// Every broken rule as a sentence "key (value) ...; remedy", empty when the options are sound.
  std::vector<std::string> violations() const;
};

/// World = dp; ep divides it.
struct ParallelOptions {
  int64_t dp = 0;  ///< data parallel ranks; 0 = auto, all ranks
  int64_t ep = 0;  ///< ranks over which the experts of a layer are spread; 0 = auto, all ranks
};

/// Prefixes of Megatron .bin/.idx pairs, relative to the current directory.
struct DataOptions {
  std::string train;
  std::string valid;  ///< empty = no held-out data
  SampleOrder order = SampleOrder::kShuffled;
};

/// Batch sizes count sequences.
struct TrainOptions {
  int64_t steps = 0;
  int64_t global_batch_size = 0;
  int64_t micro_batch_size = 0;
  int64_t sequence_length = 0;
  int64_t eval_interval = 0;  ///< steps between evaluations; 0 = only at the end
  int64_t log_interval = 1;   ///< steps between log lines

  std::vector<std::string> violations() const;
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
};

/// Everything that `enodia train` needs to know, with the source of each value.
struct TrainConfig {
  RunOptions run;
  ModelOptions model;  ///< vocab_size 0 = the tokenizer's of the training data
  RouterOptions router;
  ParallelOptions parallel;
  OptimOptions optim;
  ScheduleOptions schedule;  ///< written in the section `optim`
  DataOptions data;
  TrainOptions train;
  CheckpointOptions checkpoint;
  TraceOptions trace;

  std::string file_name;
  std::map<std::string, ValueSource> sources;  ///< by path ("model.hidden_size"); absent = default

  /// The schedule with `decay_samples: auto` replaced by steps * global_batch_size.
  ScheduleOptions resolved_schedule() const;
};

/// One thing that is wrong: where ("tiny.yaml:14:3", may be empty) and a sentence.
struct ConfigProblem {
  std::string where;
  std::string sentence;
  std::string text() const { return where.empty() ? sentence : where + ": " + sentence; }
};

/// Reads YAML text strictly, then `overrides` ("model.hidden_size=64", each the argument of one
/// --set; later ones win). Local; the same text gives the same result on every rank. `file_name`
/// is for messages and run.name. Throws ConfigError that lists every problem, one a line.
TrainConfig parse_train_config(const std::string& yaml_text,
                               const std::string& file_name,
                               std::span<const std::string> overrides);

/// What cannot work on `world_size` ranks: dp, ep, and batch sizes against them. Local, pure.
std::vector<ConfigProblem> check_layout(const TrainConfig& config, int world_size);

/// Throws ConfigError with the problems' texts, one a line, unless there are none.
void throw_problems(const std::vector<ConfigProblem>& problems);

/// The resolved configuration, each value followed by a comment that names its source. Reading it
/// back gives the same values, bit by bit.
std::string to_yaml(const TrainConfig& config);

/// One key of a configuration with its value as YAML text, in the order of to_yaml.
struct ConfigEntry {
  std::string path;
  std::string value;
};

/// All keys, for comparing two configurations key by key.
std::vector<ConfigEntry> list_entries(const TrainConfig& config);

}  // namespace enodia

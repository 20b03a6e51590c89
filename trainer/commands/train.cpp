#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/native/folders.h"
#include "collectives/collectives.h"
#include "collectives/run_together.h"
#include "common/file.h"
#include "common/hash.h"
#include "common/log.h"
#include "optim/schedule.h"
#include "trainer/commands/commands.h"
#include "trainer/config/train_config.h"
#include "trainer/data/prepare.h"
#include "trainer/data/sampler.h"
#include "trainer/evaluate.h"
#include "trainer/metrics/metrics_file.h"
#include "trainer/metrics/progress.h"
#include "trainer/state/resume.h"
#include "trainer/state/state_snapshot.h"
#include "trainer/step/step_engine.h"

namespace enodia {
namespace {

namespace fs = std::filesystem;

/// After so many skipped steps in a row the run has diverged (exit 6).
constexpr int kMaxSkippedSteps = 20;

/// Rank 0 reads the file; everybody parses the same text, so everybody finds the same errors.
TrainConfig read_config(Communicator& world, const TrainArguments& arguments) {
  std::string text;
  run_together(world, [&] {
    if (world.rank() == 0) {
      try {
        text = read_file(arguments.config, int64_t{1} << 20);
      } catch (const FileError& error) {
        throw ConfigError(error.what());
      }
    }
  });
  TrainConfig config =
      parse_train_config(broadcast_text(world, text, 0), arguments.config, arguments.overrides);
  throw_problems(check_layout(config, world.world_size()));
  return config;
}

/// The data sets of a run, open on this rank.
struct RunData {
  PreparedData train;
  std::optional<PreparedData> valid;
  DataIdentity identity() const {
    return {train.tokenizer_hash,
            train.dataset.fingerprint(),
            train.dataset.num_documents(),
            train.dataset.num_tokens()};
  }
};

RunData open_data(const TrainConfig& config) {
  RunData data{open_prepared(config.data.train), std::nullopt};
  if (data.train.tokenizer == nullptr) {
    throw FileError("the tokenizer of " + config.data.train +
                    " is missing beside it; run enodia "
                    "prepare again");
  }
  if (!config.data.valid.empty()) {
    data.valid.emplace(open_prepared(config.data.valid));
    if (data.valid->tokenizer_hash != data.train.tokenizer_hash) {
      throw FileError(
          config.data.valid + " was prepared with another tokenizer than " + config.data.train +
          "; prepare it with --tokenizer " +
          (data.train.tokenizer->name() == "byte" ? "byte" : config.data.train + ".model"));
    }
  }
  return data;
}

/// vocab_size 0 takes the tokenizer's; a larger one is padding, a smaller one an error.
void resolve_vocab_size(TrainConfig& config, const PreparedData& data) {
  if (config.model.vocab_size == 0) {
    config.model.vocab_size = data.vocab_size;
  } else if (config.model.vocab_size < data.vocab_size) {
    throw ConfigError("model.vocab_size (" + std::to_string(config.model.vocab_size) +
                      ") is smaller than the tokenizer's of " + config.data.train + " (" +
                      std::to_string(data.vocab_size) + "); leave it out or raise it");
  }
}

/// Ranks may have been started with other arguments or see other files: found out before the first
/// step, or they would train on apart or wait for each other for ever.
void check_agreement(Communicator& world, const TrainConfig& config, const DataIdentity& data) {
  std::string mine;
  for (const ConfigEntry& entry : list_entries(config)) {
    mine += entry.path + ": " + entry.value + "\n";
  }
  mine += data.tokenizer_hash + data.fingerprint + std::to_string(data.tokens);
  const std::vector<std::string> hashes = all_gather_text(world, hash_of(mine.data(), mine.size()));
  for (size_t rank = 1; rank < hashes.size(); ++rank) {
    if (hashes[rank] != hashes[0]) {
      throw SharedError("rank " + std::to_string(rank) +
                            " has another configuration or other training data than rank 0; start "
                            "all ranks with the same arguments and the same files",
                        ExitCode::kConfig);
    }
  }
}

/// One training run on this rank: what train() puts together and its loop uses.
struct TrainingRun {
  TrainingRun(Communicator& world, TrainConfig resolved, RunData opened);

  std::vector<MicroBatch> micro_batches_of(int64_t step) const;
  StepRecord train_step(int64_t step);
  double held_out_loss();
  void save(int64_t step);

  TrainConfig config;
  RunData data;
  ProcessMesh mesh;
  Decoder decoder;
  AdamW optimizer;
  StepEngine engine;
  Sampler sampler;
  ScheduleOptions schedule;
  fs::path folder;  // of checkpoints
  int skipped_in_a_row = 0;
};

TrainingRun::TrainingRun(Communicator& world, TrainConfig resolved, RunData opened)
    : config(std::move(resolved)),
      data(std::move(opened)),
      mesh(world,
           {.dp = world.world_size(),
            .ep = config.parallel.ep > 0 ? static_cast<int>(config.parallel.ep)
                                         : world.world_size()}),
      decoder(config.model, config.router, mesh),
      optimizer(config.optim, decoder.registry()),
      engine(decoder, mesh),
      sampler(data.train.dataset,
              {.order = config.data.order,
               .sequence_length = config.train.sequence_length,
               .seed = static_cast<uint64_t>(config.run.seed)}),
      schedule(config.resolved_schedule()),
      folder(fs::path(config.run.dir) / "checkpoints") {}

/// The step's logical micro-batches are the same in every layout; accumulation a of rank r is
/// number a * dp + r.
std::vector<MicroBatch> TrainingRun::micro_batches_of(int64_t step) const {
  const int64_t micro = config.train.micro_batch_size;
  const int64_t first = step * config.train.global_batch_size;
  std::vector<MicroBatch> batches;
  for (int64_t index = mesh.rank(); index * micro < config.train.global_batch_size;
       index += mesh.world_size()) {
    batches.push_back(make_micro_batch(sampler, first + index * micro, micro));
  }
  return batches;
}

StepRecord TrainingRun::train_step(int64_t step) {
  const auto start = std::chrono::steady_clock::now();
  const int64_t consumed_samples = (step + 1) * config.train.global_batch_size;
  StepRecord record;
  record.step = step + 1;
  record.tokens = consumed_samples * config.train.sequence_length;
  record.lr = learning_rate(schedule, consumed_samples);
  record.losses = engine.accumulate_gradients(step, micro_batches_of(step));
  record.update = engine.apply_update(optimizer, record.lr);
  const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - start;
  record.step_ms = time.count();
  record.tokens_per_s =
      static_cast<double>(config.train.global_batch_size * config.train.sequence_length) * 1000.0 /
      record.step_ms;
  skipped_in_a_row = record.update.applied ? 0 : skipped_in_a_row + 1;
  return record;
}

double TrainingRun::held_out_loss() {
  const EvalWindows windows(
      data.valid->dataset, config.train.sequence_length, config.train.micro_batch_size);
  return evaluate_windows(engine, mesh, windows).loss();
}

void TrainingRun::save(int64_t step) {
  const TrainingProgress progress{step, step * config.train.global_batch_size, optimizer.steps()};
  save_state(mesh.data(),
             folder,
             decoder.registry(),
             progress,
             data.identity(),
             {{"config.yaml", to_yaml(config)}, {"tokenizer.model", data.train.tokenizer->blob()}});
  if (mesh.rank() == 0) {
    for (const std::string& warning : remove_old(folder, config.checkpoint.keep)) {
      log_warning(warning);
    }
  }
}

/// Steps at which something happens: every `interval` steps and at the end.
bool is_due(int64_t step, int64_t interval, int64_t last) {
  return step == last || (interval > 0 && step % interval == 0);
}

/// While steps are being skipped nothing is saved but the end of the run: a run that diverges would
/// replace its last good checkpoints by bad ones. A resumed run has therefore always skipped none.
bool must_save(const StepRecord& record, const TrainConfig& config) {
  const int64_t last = config.train.steps;
  return is_due(record.step, config.checkpoint.interval, last) &&
         (record.update.applied || record.step == last);
}

}  // namespace

void train(Communicator& world, const TrainArguments& arguments) {
  TrainConfig config = read_config(world, arguments);
  std::optional<RunData> data;
  run_together(world, [&] { data.emplace(open_data(config)); });
  resolve_vocab_size(config, data->train);
  check_agreement(world, config, data->identity());

  TrainingRun run(world, config, std::move(*data));
  const bool speaks = world.rank() == 0;
  const int64_t num_steps = config.train.steps;
  const int64_t first_step = resume_or_initialize(
      run.mesh, run.config, run.data.identity(), run.folder, run.decoder, run.optimizer);
  std::optional<MetricsFile> metrics;
  run_together(world, [&] {
    if (speaks) {
      write_file_atomically(fs::path(config.run.dir) / "config.yaml", to_yaml(run.config));
      metrics.emplace(fs::path(config.run.dir) / "metrics.jsonl", first_step);
    }
  });
  if (speaks && first_step >= num_steps) {
    log_info("the run in " + config.run.dir + " is complete: " + std::to_string(first_step) +
             " steps are done; raise train.steps to go on");
  }

  Progress progress(num_steps, config.train.log_interval, arguments.terminal);
  for (int64_t step = first_step; step < num_steps; ++step) {
    StepRecord record = run.train_step(step);
    if (run.data.valid && is_due(record.step, config.train.eval_interval, num_steps)) {
      record.valid_loss = run.held_out_loss();
    }
    if (speaks) {
      metrics->append(record.to_json());
      if (arguments.json) {
        std::puts(record.to_json().dump().c_str());
      } else {
        progress.show(record);
      }
    }
    if (run.skipped_in_a_row >= kMaxSkippedSteps) {
      throw SharedError("the gradient was not finite in " + std::to_string(kMaxSkippedSteps) +
                            " steps in a row; lower optim.lr or raise optim.warmup_samples and "
                            "resume from the last checkpoint",
                        ExitCode::kDiverged);
    }
    if (must_save(record, config)) {
      run.save(record.step);
    }
  }
  if (speaks && run.skipped_in_a_row > 0) {
    log_warning("the last " + std::to_string(run.skipped_in_a_row) +
                " steps were skipped since their gradients were not finite; the run has probably "
                "diverged");
  }
}

}  // namespace enodia

#include "trainer/run/training_run.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <span>
#include <string>
#include <utility>

#include "checkpoint/native/folders.h"
#include "collectives/collectives.h"
#include "common/log.h"
#include "models/flops.h"
#include "models/memory/tensor_memory.h"
#include "trainer/evaluate.h"
#include "trainer/run/compute_peak.h"

namespace enodia {

TrainingRun::TrainingRun(Communicator& world, TrainConfig resolved, RunData opened)
    : config(std::move(resolved)),
      data(std::move(opened)),
      mesh(world,
           {.dp = world.world_size(),
            .ep = config.parallel.ep > 0 ? static_cast<int>(config.parallel.ep)
                                         : world.world_size()}),
      decoder(config.model, config.router, mesh),
      optimizer(config.optim, decoder.registry()),
      engine(decoder, mesh, &trace),
      sampler(data.train.dataset,
              {.order = config.data.order,
               .sequence_length = config.train.sequence_length,
               .seed = static_cast<uint64_t>(config.run.seed)}),
      schedule(config.resolved_schedule()),
      folder(std::filesystem::path(config.run.dir) / "checkpoints"),
      peak_tflops(enodia::peak_tflops(mesh.control(), config)) {}

std::vector<MicroBatch> TrainingRun::micro_batches_of(int64_t step) {
  const ScopedSpan span(&trace, TraceTrack::kCompute, [] { return "load data"; });
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
  const ScopedSpan span(
      &trace, TraceTrack::kCompute, [&] { return "step " + std::to_string(step + 1); });
  if (tensor_memory() != nullptr) {
    tensor_memory()->restart_peaks();
  }
  const auto start = std::chrono::steady_clock::now();
  const int64_t consumed_samples = (step + 1) * config.train.global_batch_size;
  StepRecord record;
  record.step = step + 1;
  record.tokens = consumed_samples * config.train.sequence_length;
  record.lr = learning_rate(schedule, consumed_samples);
  const std::vector<MicroBatch> micro_batches = micro_batches_of(step);
  record.losses = engine.accumulate_gradients(step, micro_batches);
  record.update = update(record.lr);
  const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - start;
  record.step_ms = time.count();
  record.tokens_per_s =
      static_cast<double>(config.train.global_batch_size * config.train.sequence_length) * 1000.0 /
      record.step_ms;
  measure(micro_batches, record);
  skipped_in_a_row = record.update.applied ? 0 : skipped_in_a_row + 1;
  return record;
}

UpdateResult TrainingRun::update(double lr) {
  const ScopedSpan span(&trace, TraceTrack::kCompute, [] { return "optimizer"; });
  return engine.apply_update(optimizer, lr);
}

void TrainingRun::measure(const std::vector<MicroBatch>& micro_batches, StepRecord& record) {
  if (tensor_memory() != nullptr) {
    record.memory.tensors = tensor_memory()->use();
  }
  record.memory.resident = resident_memory();
  std::array<double, 2> mine{0.0, static_cast<double>(record.memory.tensors.peak_total)};
  for (const MicroBatch& micro_batch : micro_batches) {
    mine[0] += training_flops(config.model, micro_batch.layout);
  }
  std::vector<double> all(mine.size() * static_cast<size_t>(mesh.world_size()));
  all_gather(mesh.control(), view(std::span<double>(mine)), view(std::span<double>(all))).wait();
  double flops = 0;
  for (size_t rank = 0; rank < all.size() / mine.size(); ++rank) {
    flops += all[2 * rank];
    record.memory.largest_peak =
        std::max(record.memory.largest_peak, static_cast<int64_t>(all[2 * rank + 1]));
  }
  record.tflops = flops / (record.step_ms / 1000.0) / 1e12;
  record.peak_tflops = peak_tflops;
}

double TrainingRun::held_out_loss() {
  const ScopedSpan span(&trace, TraceTrack::kCompute, [] { return "evaluate"; });
  const EvalWindows windows(
      data.valid->dataset, config.train.sequence_length, config.train.micro_batch_size);
  return evaluate_windows(engine, mesh, windows).loss();
}

void TrainingRun::save(int64_t step) {
  const ScopedSpan span(&trace, TraceTrack::kCompute, [] { return "save"; });
  const TrainingProgress progress{step, step * config.train.global_batch_size, optimizer.steps()};
  save_state(mesh.control(),
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

}  // namespace enodia

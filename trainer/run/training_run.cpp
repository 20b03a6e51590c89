#include "trainer/run/training_run.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "checkpoint/native/folders.h"
#include "collectives/collectives.h"
#include "common/error.h"
#include "common/log.h"
#include "models/flops.h"
#include "models/memory/tensor_memory.h"
#include "trainer/forecast/memory_forecast.h"
#include "trainer/run/compute_peak.h"
#include "trainer/run/progress_mode.h"
#include "trainer/state/placement_state.h"

namespace enodia {
namespace {

Decorate decorate_with(CommunicationThread* thread, Recorder& recorder, TrainingDevice& device) {
  return [thread, &recorder, &device](std::unique_ptr<Communicator> inner, Traffic traffic) {
    std::unique_ptr<Communicator> made =
        thread != nullptr ? thread->take_over(std::move(inner), traffic) : std::move(inner);
    return recorder.record(device.reach(std::move(made), traffic), traffic);
  };
}

/// Where time is dilated, so are pauses, up to what is little beside a message: more ranks than
/// cores look at messages there, and nobody but they has work for the cores.
CommunicationThread::Options thread_options(const TrainConfig& config, Trace& trace) {
  constexpr double kLongestPause = 2000;  // microseconds
  CommunicationThread::Options options{.chunk_bytes = config.parallel.chunk_bytes, .trace = &trace};
  if (!config.train.computes() && config.train.time_dilation > 1) {
    options.pause = std::chrono::microseconds(static_cast<int64_t>(std::min(
        kLongestPause, config.train.time_dilation * static_cast<double>(options.pause.count()))));
    options.eager_looks = 0;
  }
  return options;
}

Layout layout_of(const TrainConfig& config, int world_size) {
  const ParallelOptions& parallel = config.parallel;
  return {.dp = static_cast<int>(parallel.groups(world_size)),
          .tp = static_cast<int>(parallel.tp),
          .ep = static_cast<int>(parallel.expert_ranks(world_size)),
          .key_value_heads = config.model.num_key_value_heads};
}

std::vector<Sampler> samplers_of(const TrainConfig& config, const RunData& data) {
  std::vector<Sampler> samplers;
  for (const PreparedData& source : data.sources) {
    samplers.emplace_back(source.dataset,
                          SamplerOptions{.order = config.data.order,
                                         .sequence_length = config.train.sequence_length,
                                         .seed = static_cast<uint64_t>(config.run.seed)});
  }
  return samplers;
}

PlacementOptions placement_of(const TrainConfig& config,
                              const ProcessMesh& mesh,
                              const PlanRates& rates) {
  PlacementOptions options = config.placement_options(mesh.world_size());
  options.budget = budget_of(rates, mesh, config);
  return options;
}

}  // namespace

TrainingRun::TrainingRun(Communicator& world,
                         TrainConfig resolved,
                         RunData opened,
                         StatusBoard& status,
                         TrainingDevice& device,
                         const ModelParts& parts,
                         const Emulation& emulation)
    : config(std::move(resolved)),
      data(std::move(opened)),
      board(status),
      recorder(&trace, &board),
      communication(start_communication_thread(world, config.run, thread_options(config, trace))),
      mesh(world,
           layout_of(config, world.world_size()),
           decorate_with(communication.get(), recorder, device),
           device.compute()),
      rates(open_rates(mesh, config)),
      decoder(config.model,
              config.router,
              mesh,
              parts,
              parts.losses.at(config.train.loss)(config.model),
              {.zero1 = config.parallel.zero1,
               .bucket_bytes = communication != nullptr ? config.parallel.bucket_bytes
                                                        : DenseSharding::kOneBucket},
              {config.parallel.dispatch_dtype,
               placement_of(config, mesh, rates),
               {.piece_bytes = config.parallel.chunk_bytes / 4}},
              emulation),
      optimizer(config.optim, decoder.registry()),
      engine(decoder,
             mesh,
             {static_cast<uint64_t>(config.run.seed),
              config.train.recompute,
              kept_layers(config, world.world_size())},
             &trace),
      samples(samplers_of(config, data), data.blend),
      schedule(place_schedule(config.schedule, config.run_samples())),
      folder(std::filesystem::path(config.run.dir) / "checkpoints"),
      peak_tflops(enodia::peak_tflops(mesh, config)) {
  if (decoder.experts() != nullptr) {
    decoder.experts()->reserve_slots(config.placement_options(world.world_size()),
                                     config.micro_batches_of_rank(world.world_size()),
                                     kept_layers(config, world.world_size()));
  }
}

std::vector<MicroBatch> TrainingRun::micro_batches_of(int64_t step) {
  const ScopedSpan span(&trace, TraceTrack::kCompute, [] { return "load data"; });
  const int64_t micro = config.train.micro_batch_size;
  const int64_t first = step * config.train.global_batch_size;
  std::vector<MicroBatch> batches;
  for (int64_t index = mesh.data_rank(); index * micro < config.train.global_batch_size;
       index += mesh.layout().dp) {
    batches.push_back(samples.micro_batch(first + index * micro, micro));
    batches.back().first_token = (first + index * micro) * config.train.sequence_length;
  }
  return batches;
}

void TrainingRun::begin_step(int64_t step) {
  board.enter(is_first_step ? RunSection::kFirstStep : RunSection::kStep, step + 1);
  is_first_step = false;
}

StepRecord TrainingRun::train_step(int64_t step) {
  const ScopedSpan span(
      &trace, TraceTrack::kCompute, [&] { return "step " + std::to_string(step + 1); });
  if (tensor_memory() != nullptr) {
    tensor_memory()->restart_peaks();
  }
  StepTimer timer(recorder);
  const double processor_seconds = communication ? communication->processor_seconds() : 0.0;
  const int64_t consumed_samples = (step + 1) * config.train.global_batch_size;
  StepRecord record;
  record.step = step + 1;
  record.tokens = consumed_samples * config.train.sequence_length;
  record.lr = learning_rate(schedule, consumed_samples);
  const std::vector<MicroBatch> micro_batches =
      timer.measure(&StepTimes::data, [&] { return micro_batches_of(step); });
  record.losses = engine.accumulate_gradients(step, micro_batches);
  record.update =
      timer.measure(&StepTimes::optimizer, [&] { return update(record.lr, record.losses.load); });
  record.moves = timer.measure(&StepTimes::optimizer, [&] { return move_owners(record); });
  record.times = timer.finish();
  if (communication) {
    record.times.communication_thread =
        1000.0 * (communication->processor_seconds() - processor_seconds);
  }
  record.communication = timer.communication();
  record.tokens_per_s =
      static_cast<double>(config.train.global_batch_size * config.train.sequence_length) * 1000.0 /
      record.times.total;
  measure(micro_batches, record);
  skipped_in_a_row = record.update.applied ? 0 : skipped_in_a_row + 1;
  return record;
}

UpdateResult TrainingRun::update(double lr, const StepLoad& load) {
  const ScopedSpan span(&trace, TraceTrack::kCompute, [] { return "optimizer"; });
  return engine.apply_update(optimizer, lr, load);
}

/// A skipped step leaves everything as it was, and its load may come from numbers that are none.
std::optional<OwnerMoves> TrainingRun::move_owners(const StepRecord& record) {
  if (!record.update.applied) {
    return std::nullopt;
  }
  const ScopedSpan span(&trace, TraceTrack::kCompute, [] { return "move owners"; });
  return move_owners_after(record.step, record.losses.load, decoder);
}

void TrainingRun::measure(const std::vector<MicroBatch>& micro_batches, StepRecord& record) {
  if (tensor_memory() != nullptr) {
    record.memory.tensors = tensor_memory()->use();
  }
  record.memory.resident = resident_memory();
  double flops = 0;
  if (mesh.place().tensor_rank == 0) {  // its group works on one micro-batch
    for (const MicroBatch& micro_batch : micro_batches) {
      flops += training_flops(config.model, micro_batch.layout);
    }
  }
  flops = all_reduce_value(mesh.control(), flops, ReduceOp::kSum);
  record.tflops = flops / (record.times.total / 1000.0) / 1e12;
  record.peak_tflops = peak_tflops;

  std::array<double, 2> largest{record.times.all_exposed(),
                                static_cast<double>(record.memory.tensors.peak_total)};
  mesh.control().all_reduce(view(std::span<double>(largest)), ReduceOp::kMax).wait();
  record.times.most_exposed = largest[0];
  record.memory.largest_peak = static_cast<int64_t>(largest[1]);
}

double TrainingRun::held_out_loss(int64_t step, const EvaluationProgress& progress) {
  const ScopedSpan span(&trace, TraceTrack::kCompute, [] { return "evaluate"; });
  board.enter(RunSection::kEval, step);
  const EvalWindows windows(
      data.valid->dataset, config.train.sequence_length, config.train.micro_batch_size);
  return evaluate_windows(engine, mesh, windows, progress).loss();
}

void TrainingRun::save(int64_t step) {
  const ScopedSpan span(&trace, TraceTrack::kCompute, [] { return "save"; });
  board.enter(RunSection::kSave, step);
  const TrainingProgress progress{step, step * config.train.global_batch_size, optimizer.steps()};
  std::vector<Attachment> attachments{{"config.yaml", to_yaml(config)},
                                      {"tokenizer.model", data.first().tokenizer->blob()}};
  const PlacementOptions placement = config.placement_options(mesh.world_size());
  if (has_placement_state(decoder, placement)) {
    attachments.push_back({kPlacementFile, placement_state(decoder, placement, mesh.world_size())});
  }
  save_state(mesh.control(),
             folder,
             decoder.registry(),
             progress,
             data.identity(),
             {mesh.layout().dp, mesh.layout().tp, mesh.layout().ep},
             attachments,
             {.reached = [this](std::string_view) { board.beat(); }});
  if (mesh.rank() == 0) {
    try {
      for (const std::string& warning : remove_old(folder, config.checkpoint.keep)) {
        log_warning(warning);
      }
    } catch (const FileError& error) {  // of this rank alone, and the step is saved
      log_warning(error.what());
    }
  }
}

}  // namespace enodia

#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "collectives/communicator.h"
#include "common/trace.h"
#include "models/decoder.h"
#include "optim/adamw.h"
#include "optim/schedule.h"
#include "parallel/mesh.h"
#include "trainer/config/train_config.h"
#include "trainer/data/micro_batch.h"
#include "trainer/data/sampler.h"
#include "trainer/metrics/step_record.h"
#include "trainer/run/start.h"
#include "trainer/step/step_engine.h"

namespace enodia {

/// One training run on this rank: everything that train() puts together and its loop uses. Every
/// method but micro_batches_of is collective.
struct TrainingRun {
  TrainingRun(Communicator& world, TrainConfig resolved, RunData opened);

  /// The step's logical micro-batches are the same in every layout; accumulation a of rank r is
  /// number a * dp + r.
  std::vector<MicroBatch> micro_batches_of(int64_t step);
  /// Step number `step`, from 0; the record counts from 1.
  StepRecord train_step(int64_t step);
  /// Nats per token of data.valid.
  double held_out_loss();
  /// Writes the checkpoint of `step` done steps and removes those that are too old.
  void save(int64_t step);

  // What train_step is made of.
  UpdateResult update(double lr);
  /// Fills in what a step took, after its time was taken: operations and memory.
  void measure(const std::vector<MicroBatch>& micro_batches, StepRecord& record);

  TrainConfig config;
  RunData data;
  Trace trace;  // before what adds to it
  ProcessMesh mesh;
  Decoder decoder;
  AdamW optimizer;
  StepEngine engine;
  Sampler sampler;
  ScheduleOptions schedule;
  std::filesystem::path folder;  // of checkpoints
  double peak_tflops;            // of all ranks
  int skipped_in_a_row = 0;
};

}  // namespace enodia

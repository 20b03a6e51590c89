#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "collectives/communicator.h"
#include "collectives/decorators/recording.h"
#include "collectives/progress/communication_thread.h"
#include "collectives/watch/status_board.h"
#include "common/trace.h"
#include "models/decoder.h"
#include "optim/adamw.h"
#include "optim/schedule.h"
#include "parallel/mesh.h"
#include "trainer/config/train_config.h"
#include "trainer/data/blended_sampler.h"
#include "trainer/data/micro_batch.h"
#include "trainer/evaluate.h"
#include "trainer/metrics/step_record.h"
#include "trainer/run/plan_rates.h"
#include "trainer/run/start.h"
#include "trainer/run/training_device.h"
#include "trainer/step/step_engine.h"

namespace enodia {

/// One training run on this rank: everything that train() puts together and its loop uses. Every
/// method but micro_batches_of and begin_step is collective.
struct TrainingRun {
  /// The board and the device must outlive the run.
  TrainingRun(Communicator& world,
              TrainConfig resolved,
              RunData opened,
              StatusBoard& status,
              TrainingDevice& device,
              const ModelParts& parts,
              const Emulation& emulation = {});

  /// The step's logical micro-batches are the same in every layout; accumulation a of data-parallel
  /// group r is
  /// number a * dp + r.
  std::vector<MicroBatch> micro_batches_of(int64_t step);
  /// Step number `step`, from 0; the record counts from 1. begin_step before it.
  void begin_step(int64_t step);
  StepRecord train_step(int64_t step);
  /// Nats per token of data.valid after `step` steps.
  double held_out_loss(int64_t step, const EvaluationProgress& progress);
  /// Writes the checkpoint of `step` done steps and removes those that are too old.
  void save(int64_t step);

  // What train_step is made of.
  UpdateResult update(double lr, const StepLoad& load);
  /// After the update of the record's step.
  std::optional<OwnerMoves> move_owners(const StepRecord& record);
  /// Fills in what a step took, after its time was taken: operations and memory.
  void measure(const std::vector<MicroBatch>& micro_batches, StepRecord& record);

  TrainConfig config;
  RunData data;
  Trace trace;  // before what adds to it
  StatusBoard& board;
  Recorder recorder;
  /// None under `progress: inline`. Makes all calls to MPI while it lives.
  std::unique_ptr<CommunicationThread> communication;
  ProcessMesh mesh;
  PlanRates rates;
  Decoder decoder;
  AdamW optimizer;
  StepEngine engine;
  BlendedSampler samples;
  Schedule schedule;
  std::filesystem::path folder;  // of checkpoints
  double peak_tflops;            // of all ranks
  bool is_first_step = true;     // of this process
  int skipped_in_a_row = 0;
};

}  // namespace enodia

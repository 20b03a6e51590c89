// A training run on a device, from its data to its checkpoints, with nothing in the host's reach.
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "collectives/decorators/by_memory.h"
#include "collectives/loopback/loopback.h"
#include "tests/device_double/device_double.h"
#include "tests/device_double/streamed_communicator.h"
#include "trainer/data/prepare.h"
#include "trainer/run/training_run.h"
#include "trainer/state/resume.h"

namespace enodia {
namespace {

using ::testing::DoubleNear;
using ::testing::IsEmpty;
using ::testing::Pointwise;

/// The device double, with communication on queues of its own.
class DoubleDevice : public TrainingDevice {
 public:
  ComputeDevice compute() override { return {DeviceDouble::device(), queue_.queue()}; }
  std::unique_ptr<Communicator> reach(std::unique_ptr<Communicator> host, Traffic) override {
    auto for_host = host->split(0, host->rank());
    return make_by_memory(std::move(for_host), make_streamed(std::move(host), waits_));
  }

 private:
  DoubleQueue queue_;
  CurrentQueue current_{queue_};
  std::shared_ptr<StreamWaits> waits_ = std::make_shared<StreamWaits>(0);
};

class TrainingOnDevice : public ::testing::Test {
 protected:
  TrainingOnDevice() {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    std::ofstream(folder_ / "text.txt") << [] {
      std::string text;
      for (int i = 0; i < 400; ++i) {
        text += "line " + std::to_string(i * i) + " of the text\n";
      }
      return text;
    }();
    prepare_dataset({{folder_ / "text.txt"}, (folder_ / "data").string(), "byte"});
  }

  TrainConfig config(const std::string& name) const {
    const std::string text =
        "run: {dir: " + (folder_ / name).string() +
        ", peak_tflops: 0.5, progress: inline}\n"
        "model: {hidden_size: 8, num_hidden_layers: 2, num_attention_heads: 2,\n"
        "        num_key_value_heads: 1, head_dim: 4, moe_intermediate_size: 8, num_experts: 4,\n"
        "        num_experts_per_tok: 2, use_expert_bias: true}\n"
        "parallel: {zero1: rows}\n"
        "optim: {lr: 0.01, schedule: constant}\n"
        "data: {train: " +
        (folder_ / "data").string() + ", valid: " + (folder_ / "data").string() +
        "}\n"
        "train: {steps: 6, global_batch_size: 4, micro_batch_size: 1, sequence_length: 16}\n";
    TrainConfig config = parse_train_config(text, "test", {}, 2, ModelParts().names());
    config.model.vocab_size = 257;
    return config;
  }

  /// The losses of the steps after those that the folder's checkpoint holds, up to `last`, which is
  /// saved, and the held-out loss.
  std::vector<double> train(const std::string& name, int64_t last, bool on_device) const {
    std::vector<double> losses;
    run_loopback(2, [&](Communicator& world) {
      std::unique_ptr<TrainingDevice> device = open_training_device(world, DeviceKind::kCpu);
      if (on_device) {
        device = std::make_unique<DoubleDevice>();
      }
      const TrainConfig resolved = config(name);
      StatusBoard board(world);
      TrainingRun run(world, resolved, open_data(resolved), board, *device, ModelParts());
      std::vector<double> mine;
      for (int64_t step = resume_or_initialize(
               run.mesh, run.config, run.data.identity(), run.folder, run.decoder, run.optimizer);
           step < last;
           ++step) {
        mine.push_back(run.train_step(step).losses.loss);
      }
      mine.push_back(run.held_out_loss(last, {}));
      run.save(last);
      if (world.rank() == 0) {
        losses = mine;
      }
    });
    return losses;
  }

  std::filesystem::path folder_ = std::filesystem::path(::testing::TempDir()) / "on_device";
};

TEST_F(TrainingOnDevice, LearnsWhatACpuLearnsAndResumes) {
  const std::vector<double> there = train("there", 4, true);
  EXPECT_LT(there[3], there[0]);
  const std::vector<double> here = train("here", 4, false);
  EXPECT_THAT(there, Pointwise(DoubleNear(1e-4), here));
  const std::vector<double> resumed = train("there", 6, true);
  EXPECT_EQ(resumed.size(), 3);
  const std::vector<double> never_stopped = train("through", 6, true);
  EXPECT_EQ(resumed, std::vector<double>(never_stopped.begin() + 4, never_stopped.end()));
  EXPECT_THAT(DeviceDouble::instance().take_races(), IsEmpty());
}

}  // namespace
}  // namespace enodia

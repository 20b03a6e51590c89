// What is saved from a device is what is loaded on another, or on the host.
#include <algorithm>
#include <filesystem>
#include <span>
#include <vector>

#include <gmock/gmock.h>

#include "checkpoint/native/checkpoint.h"
#include "collectives/loopback/loopback.h"
#include "models/decoder.h"
#include "optim/adamw.h"
#include "tests/device_double/device_double.h"
#include "tests/trainer/small_decoder.h"
#include "trainer/state/state_snapshot.h"
#include "trainer/step/step_engine.h"

namespace enodia {
namespace {

ModelOptions bfloat16_model() {
  ModelOptions options = small_model();
  options.dtype = DType::kBFloat16;
  return options;
}

/// A rank that trains on a device.
struct Trainer {
  Trainer(Communicator& world, const ComputeDevice& device)
      : mesh(world, {.dp = world.world_size(), .ep = world.world_size()}, {}, device),
        decoder(bfloat16_model(), {}, mesh, {}, {}, {.zero1 = Zero1::kRows}),
        optimizer({}, decoder.registry()),
        engine(decoder, mesh) {}

  double step(int64_t number) {
    const StepLosses losses = engine.accumulate_gradients(number, std::vector{small_text()});
    engine.apply_update(optimizer, 1e-2, losses.load);
    return losses.loss;
  }
  void load(const std::filesystem::path& folder) {
    const Checkpoint checkpoint = Checkpoint::open(folder / "step_1");
    load_state(checkpoint, decoder.registry());
    optimizer.set_steps(1);
    decoder.commit_step();
  }

  ProcessMesh mesh;
  Decoder decoder;
  AdamW optimizer;
  StepEngine engine;
};

/// Every column of the state, on the host.
std::vector<at::Tensor> columns_of(const Trainer& trainer) {
  return shards_to_save(trainer.decoder.registry()).memory;
}

bool are_equal(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return x.equal(y);
  });
}

TEST(StateOfADevice, IsSavedAndLoaded) {
  const std::filesystem::path folder =
      std::filesystem::path(::testing::TempDir()) / "state_of_a_device";
  std::filesystem::remove_all(folder);
  run_loopback(2, [&](Communicator& world) {
    DoubleQueue queue;
    const CurrentQueue current(queue);
    const ComputeDevice device{DeviceDouble::device(), queue.queue()};
    Trainer first(world, device);
    first.decoder.initialize(3);
    first.step(0);
    save_state(world, folder, first.decoder.registry(), {1, 2, 1}, {}, {2, 1, 2}, {}, {});
    const std::vector<at::Tensor> saved = columns_of(first);
    const double loss = first.step(1);
    EXPECT_FALSE(are_equal(columns_of(first), saved));

    Trainer there(world, device);
    there.load(folder);
    EXPECT_TRUE(are_equal(columns_of(there), saved));
    EXPECT_EQ(there.step(1), loss);
    EXPECT_TRUE(are_equal(columns_of(there), columns_of(first)));

    Trainer here(world, {});
    here.load(folder);
    EXPECT_TRUE(are_equal(columns_of(here), saved));
    EXPECT_NEAR(here.step(1), loss, 1e-3);
  });
  EXPECT_THAT(DeviceDouble::instance().take_races(), ::testing::IsEmpty());
}

}  // namespace
}  // namespace enodia

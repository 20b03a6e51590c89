// What a step takes it gives back: after a thousand steps no more memory is in use than after some.
#include <vector>

#include <gmock/gmock.h>

#include "collectives/loopback/loopback.h"
#include "models/decoder.h"
#include "optim/adamw.h"
#include "tests/trainer/small_decoder.h"
#include "trainer/step/step_engine.h"

#include <malloc.h>

namespace enodia {
namespace {

constexpr int kSteps = 1000;
constexpr int kWarm = 100;
/// Of the heap, over 900 steps: nothing of ours is as small as 16 bytes a step.
constexpr int64_t kNoise = 900 * 16;

RouterOptions router_options() {
  RouterOptions options;
  options.aux_loss_scope = AuxLossScope::kGlobalBatch;
  options.jitter_eps = 0.1;
  options.capacity_factor = 1.0;
  options.drop_policy = DropPolicy::kRandom;
  return options;
}

int64_t bytes_in_use() {
  const struct mallinfo2 info = mallinfo2();
  return static_cast<int64_t>(info.uordblks + info.hblkhd);
}

/// Bytes that are in use after kSteps and were not after kWarm. Ranks are threads of this process.
int64_t growth_of(const Layout& layout, const DenseSharding& sharding, Recompute recompute) {
  int64_t before = 0;
  int64_t after = 0;
  run_loopback(layout.dp * layout.tp, [&](Communicator& world) {
    const ProcessMesh mesh(world, layout);
    Decoder decoder(small_model(), router_options(), mesh, {}, {}, sharding);
    AdamW optimizer({}, decoder.registry());
    StepEngine engine(decoder, mesh, {.recompute = recompute});
    decoder.initialize(1);
    const std::vector<MicroBatch> batches{small_text(), small_text()};
    for (int step = 0; step < kSteps; ++step) {
      const StepLosses losses = engine.accumulate_gradients(step, batches);
      engine.apply_update(optimizer, 1e-3, losses.load);
      if (step + 1 == kWarm || step + 1 == kSteps) {
        world.barrier();
        if (world.rank() == 0) {
          (step + 1 == kWarm ? before : after) = bytes_in_use();
        }
        world.barrier();
      }
    }
  });
  return after - before;
}

TEST(Step, TakesNoMoreMemoryAfterAThousandSteps) {
  EXPECT_LT(growth_of({}, {}, Recompute::kNone), kNoise);
}

TEST(Step, TakesNoMoreMemoryAfterAThousandStepsOnCutRanks) {
  EXPECT_LT(growth_of({.dp = 1, .tp = 2, .ep = 2, .key_value_heads = 1},
                      {.zero1 = Zero1::kRows, .bucket_bytes = 1},
                      Recompute::kLayers),
            kNoise);
}

}  // namespace
}  // namespace enodia

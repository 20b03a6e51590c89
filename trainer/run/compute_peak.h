#pragma once

#include <ATen/core/Tensor.h>

#include "parallel/mesh.h"
#include "trainer/config/train_config.h"

namespace enodia {

/// What the ranks could compute together, in TFLOP/s: run.peak_tflops of every rank or, if that is
/// `measured`, the sum of what each reaches in a product of matrices (cache-sized ones on a CPU)
/// with the threads, on the device and in the type that it trains with, all ranks at once, since
/// they may share a machine. Collective; the same on every rank.
double peak_tflops(const ProcessMesh& mesh, const TrainConfig& config);

/// FLOP/s of the fastest of a few such products; takes about 40 ms. Local.
double measure_product(at::ScalarType type, const ComputeDevice& device = {});

}  // namespace enodia

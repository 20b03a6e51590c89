#pragma once

#include "collectives/nccl/cuda_device.h"
#include "parallel/compute_device.h"

namespace enodia {

/// Opens LibTorch's CUDA library, from beside its CPU library, and checks that CUDA and NCCL can be
/// used; before anything else asks LibTorch for a device. Its kernels register themselves. Throws
/// ConfigError with a remedy. Local.
void open_cuda_kernels();

/// One GPU as a place to compute: its memory, and LibTorch's current stream as the queue.
class CudaCompute {
 public:
  /// Makes the GPU the calling thread's current one, after open_cuda_kernels(). Throws CommError.
  explicit CudaCompute(int index);

  /// How many GPUs this machine has.
  static int count();
  CudaDevice& device() { return device_; }
  ComputeDevice compute() { return {place_, stream_.queue()}; }

 private:
  c10::Device place_;
  CudaDevice device_;
  CudaStream stream_;
};

}  // namespace enodia

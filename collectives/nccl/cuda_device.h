#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>

#include "collectives/nccl/cuda_table.h"
#include "collectives/queue.h"

namespace enodia {

/// Copies that were queued on a device's streams, by where they read and write.
struct CopyCounts {
  std::atomic<int64_t> host_to_device = 0;
  std::atomic<int64_t> device_to_host = 0;
  std::atomic<int64_t> device_to_device = 0;
};

/// One CUDA device: the functions that drive it, and the counts of its copies. Outlives its
/// streams.
class CudaDevice {
 public:
  /// QueueTable::reduce, by somebody who has kernels for it, on the stream that is the calling
  /// thread's current one to them.
  using Reduce = std::function<void(std::span<const std::byte* const> contributions,
                                    std::byte* out,
                                    int64_t count,
                                    DType dtype,
                                    ReduceOp op)>;

  /// Without `reduce` sums are made on the host (reduce_through_host): for checks, not for
  /// training.
  CudaDevice(const CudaTable& cuda, int index, Reduce reduce = {})
      : cuda_(cuda),
        index_(index),
        reduce_(std::move(reduce)) {}
  CudaDevice(const CudaDevice&) = delete;
  CudaDevice& operator=(const CudaDevice&) = delete;

  const CudaTable& cuda() const { return cuda_; }
  int index() const { return index_; }
  CopyCounts& copies() { return copies_; }
  const Reduce& reduce() const { return reduce_; }

 private:
  CudaTable cuda_;
  int index_;
  Reduce reduce_;
  CopyCounts copies_;
};

/// Makes a device the calling thread's current one, and the one before again at the end of its
/// scope.
class CudaGuard {
 public:
  explicit CudaGuard(const CudaDevice& device);
  ~CudaGuard();
  CudaGuard(const CudaGuard&) = delete;
  CudaGuard& operator=(const CudaGuard&) = delete;

 private:
  const CudaDevice& device_;
  int before_ = 0;
};

/// A stream of a device, as a Queue. Events of the queues of all CudaStreams can be mixed; those of
/// other kinds of queue cannot. A queue must not outlive its CudaStream; its events may, but not
/// the device.
class CudaStream {
 public:
  /// Makes a stream that does not wait for the default stream. Lower numbers are more urgent.
  /// Throws CommError.
  explicit CudaStream(CudaDevice& device, int priority = 0);
  /// Borrows a stream, LibTorch's current one for example.
  CudaStream(CudaDevice& device, cudaStream_t existing);
  /// What is queued still runs to its end.
  ~CudaStream();
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;

  Queue queue();
  cudaStream_t stream() const { return stream_; }
  CudaDevice& device() const { return device_; }

 private:
  CudaDevice& device_;
  cudaStream_t stream_ = nullptr;
  bool owned_;
};

/// The table of every CudaStream's queue: memory in order of the stream (cudaMallocAsync), copies
/// between any two of host and device. All functions but `release` throw CommError.
const QueueTable& cuda_queue_table();

}  // namespace enodia

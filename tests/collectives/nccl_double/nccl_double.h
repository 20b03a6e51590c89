#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "collectives/nccl/cuda_table.h"
#include "collectives/nccl/nccl_table.h"
#include "tests/collectives/nccl_double/fake_cuda.h"
#include "tests/collectives/nccl_double/fake_nccl.h"

namespace enodia {

/// An adversary in the place of CUDA and NCCL, on the memory of the CPU, for ranks that are threads
/// with a device each. Streams are threads with random delays; what an operation writes holds
/// garbage from the call until it is done; what it reads is read when it runs; the host sees a
/// copy's result only after it has waited for it. Besides, every pair of operations on the same
/// memory is checked for an order, whatever runs first; so is the order of launches on all ranks,
/// memory that is freed too early or twice, and calls that NCCL forbids while operations are under
/// way.
///
/// One double at a time: the fakes are plain functions, as CUDA's are.
class NcclDouble {
 public:
  explicit NcclDouble(const FakeOptions& options = {});
  ~NcclDouble();
  NcclDouble(const NcclDouble&) = delete;
  NcclDouble& operator=(const NcclDouble&) = delete;

  static CudaTable cuda();
  static NcclTable nccl();

  /// Waits until all streams are idle; what went wrong so far.
  std::vector<std::string> errors() { return fake_cuda_.errors(); }
  /// What was made and not given back; empty when nothing.
  std::string leftovers();
  /// To be called by a test before the host reads memory that the device writes.
  void check_host_reads(const void* memory, size_t bytes) {
    fake_cuda_.check_host_reads(memory, bytes);
  }
  /// Waits (of a stream of this device, or of the host for an event of it; a loop of queries is
  /// one) so far; and one of them, counted from 1, that will not be heeded.
  int waits(int device) { return fake_cuda_.waits(device); }
  void ignore_wait(int device, int number) { fake_cuda_.ignore_wait(device, number); }
  /// Groups that the calling thread has started and not ended.
  static int open_groups();
  /// All communicators report this error from now on.
  void fail_communicators(ncclResult_t error) { fake_nccl_.fail_all(error); }

  FakeCuda& fake_cuda() { return fake_cuda_; }
  FakeNccl& fake_nccl() { return fake_nccl_; }

 private:
  FakeCuda fake_cuda_;
  FakeNccl fake_nccl_;
};

}  // namespace enodia

// enodia_nccl_link_check: the tables filled with the functions of the real libraries, linked
// directly. That it compiles and links shows that the tables have the right types and names. On a
// machine with a GPU it makes a world of one and sums in it; elsewhere it says so and exits
// with 77.

#include <cstdio>
#include <exception>
#include <span>
#include <vector>

#include "collectives/loopback/loopback.h"
#include "collectives/nccl/nccl_communicator.h"

namespace {

using namespace enodia;

constexpr int kSkipped = 77;

NcclTable linked_nccl() {
  return NcclTable{
      .get_version = &ncclGetVersion,
      .get_unique_id = &ncclGetUniqueId,
      .comm_init_rank_config = &ncclCommInitRankConfig,
      .comm_split = &ncclCommSplit,
      .comm_destroy = &ncclCommDestroy,
      .comm_abort = &ncclCommAbort,
      .comm_get_async_error = &ncclCommGetAsyncError,
      .group_start = &ncclGroupStart,
      .group_end = &ncclGroupEnd,
      .send = &ncclSend,
      .recv = &ncclRecv,
      .all_reduce = &ncclAllReduce,
      .broadcast = &ncclBroadcast,
      .get_error_string = &ncclGetErrorString,
  };
}

CudaTable linked_cuda() {
  return CudaTable{
      .runtime_get_version = &cudaRuntimeGetVersion,
      .get_device_count = &cudaGetDeviceCount,
      .get_device = &cudaGetDevice,
      .set_device = &cudaSetDevice,
      .stream_create_with_priority = &cudaStreamCreateWithPriority,
      .stream_destroy = &cudaStreamDestroy,
      .stream_wait_event = &cudaStreamWaitEvent,
      .event_create_with_flags = &cudaEventCreateWithFlags,
      .event_record = &cudaEventRecord,
      .event_query = &cudaEventQuery,
      .event_synchronize = &cudaEventSynchronize,
      .event_destroy = &cudaEventDestroy,
      .memcpy_async = &cudaMemcpyAsync,
      .malloc_async = &cudaMallocAsync,
      .free_async = &cudaFreeAsync,
      .pointer_get_attributes = &cudaPointerGetAttributes,
      .get_error_string = &cudaGetErrorString,
  };
}

/// Sums in a world of one; the sum is what went in.
bool sums_alone(const NcclTable& nccl, const CudaTable& cuda) {
  CudaDevice device(cuda, 0);
  CudaStream stream(device);
  NcclEnqueuer enqueuer;
  const auto communicator =
      make_nccl_communicator(nccl, device, enqueuer, make_single_rank_communicator());
  const std::vector<float> values{1, 2, 3};
  std::vector<float> sums(values.size());
  const size_t bytes = values.size() * sizeof(float);
  const auto memory = allocate(stream.queue(), bytes);
  stream.queue().copy(memory.get(), values.data(), bytes);
  const Buffer buffer{
      memory.get(), static_cast<int64_t>(values.size()), DType::kFloat32, device.index()};
  communicator->all_reduce(buffer, ReduceOp::kSum, stream.queue()).wait(stream.queue());
  stream.queue().copy(sums.data(), memory.get(), bytes);
  QueueEvent(stream.queue()).synchronize();
  return sums == values;
}

}  // namespace

int main() {
  try {
    const NcclTable nccl = linked_nccl();
    const CudaTable cuda = linked_cuda();
    check_nccl_version(nccl);
    int devices = 0;
    const cudaError_t result = cuda.get_device_count(&devices);
    if (result != cudaSuccess || devices == 0) {
      std::printf("SKIPPED: no CUDA device (%s)\n", cuda.get_error_string(result));
      return kSkipped;
    }
    const bool right = sums_alone(nccl, cuda);
    std::printf("%s: a sum over the linked NCCL\n", right ? "PASS" : "FAIL");
    return right ? 0 : 1;
  } catch (const std::exception& error) {
    std::printf("FAIL: %s\n", error.what());
    return 1;
  }
}

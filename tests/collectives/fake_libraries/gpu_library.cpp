// The double as a library that calls itself libnccl.so.2 and libcudart.so: with it nccl_gpu_check
// and scripts/gpu_check.sh, which are for machines with a GPU, run here in a world of one. What the
// double has found is printed at the end of the process, which then ends with code 1.

#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/collectives/nccl_double/nccl_double.h"

namespace {

struct Double {
  enodia::NcclDouble fakes{{.seed = 7, .max_delay_us = 50, .one_host = true}};
  ~Double() {
    const auto errors = fakes.errors();
    for (const std::string& error : errors) {
      std::fprintf(stderr, "the double has found: %s\n", error.c_str());
    }
    std::fflush(nullptr);
    if (!errors.empty()) {
      std::_Exit(1);
    }
  }
};

Double the_double;

enodia::CudaTable cuda() {
  return enodia::NcclDouble::cuda();
}
enodia::NcclTable nccl() {
  return enodia::NcclDouble::nccl();
}

}  // namespace

extern "C" {

// ---- CUDA ----

cudaError_t cudaRuntimeGetVersion(int* version) {
  return cuda().runtime_get_version(version);
}
cudaError_t cudaGetDeviceCount(int* count) {
  return cuda().get_device_count(count);
}
cudaError_t cudaGetDevice(int* device) {
  return cuda().get_device(device);
}
cudaError_t cudaSetDevice(int device) {
  return cuda().set_device(device);
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned int flags, int priority) {
  return cuda().stream_create_with_priority(stream, flags, priority);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return cuda().stream_destroy(stream);
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned int flags) {
  return cuda().stream_wait_event(stream, event, flags);
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned int flags) {
  return cuda().event_create_with_flags(event, flags);
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return cuda().event_record(event, stream);
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  return cuda().event_query(event);
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return cuda().event_synchronize(event);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return cuda().event_destroy(event);
}
cudaError_t cudaMemcpyAsync(
    void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return cuda().memcpy_async(to, from, bytes, kind, stream);
}
cudaError_t cudaMallocAsync(void** memory, size_t bytes, cudaStream_t stream) {
  return cuda().malloc_async(memory, bytes, stream);
}
cudaError_t cudaFreeAsync(void* memory, cudaStream_t stream) {
  return cuda().free_async(memory, stream);
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* memory) {
  return cuda().pointer_get_attributes(attributes, memory);
}
const char* cudaGetErrorString(cudaError_t error) {
  return cuda().get_error_string(error);
}

// ---- NCCL ----

ncclResult_t ncclGetVersion(int* version) {
  return nccl().get_version(version);
}
ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  return nccl().get_unique_id(id);
}
ncclResult_t ncclCommInitRankConfig(
    ncclComm_t* comm, int ranks, ncclUniqueId id, int rank, ncclConfig_t* config) {
  return nccl().comm_init_rank_config(comm, ranks, id, rank, config);
}
ncclResult_t ncclCommSplit(
    ncclComm_t comm, int color, int key, ncclComm_t* part, ncclConfig_t* config) {
  return nccl().comm_split(comm, color, key, part, config);
}
ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  return nccl().comm_destroy(comm);
}
ncclResult_t ncclCommAbort(ncclComm_t comm) {
  return nccl().comm_abort(comm);
}
ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* error) {
  return nccl().comm_get_async_error(comm, error);
}
ncclResult_t ncclGroupStart() {
  return nccl().group_start();
}
ncclResult_t ncclGroupEnd() {
  return nccl().group_end();
}
ncclResult_t ncclSend(const void* from,
                      size_t count,
                      ncclDataType_t type,
                      int peer,
                      ncclComm_t comm,
                      cudaStream_t stream) {
  return nccl().send(from, count, type, peer, comm, stream);
}
ncclResult_t ncclRecv(
    void* to, size_t count, ncclDataType_t type, int peer, ncclComm_t comm, cudaStream_t stream) {
  return nccl().recv(to, count, type, peer, comm, stream);
}
ncclResult_t ncclAllReduce(const void* from,
                           void* to,
                           size_t count,
                           ncclDataType_t type,
                           ncclRedOp_t op,
                           ncclComm_t comm,
                           cudaStream_t stream) {
  return nccl().all_reduce(from, to, count, type, op, comm, stream);
}
ncclResult_t ncclBroadcast(const void* from,
                           void* to,
                           size_t count,
                           ncclDataType_t type,
                           int root,
                           ncclComm_t comm,
                           cudaStream_t stream) {
  return nccl().broadcast(from, to, count, type, root, comm, stream);
}
const char* ncclGetErrorString(ncclResult_t result) {
  return nccl().get_error_string(result);
}

}  // extern "C"

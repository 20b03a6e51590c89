#include "collectives/nccl/cuda_table.h"

#include "collectives/nccl/dynamic_library.h"
#include "common/check.h"
#include "common/error.h"

namespace enodia {
namespace {

void check_version(const CudaTable& cuda) {
  int found = 0;
  cuda.check(cuda.runtime_get_version(&found), "cudaRuntimeGetVersion");
  if (found / 1000 != CUDART_VERSION / 1000) {
    throw CommError(detail::concat(
        "CUDA runtime ",
        found / 1000,
        " was found as ",
        DynamicLibrary::path_of(reinterpret_cast<const void*>(cuda.runtime_get_version)),
        ", but Enodia was built for ",
        CUDART_VERSION / 1000,
        "; install that version or build Enodia with the headers of this one"));
  }
}

}  // namespace

void CudaTable::check(cudaError_t result, const char* call) const {
  if (result != cudaSuccess) {
    throw CommError(detail::concat(
        call, " failed: ", get_error_string(result), " (", static_cast<int>(result), ")"));
  }
}

std::string cuda_runtime_library() {
  return "libcudart.so." + std::to_string(CUDART_VERSION / 1000);
}

CudaTable load_cuda_table(const std::string& name) {
  const DynamicLibrary library(name);
  CudaTable cuda{};
  library.load("cudaRuntimeGetVersion", cuda.runtime_get_version);
  library.load("cudaGetErrorString", cuda.get_error_string);
  check_version(cuda);
  library.load("cudaGetDeviceCount", cuda.get_device_count);
  library.load("cudaGetDevice", cuda.get_device);
  library.load("cudaSetDevice", cuda.set_device);
  library.load("cudaStreamCreateWithPriority", cuda.stream_create_with_priority);
  library.load("cudaStreamDestroy", cuda.stream_destroy);
  library.load("cudaStreamWaitEvent", cuda.stream_wait_event);
  library.load("cudaEventCreateWithFlags", cuda.event_create_with_flags);
  library.load("cudaEventRecord", cuda.event_record);
  library.load("cudaEventQuery", cuda.event_query);
  library.load("cudaEventSynchronize", cuda.event_synchronize);
  library.load("cudaEventDestroy", cuda.event_destroy);
  library.load("cudaMemcpyAsync", cuda.memcpy_async);
  library.load("cudaMallocAsync", cuda.malloc_async);
  library.load("cudaFreeAsync", cuda.free_async);
  library.load("cudaPointerGetAttributes", cuda.pointer_get_attributes);
  return cuda;
}

}  // namespace enodia

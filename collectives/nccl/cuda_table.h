#pragma once

#include <cstddef>
#include <string>

#include <cuda_runtime_api.h>

namespace enodia {

/// The functions of the CUDA runtime that Enodia calls, and no others; opened at run time like
/// NcclTable.
struct CudaTable {
  cudaError_t (*runtime_get_version)(int* version);
  cudaError_t (*get_device_count)(int* count);
  cudaError_t (*get_device)(int* device);
  cudaError_t (*set_device)(int device);
  cudaError_t (*stream_create_with_priority)(cudaStream_t* stream,
                                             unsigned int flags,
                                             int priority);
  cudaError_t (*stream_destroy)(cudaStream_t stream);
  cudaError_t (*stream_wait_event)(cudaStream_t stream, cudaEvent_t event, unsigned int flags);
  cudaError_t (*event_create_with_flags)(cudaEvent_t* event, unsigned int flags);
  cudaError_t (*event_record)(cudaEvent_t event, cudaStream_t stream);
  cudaError_t (*event_query)(cudaEvent_t event);
  cudaError_t (*event_synchronize)(cudaEvent_t event);
  cudaError_t (*event_destroy)(cudaEvent_t event);
  cudaError_t (*memcpy_async)(
      void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream);
  cudaError_t (*malloc_async)(void** memory, size_t bytes, cudaStream_t stream);
  cudaError_t (*free_async)(void* memory, cudaStream_t stream);
  cudaError_t (*pointer_get_attributes)(cudaPointerAttributes* attributes, const void* pointer);
  const char* (*get_error_string)(cudaError_t error);

  /// Throws CommError, with the call and CUDA's message, unless the result is cudaSuccess.
  void check(cudaError_t result, const char* call) const;
};

/// "libcudart.so.13": of the major version that Enodia was compiled with.
std::string cuda_runtime_library();

/// Opens the library and fills the table. Throws CommError, one sentence with the path found, when
/// the library or a function is missing or its major version differs. Local.
CudaTable load_cuda_table(const std::string& library = cuda_runtime_library());

}  // namespace enodia

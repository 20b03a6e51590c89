#include "collectives/nccl/nccl_available.h"

#ifdef ENODIA_WITH_NCCL
#include <exception>

#include "collectives/nccl/cuda_table.h"
#include "collectives/nccl/nccl_table.h"
#endif

namespace enodia {

#ifdef ENODIA_WITH_NCCL

NcclAvailability nccl_available() {
  try {
    const CudaTable cuda = load_cuda_table();
    load_nccl_table();
    int devices = 0;
    cuda.check(cuda.get_device_count(&devices), "cudaGetDeviceCount");
    if (devices == 0) {
      return {false, "CUDA finds no device on this machine"};
    }
    return {true, ""};
  } catch (const std::exception& error) {
    return {false, error.what()};
  }
}

#else

NcclAvailability nccl_available() {
  return {false,
          "this program was built without NCCL; install nccl.h and CUDA's headers and configure "
          "with -DENODIA_WITH_NCCL=ON"};
}

#endif

}  // namespace enodia

#include "trainer/run/cuda_compute.h"

#include <filesystem>
#include <string>

#include <c10/core/impl/VirtualGuardImpl.h>

#include "collectives/nccl/dynamic_library.h"
#include "collectives/nccl/nccl_available.h"
#include "common/error.h"
#include "parallel/tensor_reduction.h"

namespace enodia {
namespace {

constexpr const char* kRemedy =
    "; scripts/setup.sh --gpu installs the libraries; on a CPU train with --set run.device=cpu";

using Guard = c10::impl::VirtualGuardImpl;

cudaStream_t make_current(c10::Device place) {
  const Guard guard(place.type());
  guard.setDevice(place);
  return static_cast<cudaStream_t>(guard.getStream(place).native_handle());
}

}  // namespace

void open_cuda_kernels() {
  const std::filesystem::path folder =
      std::filesystem::path(DynamicLibrary("libtorch_cpu.so").path()).parent_path();
  if (!std::filesystem::exists(folder / "libtorch_cuda.so")) {
    throw ConfigError(
        "run.device (cuda) needs libtorch_cuda.so, which is not beside LibTorch's CPU "
        "library in " +
        folder.string() + kRemedy);
  }
  try {
    const DynamicLibrary kernels(folder / "libtorch_cuda.so", DynamicLibrary::Symbols::kForAll);
  } catch (const CommError& error) {
    throw ConfigError(std::string("run.device (cuda) cannot be used: ") + error.what() + kRemedy);
  }
  const NcclAvailability availability = nccl_available();
  if (!availability.available) {
    throw ConfigError("run.device (cuda) cannot be used: " + availability.why_not + kRemedy);
  }
}

int CudaCompute::count() {
  return Guard(c10::DeviceType::CUDA).deviceCount();
}

CudaCompute::CudaCompute(int index)
    : place_(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(index)),
      device_(load_cuda_table(),
              index,
              [place = place_](std::span<const std::byte* const> contributions,
                               std::byte* out,
                               int64_t count,
                               DType dtype,
                               ReduceOp op) {
                reduce_tensors(place, contributions, out, count, dtype, op);
              }),
      stream_(device_, make_current(place_)) {}

}  // namespace enodia

#include "collectives/nccl/cuda_device.h"

#include <memory>
#include <string>
#include <vector>

#include "collectives/queue_event.h"
#include "collectives/reduce.h"
#include "common/log.h"

namespace enodia {
namespace {

struct CudaEvent {
  const CudaTable& cuda;
  cudaEvent_t event = nullptr;
};

CudaStream& stream_of(void* queue) {
  return *static_cast<CudaStream*>(queue);
}

void log_failure(const CudaTable& cuda, cudaError_t result, const char* call) {
  if (result != cudaSuccess) {
    log_error(std::string(call) + " failed: " + cuda.get_error_string(result));
  }
}

void release_event(void* event) {
  const std::unique_ptr<CudaEvent> owner(static_cast<CudaEvent*>(event));
  if (owner != nullptr && owner->event != nullptr) {
    log_failure(owner->cuda, owner->cuda.event_destroy(owner->event), "cudaEventDestroy");
  }
}

void* record_event(void* queue) {
  const CudaStream& stream = stream_of(queue);
  const CudaTable& cuda = stream.device().cuda();
  const CudaGuard guard(stream.device());  // an event belongs to the device that is current
  std::unique_ptr<CudaEvent, void (*)(void*)> event(new CudaEvent{cuda}, release_event);
  cuda.check(cuda.event_create_with_flags(&event->event, cudaEventDisableTiming),
             "cudaEventCreateWithFlags");
  cuda.check(cuda.event_record(event->event, stream.stream()), "cudaEventRecord");
  return event.release();
}

void wait_for_event(void* queue, void* event) {
  if (event != nullptr) {
    const auto& [cuda, handle] = *static_cast<CudaEvent*>(event);
    cuda.check(cuda.stream_wait_event(stream_of(queue).stream(), handle, 0), "cudaStreamWaitEvent");
  }
}

bool is_event_done(void* event) {
  if (event == nullptr) {
    return true;
  }
  const auto& [cuda, handle] = *static_cast<CudaEvent*>(event);
  const cudaError_t result = cuda.event_query(handle);
  if (result == cudaErrorNotReady) {
    return false;
  }
  cuda.check(result, "cudaEventQuery");
  return true;
}

void synchronize_event(void* event) {
  if (event != nullptr) {
    const auto& [cuda, handle] = *static_cast<CudaEvent*>(event);
    cuda.check(cuda.event_synchronize(handle), "cudaEventSynchronize");
  }
}

bool is_on_device(const CudaTable& cuda, const void* memory) {
  cudaPointerAttributes attributes{};
  cuda.check(cuda.pointer_get_attributes(&attributes, memory), "cudaPointerGetAttributes");
  return attributes.type == cudaMemoryTypeDevice || attributes.type == cudaMemoryTypeManaged;
}

void count_copy(CudaDevice& device, const void* to, const void* from) {
  const bool to_device = is_on_device(device.cuda(), to);
  const bool from_device = is_on_device(device.cuda(), from);
  if (to_device && from_device) {
    ++device.copies().device_to_device;
  } else if (to_device) {
    ++device.copies().host_to_device;
  } else if (from_device) {
    ++device.copies().device_to_host;
  }
}

void copy(void* queue, void* to, const void* from, size_t bytes) {
  if (bytes == 0) {
    return;
  }
  const CudaStream& stream = stream_of(queue);
  const CudaTable& cuda = stream.device().cuda();
  const CudaGuard guard(stream.device());
  count_copy(stream.device(), to, from);
  cuda.check(cuda.memcpy_async(to, from, bytes, cudaMemcpyDefault, stream.stream()),
             "cudaMemcpyAsync");
}

void* allocate(void* queue, size_t bytes) {
  const CudaStream& stream = stream_of(queue);
  const CudaTable& cuda = stream.device().cuda();
  const CudaGuard guard(stream.device());
  void* memory = nullptr;
  cuda.check(cuda.malloc_async(&memory, bytes, stream.stream()), "cudaMallocAsync");
  return memory;
}

void deallocate(void* queue, void* memory) {
  const CudaStream& stream = stream_of(queue);
  const CudaTable& cuda = stream.device().cuda();
  if (memory != nullptr) {
    cuda.check(cuda.free_async(memory, stream.stream()), "cudaFreeAsync");
  }
}

/// With copies to the host and back; blocks.
void reduce_through_host(const Queue& queue,
                         std::span<const std::byte* const> contributions,
                         std::byte* out,
                         int64_t count,
                         DType dtype,
                         ReduceOp op) {
  const auto bytes = static_cast<size_t>(count) * size_of(dtype);
  std::vector<std::byte> staging(bytes * contributions.size());
  std::vector<const std::byte*> staged;
  for (const std::byte* contribution : contributions) {
    std::byte* const place = staging.data() + bytes * staged.size();
    queue.copy(place, contribution, bytes);
    staged.push_back(place);
  }
  QueueEvent(queue).synchronize();
  reduce_in_order(staged, staging.data(), count, dtype, op);
  queue.copy(out, staging.data(), bytes);
  QueueEvent(queue).synchronize();
}

/// The runtime has no sums.
void reduce(void* queue,
            std::span<const std::byte* const> contributions,
            std::byte* out,
            int64_t count,
            DType dtype,
            ReduceOp op) {
  CudaStream& stream = stream_of(queue);
  if (stream.device().reduce()) {
    stream.device().reduce()(contributions, out, count, dtype, op);
  } else {
    reduce_through_host(stream.queue(), contributions, out, count, dtype, op);
  }
}

}  // namespace

CudaGuard::CudaGuard(const CudaDevice& device) : device_(device) {
  const CudaTable& cuda = device.cuda();
  cuda.check(cuda.get_device(&before_), "cudaGetDevice");
  if (before_ != device.index()) {
    cuda.check(cuda.set_device(device.index()), "cudaSetDevice");
  }
}

CudaGuard::~CudaGuard() {
  if (before_ != device_.index()) {
    log_failure(device_.cuda(), device_.cuda().set_device(before_), "cudaSetDevice");
  }
}

CudaStream::CudaStream(CudaDevice& device, int priority) : device_(device), owned_(true) {
  const CudaGuard guard(device);
  device.cuda().check(
      device.cuda().stream_create_with_priority(&stream_, cudaStreamNonBlocking, priority),
      "cudaStreamCreateWithPriority");
}

CudaStream::CudaStream(CudaDevice& device, cudaStream_t existing)
    : device_(device),
      stream_(existing),
      owned_(false) {}

CudaStream::~CudaStream() {
  if (owned_) {
    log_failure(device_.cuda(), device_.cuda().stream_destroy(stream_), "cudaStreamDestroy");
  }
}

Queue CudaStream::queue() {
  return Queue(cuda_queue_table(), this);
}

const QueueTable& cuda_queue_table() {
  static const QueueTable table{
      .name = "cuda",
      .record = record_event,
      .wait = wait_for_event,
      .done = is_event_done,
      .synchronize = synchronize_event,
      .release = release_event,
      .copy = copy,
      .alloc = allocate,
      .free = deallocate,
      .reduce = reduce,
  };
  return table;
}

}  // namespace enodia

#include "collectives/sparse/scratch_buffer.h"

#include <cstddef>
#include <memory>

#include "collectives/queue_event.h"

namespace enodia {

Buffer scratch_like(const Buffer& model, const Queue& queue) {
  Buffer scratch = model;
  const std::shared_ptr<void> memory = allocate(queue, static_cast<size_t>(model.bytes()));
  scratch.data = memory.get();
  scratch.keep = memory;
  return scratch;
}

}  // namespace enodia

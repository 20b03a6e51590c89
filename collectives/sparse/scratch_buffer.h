#pragma once

#include "collectives/buffer.h"
#include "collectives/queue.h"

namespace enodia {

/// Memory for as much as `model` views, from a queue's table, freed with the last buffer that views
/// it.
Buffer scratch_like(const Buffer& model, const Queue& queue);

}  // namespace enodia

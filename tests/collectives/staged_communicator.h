#pragma once

#include <memory>

#include "collectives/communicator.h"

namespace enodia {

/// A communicator for host memory over one for the memory of a device: each operation copies what
/// it reads to the device and, when it is waited for, what it has written back, all on `queue`.
/// With it the contract of communicators, which is written for host memory, can be asked of device
/// memory. The queue outlives the communicator and its Works.
std::unique_ptr<Communicator> make_staged(std::unique_ptr<Communicator> inner,
                                          Queue queue,
                                          int device);

}  // namespace enodia

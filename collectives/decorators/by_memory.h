#pragma once

#include <memory>

#include "collectives/communicator.h"

namespace enodia {

/// A communicator for memory of the host and of a device, made of one for each, of the same ranks.
/// An operation goes to `device` when a buffer of it lies on a device (an exchange without
/// messages: when it comes after a queue of one, so that all ranks choose alike), else to `host`; a
/// batch with both is a UsageError. Barriers are the host's: they do not wait for the device.
std::unique_ptr<Communicator> make_by_memory(std::unique_ptr<Communicator> host,
                                             std::unique_ptr<Communicator> device);

}  // namespace enodia

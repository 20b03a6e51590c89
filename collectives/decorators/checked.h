#pragma once

#include <memory>

#include "collectives/communicator.h"

namespace enodia {

/// A decorator that proves, before each operation, that all ranks call the same operation with
/// fitting counts and dtypes: it exchanges a small description of every call first and throws
/// CommError, naming the ranks, both calls and their sequence number, when they differ. Also checks
/// peers, null data and overlapping receives. For tests and debugging: it doubles the latency.
std::unique_ptr<Communicator> make_checked(std::unique_ptr<Communicator> inner);

}  // namespace enodia

#pragma once

#include <memory>

#include "collectives/communicator.h"

namespace enodia {

/// A decorator that proves, before each operation, that all ranks call the same operation with
/// fitting counts and dtypes: every call is first described to all ranks, and all of them throw
/// the same CommError, naming the ranks, both calls and their sequence number, when they differ.
/// Null data and peers that do not exist are a UsageError of the rank that names them, receives
/// that overlap in memory as well. For tests and debugging: each operation blocks until all ranks
/// have called it and costs two small exchanges more.
std::unique_ptr<Communicator> make_checked(std::unique_ptr<Communicator> inner);

}  // namespace enodia

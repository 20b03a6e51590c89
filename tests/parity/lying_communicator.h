#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "collectives/communicator.h"
#include "collectives/traffic.h"

namespace enodia {

/// An operation on floating-point numbers that has just been completed on this rank.
struct CompletedCall {
  Traffic traffic;
  int64_t number;  ///< how many of this traffic came before, on this rank
  /// What other ranks sent here, or the result of the reduction. To be falsified at will.
  std::span<const Buffer> received;
  /// What this rank put into the reduction, as its bytes.
  std::span<const std::byte> contributed;
};

/// Falsifies what has arrived.
using Lie = std::function<void(const CompletedCall&)>;

/// A decorator that completes each operation and then tells the lie to its caller; integers arrive
/// untouched. Serves as a mesh's Decorate.
std::unique_ptr<Communicator> make_lying(std::unique_ptr<Communicator> inner,
                                         Traffic traffic,
                                         Lie lie);

}  // namespace enodia

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "collectives/communicator.h"

namespace enodia {

/// What an operation is for, as far as the communicator can tell.
enum class CallKind {
  kTokens,   ///< exchange in an expert-parallel group: token copies, their weights, gradients
  kExperts,  ///< exchange over the world: experts' gradients and weights on their way
  kReduce,   ///< all_reduce over the world
};

/// An operation on floating-point numbers that has just been completed on this rank.
struct CompletedCall {
  CallKind kind;
  int64_t number;  ///< how many of this kind came before, on this rank
  /// What other ranks sent here, or the result of the reduction. To be falsified at will.
  std::span<const Buffer> received;
  /// What this rank put into the reduction, as its bytes.
  std::span<const std::byte> contributed;
};

/// Falsifies what has arrived.
using Lie = std::function<void(const CompletedCall&)>;

/// A decorator of the world that completes each operation and then tells the lie to its caller.
/// Groups split from it lie as well; integers arrive untouched. `inner` outlives it.
std::unique_ptr<Communicator> make_lying(Communicator& inner, Lie lie);

}  // namespace enodia

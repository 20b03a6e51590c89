#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "collectives/communicator.h"
#include "collectives/traffic.h"
#include "collectives/watch/operation.h"

namespace enodia {

/// An operation that has just been completed on this rank; its caller has not seen the result yet.
struct CompletedOperation {
  Traffic traffic = Traffic::kControl;
  OperationKind kind = OperationKind::kBarrier;
  int64_t index = 0;  ///< how many operations this rank has begun on the communicator before
  DType dtype = DType::kUInt8;  ///< of its first message, sent or received
  /// What came from other ranks: messages with elements, or the result of a reduction or a
  /// broadcast. Nothing in a world of one. To be falsified at will.
  std::vector<Buffer> received = {};
  /// What this rank put into a reduction, as bytes; else empty.
  std::vector<std::byte> contributed = {};
  /// All that an earlier operation of the same kind and type received, as bytes: the last one of
  /// the same sizes, or the last one of any, or nothing.
  std::vector<std::byte> previous = {};
};

/// Looks at what has arrived and may change it.
using Tamper = std::function<void(const CompletedOperation&)>;

/// A decorator that lets `tamper` have each operation when its Work is waited for, or at once when
/// it is a barrier. Operations stay under way in between. Called by the thread that waits; so the
/// ranks of a loopback world call it at the same time. For tests, on host memory.
std::unique_ptr<Communicator> make_faulty(std::unique_ptr<Communicator> inner,
                                          Traffic traffic,
                                          Tamper tamper);

/// How communication goes wrong.
enum class Corruption : uint8_t {
  kDrop,   ///< nothing has come: zeros, and after a reduction the rank's own contribution
  kScale,  ///< every number is doubled
  kSwap,   ///< the first half of the first message and the last half of the last change places
  kStale,  ///< what an earlier operation received is received again, over and over when shorter
};
inline constexpr std::array kAllCorruptions{
    Corruption::kDrop, Corruption::kScale, Corruption::kSwap, Corruption::kStale};

/// "drop", "scale", "swap", "stale".
std::string_view name_of(Corruption corruption);

/// Falsifies what has arrived. False when no number has another value now: nothing came, or zeros
/// that were scaled, or equal halves that were swapped. Local.
bool corrupt(const CompletedOperation& operation, Corruption corruption);

}  // namespace enodia

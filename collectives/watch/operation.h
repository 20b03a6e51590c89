#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "collectives/traffic.h"

namespace enodia {

enum class OperationKind : uint8_t { kExchange, kAllReduce, kBroadcast, kBarrier };

constexpr std::string_view name_of(OperationKind kind) {
  constexpr std::array<std::string_view, 4> kNames{
      "exchange", "all_reduce", "broadcast", "barrier"};
  return kNames[static_cast<size_t>(kind)];
}

/// One call of a communicator, as all its ranks know it.
struct Operation {
  Traffic traffic = Traffic::kControl;
  OperationKind kind = OperationKind::kExchange;
  int64_t sequence = 0;  ///< counts the communicator's operations from 1; equal on all its ranks
  int64_t bytes = 0;     ///< that this rank sends and receives

  /// "tokens exchange 57".
  std::string name() const {
    return std::string(name_of(traffic)) + " " + std::string(name_of(kind)) + " " +
           std::to_string(sequence);
  }
};

}  // namespace enodia

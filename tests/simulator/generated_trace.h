#pragma once

#include <cstdint>

#include "simulator/routing_trace.h"

namespace enodia {

/// Made-up routing: the logarithms of the experts' shares wander, few experts have most tokens
/// (their share falls by `decay` from one to the next), each rank draws `tokens` copies.
struct GeneratedTrace {
  int samples = 6;
  int layers = 2;
  int ranks = 8;
  int experts = 16;
  int tokens = 2000;
  double decay = 0.35;
  double drift = 0.1;  ///< standard deviation of a logarithm from sample to sample
  uint64_t seed = 1;
};
RoutingTrace generate_trace(const GeneratedTrace& options);

}  // namespace enodia

#pragma once

#include <functional>
#include <vector>

#include "collectives/communicator.h"
#include "parallel/mesh.h"
#include "tests/parity/parity_case.h"
#include "tests/references/parity.h"

namespace enodia {

/// What one step has computed, whoever computed it.
struct ParityStep {
  double loss = 0.0;
  double aux_loss = 0.0;
  double device_loss = 0.0;
  double z_loss = 0.0;
  double imbalance = 1.0;     ///< of the experts' load: max / mean, averaged over MoE layers
  std::vector<int64_t> load;  ///< valid tokens of each expert, [MoE layers x E]
  int64_t dropped = 0;        ///< copies of them
  std::vector<double> router_entropy;  ///< mean over valid tokens, nats, [MoE layers]
  double grad_norm = 0.0;
  NamedTensors gradients;
  NamedTensors updated;
  ReferenceRoutes routes;  ///< of all ranks' micro-batches
  /// From the device to the host, of this rank: for the gradients, and for the update.
  int64_t gradient_copies = 0;
  int64_t update_copies = 0;
};

/// Where a rank computes.
struct ParityMachine {
  ComputeDevice device;
  /// Copies from the device to the host that this rank has made so far; empty = not counted.
  std::function<int64_t()> copies_to_host;
};

/// Trains the steps of a case with the product's step engine in a type, and returns
/// what each has computed, gathered from the parameters' owners, the same on all ranks. A world of
/// one takes the micro-batches of all ranks one after the other. Proves
/// on the way that every element of a parameter has one owner, that every token is computed K
/// times, and that all ranks hold the same bits: of losses, loads and norm, and after each step of
/// dense parameters and of each expert and its replicas (std::logic_error otherwise). Collective.
/// What `decorate` does to the mesh does not reach the gathering.
std::vector<ParityStep> run_parity_case(Communicator& world,
                                        const ParityCase& parity_case,
                                        const ParityLayout& layout,
                                        ParityType type,
                                        const Decorate& decorate = {},
                                        const ParityMachine& machine = {});

/// The same on ranks that are threads of this process.
std::vector<ParityStep> run_parity_case_on_threads(const ParityCase& parity_case,
                                                   const ParityLayout& layout,
                                                   ParityType type,
                                                   const Decorate& decorate = {});

/// The same on such ranks that have a communication thread each.
std::vector<ParityStep> run_parity_case_with_progress_threads(const ParityCase& parity_case,
                                                              const ParityLayout& layout,
                                                              ParityType type);

}  // namespace enodia

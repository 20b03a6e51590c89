#pragma once

#include <string>

namespace enodia {

struct NcclAvailability {
  bool available = false;
  std::string why_not;  ///< a sentence, empty when available
};

/// Whether this program, on this machine, can use the NCCL backend: compiled in, both libraries
/// found in their versions, at least one CUDA device. Opens the libraries: with LibTorch for CUDA,
/// open that before. Local; does not throw.
NcclAvailability nccl_available();

}  // namespace enodia

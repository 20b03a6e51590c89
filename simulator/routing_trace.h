#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "parallel/placement/layer_plan.h"

namespace enodia {

/// Recorded routing: token copies that each rank had for each expert, [samples, layers, ranks,
/// experts], samples in order of time, one for each micro-batch.
class RoutingTrace {
 public:
  /// Reads a safetensors file with the int32 tensor `counts`. Throws FileError.
  static RoutingTrace read(const std::filesystem::path& path);
  /// `counts` has the elements of the shape, none negative. Throws UsageError.
  RoutingTrace(int samples, int layers, int ranks, int experts, std::vector<int32_t> counts);

  /// Writes such a file. Throws FileError.
  void write(const std::filesystem::path& path) const;

  int num_samples() const { return samples_; }
  int num_layers() const { return layers_; }
  int num_ranks() const { return ranks_; }
  int num_experts() const { return experts_; }
  LayerCounts at(int sample, int layer) const;

 private:
  int samples_, layers_, ranks_, experts_;
  std::vector<int32_t> counts_;
};

}  // namespace enodia

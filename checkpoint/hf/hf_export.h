#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "checkpoint/hf/hf_config.h"
#include "checkpoint/weight_source.h"
#include "common/dtype.h"

namespace enodia {

struct HfExportOptions {
  DType dtype = DType::kFloat32;           ///< of the weights in the files: float32 or bfloat16
  int64_t max_file_bytes = 5'000'000'000;  ///< as transformers cuts; a larger tensor has its own
};

/// Writes config.json, generation_config.json and the weights, one tensor for each expert's matrix,
/// into an existing folder: model.safetensors, or model-00001-of-0000N.safetensors with
/// model.safetensors.index.json. Holds one tensor in memory at a time. Returns the name of the
/// first tensor with a weight that is not finite, if there is one: such weights are written as they
/// are. Local. Throws FileError, also when a finite weight is too large for the type.
std::optional<std::string> write_hf_model(const std::filesystem::path& folder,
                                          const HfConfig& config,
                                          const WeightSource& weights,
                                          const HfExportOptions& options);

}  // namespace enodia

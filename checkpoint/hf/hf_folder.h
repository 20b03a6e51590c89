#pragma once

#include <filesystem>
#include <memory>

#include "checkpoint/hf/hf_config.h"
#include "checkpoint/hf/hf_generation.h"
#include "checkpoint/weight_source.h"

namespace enodia {

/// Whether a folder looks like a Hugging Face model: it holds a config.json.
bool is_hf_folder(const std::filesystem::path& path);

/// A Hugging Face model folder, for reading: config.json and safetensors with experts as one tensor
/// each or fused ([E, 2F, D] gate first, and [E, D, F]), with old or new names.
class HfFolder : public WeightSource {
 public:
  /// Reads config.json, generation_config.json and the headers, and checks that every tensor of the
  /// model is there with its shape and that no other tensor is. Throws FileError.
  explicit HfFolder(const std::filesystem::path& folder);
  ~HfFolder() override;

  const std::filesystem::path& folder() const { return folder_; }
  const HfConfig& config() const { return config_; }
  /// Of generation_config.json, when there is one.
  const HfGeneration& generation() const { return generation_; }
  void read(const Shard& wanted) const override;

 private:
  struct Tensors;
  std::filesystem::path folder_;
  HfConfig config_;
  HfGeneration generation_;
  std::unique_ptr<const Tensors> tensors_;
};

}  // namespace enodia

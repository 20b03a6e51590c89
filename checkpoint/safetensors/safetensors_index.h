#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace enodia {

/// Where the weights of a model folder are.
struct SafetensorsFiles {
  std::vector<std::filesystem::path> paths;  ///< in order of name; each exists
  /// Of model.safetensors.index.json: the file name of each tensor. Empty when there is no index.
  std::map<std::string, std::string> index;
};

/// Finds the safetensors files of a folder, as SafetensorsFolder::open says. Throws FileError.
SafetensorsFiles find_safetensors_files(const std::filesystem::path& folder);

}  // namespace enodia

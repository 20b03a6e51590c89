#pragma once

#include <filesystem>
#include <string>

namespace enodia {

/// Throws ConfigError when the folder holds anything: what is there is never replaced. Local.
void require_free(const std::string& folder);

/// A folder that appears under its name when it is whole: work goes into FOLDER.enodia-partial
/// beside it. What commit() was not called for is removed again. Local.
class OutputFolder {
 public:
  /// Throws ConfigError when FOLDER holds anything, FileError when it cannot be made.
  explicit OutputFolder(const std::string& folder);
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  const std::filesystem::path& partial() const { return partial_; }
  /// Renames. Throws FileError.
  void commit();

 private:
  std::filesystem::path folder_, partial_;
  bool committed_ = false;
};

}  // namespace enodia

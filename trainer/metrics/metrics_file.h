#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>

#include "common/json.h"

namespace enodia {

/// metrics.jsonl of a run directory, written by rank 0: one object a step.
class MetricsFile {
 public:
  /// Opens for appending after the object of step `last_step`: what a killed run wrote beyond its
  /// last checkpoint is cut off, a half-written last line too. Damaged lines are left out with a
  /// warning, and the file as it was stays beside it as metrics.jsonl.damaged. Throws FileError.
  MetricsFile(const std::filesystem::path& path, int64_t last_step);

  /// Writes a line and hands it to the system at once.
  void append(const Json& record);

 private:
  std::filesystem::path path_;
  std::ofstream file_;
};

}  // namespace enodia

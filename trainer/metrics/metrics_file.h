#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "common/json.h"

namespace enodia {

/// metrics.jsonl of a run directory, written by rank 0: one object a step.
class MetricsFile {
 public:
  /// Opens for appending after the object of step `last_step`: what a killed run wrote beyond its
  /// last checkpoint is cut off, a half-written last line too. Damaged lines are left out with a
  /// warning, and the file as it was stays beside it as metrics.jsonl.damaged. Throws FileError.
  MetricsFile(const std::filesystem::path& path, int64_t last_step);
  ~MetricsFile();
  MetricsFile(const MetricsFile&) = delete;
  MetricsFile& operator=(const MetricsFile&) = delete;

  /// Writes a line and hands it to the system at once. What cannot be written (a full disk) is kept
  /// and tried again with the next line, after a warning: it is no reason to end a run.
  void append(const Json& record);

  /// Tries once more what is left. Throws FileError when some is still not written.
  void finish();

 private:
  /// Writes as much of unwritten_ as the system takes; 0, or errno.
  int write_out();

  std::filesystem::path path_;
  int descriptor_ = -1;
  std::string unwritten_;
};

}  // namespace enodia

#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace enodia {

/// Keeps two jobs apart in one run directory: an flock on its file `lock`, which tells host,
/// process and start. The system lets go of it when the process ends, however it ends; the file
/// stays and means nothing by itself. Local: one rank of a job holds it.
class RunLock {
 public:
  /// Creates the directory when it is missing and takes its lock, or returns nothing when another
  /// job has it and leaves everything as it was. Throws FileError when the directory or the file
  /// cannot be made.
  static std::optional<RunLock> try_take(const std::filesystem::path& directory);

  /// Who has the lock of this directory, by what the file tells: "process 7 on node1 since ...".
  static std::string holder(const std::filesystem::path& directory);

  RunLock(RunLock&& other) noexcept;
  RunLock& operator=(RunLock&& other) noexcept;
  ~RunLock();

  /// False on a file system that knows no locks: nothing is kept apart there.
  bool works() const { return works_; }

 private:
  RunLock(int file, bool works) : file_(file), works_(works) {}

  int file_;  // -1 when moved from
  bool works_;
};

}  // namespace enodia

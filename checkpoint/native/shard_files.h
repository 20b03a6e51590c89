#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <mutex>
#include <unordered_set>
#include <vector>

#include "checkpoint/native/manifest.h"
#include "common/file.h"

namespace enodia {

/// Throws FileError unless `path` is a regular file, not a link to one, of exactly `bytes` bytes.
void require_regular_file(const std::filesystem::path& path, int64_t bytes);

/// The shard files of a checkpoint in memory maps made on first use. Borrows the manifest.
/// May be used by several threads.
class ShardFiles {
 public:
  ShardFiles(std::filesystem::path folder, const Manifest& manifest);

  /// The bytes of one box. Its checksum is verified the first time it is asked for; throws
  /// FileError naming the file and the tensor.
  const std::byte* verified(const StoredTensor& tensor, const StoredBox& stored) const;

  /// Verifies the checksum of file number `file` as a whole.
  void verify_file(size_t file) const;

 private:
  const MappedFile& map(size_t file) const;

  std::filesystem::path folder_;
  const Manifest& manifest_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<MappedFile>> maps_;
  mutable std::unordered_set<const StoredBox*> verified_;
};

}  // namespace enodia

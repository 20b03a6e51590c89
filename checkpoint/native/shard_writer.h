#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "checkpoint/native/manifest.h"
#include "common/hash.h"

namespace enodia {

/// Writes one rank's shard file: boxes one after the other, each from a multiple of 256 bytes, with
/// zeros between. Every method throws FileError naming the path and the system's reason.
class ShardWriter {
 public:
  /// Creates the file; it must not exist.
  explicit ShardWriter(const std::filesystem::path& path);
  ~ShardWriter();
  ShardWriter(const ShardWriter&) = delete;
  ShardWriter& operator=(const ShardWriter&) = delete;

  struct Place {
    int64_t byte_offset = 0;
    std::string hash;
  };
  /// Appends one box.
  Place append(const void* bytes, int64_t count);

  /// Flushes to the disk and closes. Returns name, size and hash of the whole file.
  StoredFile finish();

 private:
  void write(const void* bytes, int64_t count);
  [[noreturn]] void fail(const std::string& verb) const;

  std::filesystem::path path_;
  int descriptor_ = -1;
  int64_t size_ = 0;
  Hasher hasher_;
};

}  // namespace enodia

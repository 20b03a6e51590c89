#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace enodia {

/// The whole of a regular file. Throws FileError naming the path when it cannot be read or is
/// larger than `max_bytes`.
std::string read_file(const std::filesystem::path& path, int64_t max_bytes = int64_t{1} << 34);

/// That a rename to the path would replace a file or nothing: no device, pipe or folder. Throws
/// FileError.
void check_replaceable(const std::filesystem::path& path);

/// Writes beside the target, flushes to the disk and renames: a reader sees the old file or the
/// new one, never half of it. Throws FileError, also where something other than a file is there.
void write_file_atomically(const std::filesystem::path& path, std::string_view content);

/// Flushes a folder's entries to the disk, so that a rename in it survives a power cut.
void sync_folder(const std::filesystem::path& path);

/// A read-only memory map of a regular file. Empty files map to an empty view.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  const std::byte* data() const { return data_; }
  int64_t size() const { return size_; }

 private:
  const std::byte* data_ = nullptr;
  int64_t size_ = 0;
};

}  // namespace enodia

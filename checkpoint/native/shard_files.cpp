#include "checkpoint/native/shard_files.h"

#include "common/error.h"
#include "common/hash.h"

namespace enodia {
namespace fs = std::filesystem;

void require_regular_file(const fs::path& path, int64_t bytes) {
  std::error_code error;
  const fs::file_status status = fs::symlink_status(path, error);
  if (status.type() == fs::file_type::not_found) {
    throw FileError(path.string() + " is missing");
  }
  if (error) {
    throw FileError("cannot read " + path.string() + ": " + error.message());
  }
  if (status.type() != fs::file_type::regular) {
    throw FileError(path.string() + " is not a regular file (links are refused here)");
  }
  const auto size = static_cast<int64_t>(fs::file_size(path, error));
  if (error || size != bytes) {
    throw FileError(path.string() + " has " + std::to_string(size) +
                    " bytes where the manifest says " + std::to_string(bytes) +
                    "; it was cut short or changed");
  }
}

ShardFiles::ShardFiles(fs::path folder, const Manifest& manifest)
    : folder_(std::move(folder)),
      manifest_(manifest),
      maps_(manifest.files.size()) {}

const MappedFile& ShardFiles::map(size_t file) const {
  const std::lock_guard lock(mutex_);
  std::unique_ptr<MappedFile>& mapped = maps_[file];
  if (mapped == nullptr) {
    const StoredFile& stored = manifest_.files[file];
    const fs::path path = folder_ / stored.name;
    require_regular_file(path,
                         stored.bytes);  // it may have changed since the checkpoint was opened
    auto fresh = std::make_unique<MappedFile>(path);
    if (fresh->size() != stored.bytes) {
      throw FileError(path.string() + " changed while it was read");
    }
    mapped = std::move(fresh);
  }
  return *mapped;
}

const std::byte* ShardFiles::verified(const StoredTensor& tensor, const StoredBox& stored) const {
  const auto file = static_cast<size_t>(stored.file);
  const std::byte* bytes = map(file).data() + stored.byte_offset;
  {
    const std::lock_guard lock(mutex_);
    if (verified_.contains(&stored)) {
      return bytes;
    }
  }
  if (hash_of(bytes, static_cast<size_t>(stored.bytes)) != stored.hash) {
    throw FileError((folder_ / manifest_.files[file].name).string() + ": the bytes of tensor '" +
                    tensor.name + "' (" + text_of(stored.box) +
                    ") do not fit their checksum; the file is damaged, use an older checkpoint");
  }
  const std::lock_guard lock(mutex_);
  verified_.insert(&stored);
  return bytes;
}

void ShardFiles::verify_file(size_t file) const {
  const StoredFile& stored = manifest_.files[file];
  if (hash_of(map(file).data(), static_cast<size_t>(stored.bytes)) != stored.hash) {
    throw FileError((folder_ / stored.name).string() +
                    " does not fit its checksum; the file is damaged, use an older checkpoint");
  }
}

}  // namespace enodia

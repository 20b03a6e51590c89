#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "checkpoint/native/manifest.h"
#include "checkpoint/native/shard_files.h"
#include "checkpoint/shard.h"

namespace enodia {

/// A checkpoint in the native format, for reading. Local: every rank opens its own, and any rank
/// may read any box, however many ranks wrote it. All methods throw FileError for what is damaged,
/// naming the file and the tensor; nothing in the files is trusted.
class Checkpoint {
 public:
  /// Reads the manifest of a folder, verifies it and the sizes of all files. Data is verified when
  /// it is read.
  static Checkpoint open(const std::filesystem::path& folder);

  const std::filesystem::path& folder() const { return folder_; }
  int64_t step() const { return manifest_->step; }
  const Json& document() const { return manifest_->document; }
  std::span<const StoredFile> files() const { return manifest_->files; }

  /// The verified content of a small file that was saved along; it must exist (has_attachment).
  std::string attachment(std::string_view name) const;
  bool has_attachment(std::string_view name) const;
  std::span<const StoredFile> attachments() const { return manifest_->attachments; }

  /// All tensors in name order; the one of this name, or null.
  std::span<const StoredTensor> tensors() const { return manifest_->tensors; }
  const StoredTensor* find(std::string_view name) const;

  /// Fills wanted.data with the box it asks for; dtype and shape must be those stored. Verifies the
  /// checksum of every stored box that it touches, once for each reader.
  void read(const Shard& wanted) const;

  /// XXH3-128 of the tensor's bytes in row-major order, as 32 hexadecimal digits: the same however
  /// it was cut. Verifies what it reads.
  std::string tensor_hash(std::string_view name) const;

  /// Verifies every checksum: files, boxes, attachments.
  void verify() const;

 private:
  Checkpoint(std::filesystem::path folder, std::unique_ptr<const Manifest> manifest);
  const StoredTensor& require(std::string_view name) const;
  void fill(const StoredTensor& tensor, const Box& wanted, std::byte* data) const;

  std::filesystem::path folder_;
  std::unique_ptr<const Manifest> manifest_;
  std::unique_ptr<const ShardFiles> shard_files_;  // borrows *manifest_
};

}  // namespace enodia

#include "checkpoint/native/checkpoint.h"

#include <algorithm>

#include "common/check.h"
#include "common/error.h"
#include "common/file.h"
#include "common/hash.h"

namespace enodia {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kMaxManifestBytes = int64_t{256} << 20;
constexpr int64_t kSlabBytes = int64_t{8} << 20;

Manifest read_manifest(const fs::path& folder) {
  const fs::path path = folder / "manifest.json";
  std::error_code error;
  const fs::file_status status = fs::symlink_status(path, error);
  if (status.type() == fs::file_type::not_found) {
    throw FileError(folder.string() + " is not a complete checkpoint: it has no manifest.json");
  }
  if (status.type() != fs::file_type::regular) {
    throw FileError(path.string() + " is not a regular file (links are refused here)");
  }
  return parse_manifest(read_file(path, kMaxManifestBytes), path.string());
}

}  // namespace

Checkpoint::Checkpoint(fs::path folder, std::unique_ptr<const Manifest> manifest)
    : folder_(std::move(folder)),
      manifest_(std::move(manifest)),
      shard_files_(std::make_unique<ShardFiles>(folder_, *manifest_)) {}

Checkpoint Checkpoint::open(const fs::path& folder) {
  Checkpoint checkpoint(folder, std::make_unique<const Manifest>(read_manifest(folder)));
  for (const auto& files : {checkpoint.files(), checkpoint.attachments()}) {
    for (const StoredFile& file : files) {
      require_regular_file(folder / file.name, file.bytes);
    }
  }
  return checkpoint;
}

bool Checkpoint::has_attachment(std::string_view name) const {
  const auto named = [&](const StoredFile& file) { return file.name == name; };
  return std::any_of(attachments().begin(), attachments().end(), named);
}

std::string Checkpoint::attachment(std::string_view name) const {
  for (const StoredFile& file : attachments()) {
    if (file.name != name) {
      continue;
    }
    const fs::path path = folder_ / file.name;
    require_regular_file(path, file.bytes);
    std::string content = read_file(path, file.bytes);
    if (hash_of(content.data(), content.size()) != file.hash) {
      throw FileError(path.string() +
                      " does not fit its checksum; the file is damaged, use an older checkpoint");
    }
    return content;
  }
  throw FileError(folder_.string() + " has no attachment '" + std::string(name) + "'");
}

const StoredTensor* Checkpoint::find(std::string_view name) const {
  const auto before = [](const StoredTensor& tensor, std::string_view wanted) {
    return tensor.name < wanted;
  };
  const auto& all = manifest_->tensors;
  const auto found = std::lower_bound(all.begin(), all.end(), name, before);
  return found != all.end() && found->name == name ? &*found : nullptr;
}

const StoredTensor& Checkpoint::require(std::string_view name) const {
  const StoredTensor* tensor = find(name);
  if (tensor == nullptr) {
    throw FileError(folder_.string() + " has no tensor '" + std::string(name) + "'");
  }
  return *tensor;
}

void Checkpoint::read(const Shard& wanted) const {
  const StoredTensor& tensor = require(wanted.name);
  if (wanted.dtype != tensor.dtype || wanted.shape != tensor.shape) {
    throw FileError(folder_.string() + " holds '" + wanted.name + "' as " +
                    std::string(name_of(tensor.dtype)) + " " + text_of(tensor.shape) + ", but " +
                    std::string(name_of(wanted.dtype)) + " " + text_of(wanted.shape) +
                    " is needed; the model's options differ");
  }
  const Box box{wanted.offset, wanted.size};
  ENODIA_CHECK(lies_inside(box, wanted.shape),
               "the wanted box of '",
               wanted.name,
               "' is not inside ",
               text_of(wanted.shape));
  if (std::find(box.size.begin(), box.size.end(), 0) == box.size.end()) {
    ENODIA_CHECK(wanted.data != nullptr, "no memory for '", wanted.name, "'");
    fill(tensor, box, static_cast<std::byte*>(wanted.data));
  }
}

void Checkpoint::fill(const StoredTensor& tensor, const Box& wanted, std::byte* data) const {
  for (const StoredBox& stored : tensor.boxes) {
    const std::optional<Box> common = intersect(stored.box, wanted);
    if (common) {
      const std::byte* bytes = shard_files_->verified(tensor, stored);
      copy_box(*common, stored.box, bytes, wanted, data, size_of(tensor.dtype));
    }
  }
}

std::string Checkpoint::tensor_hash(std::string_view name) const {
  const StoredTensor& tensor = require(name);
  const auto element_bytes = static_cast<int64_t>(size_of(tensor.dtype));
  Hasher hasher;
  std::vector<std::byte> buffer;
  for (const Box& slab : row_major_slabs(tensor.shape, kSlabBytes / element_bytes)) {
    const int64_t bytes = *element_count(slab.size, size_of(tensor.dtype)) * element_bytes;
    buffer.resize(static_cast<size_t>(bytes));
    fill(tensor, slab, buffer.data());
    hasher.update(buffer.data(), buffer.size());
  }
  return hasher.hex();
}

void Checkpoint::verify() const {
  for (size_t file = 0; file < manifest_->files.size(); ++file) {
    shard_files_->verify_file(file);
  }
  for (const StoredTensor& tensor : tensors()) {
    for (const StoredBox& stored : tensor.boxes) {
      shard_files_->verified(tensor, stored);
    }
  }
  for (const StoredFile& file : attachments()) {
    attachment(file.name);
  }
}

}  // namespace enodia

#include "checkpoint/safetensors/safetensors_folder.h"

#include <algorithm>
#include <utility>

#include "checkpoint/safetensors/safetensors_elements.h"
#include "checkpoint/safetensors/safetensors_header.h"
#include "checkpoint/safetensors/safetensors_index.h"
#include "common/check.h"
#include "common/file.h"
#include "common/wording.h"

namespace enodia {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kSlabElements = int64_t{1} << 18;  // fits a core's cache before conversion

/// Compares what the index says with what the files hold, tensors in order of name.
void check_index(const std::map<std::string, std::string>& index, const SafetensorsFolder& folder) {
  for (const SafetensorsTensor& tensor : folder.tensors()) {
    const auto found = index.find(tensor.name);
    if (found == index.end()) {
      throw FileError(folder.place_of(tensor) +
                      " is not in model.safetensors.index.json; they belong to different models");
    }
    if (found->second != folder.files()[static_cast<size_t>(tensor.file)].filename()) {
      throw FileError(folder.place_of(tensor) +
                      " is there, but model.safetensors.index.json says it is in " + found->second);
    }
  }
  for (const auto& [name, file] : index) {
    if (folder.find(name) == nullptr) {
      throw FileError((folder.files().front().parent_path() / file).string() + " has no tensor " +
                      quote(name) + ", which model.safetensors.index.json says it has");
    }
  }
}

}  // namespace

SafetensorsFolder::SafetensorsFolder() = default;
SafetensorsFolder::SafetensorsFolder(SafetensorsFolder&&) noexcept = default;
SafetensorsFolder::~SafetensorsFolder() = default;

SafetensorsFolder SafetensorsFolder::open(const fs::path& folder) {
  const SafetensorsFiles files = find_safetensors_files(folder);
  SafetensorsFolder opened;
  for (const fs::path& path : files.paths) {
    opened.add_file(path);
  }
  opened.sort_tensors();
  if (!files.index.empty()) {
    check_index(files.index, opened);
  }
  return opened;
}

void SafetensorsFolder::add_file(const fs::path& path) {
  auto file = std::make_unique<MappedFile>(path);
  const std::span<const std::byte> bytes(file->data(), static_cast<size_t>(file->size()));
  SafetensorsHeader header = parse_safetensors_header(bytes, path.string());
  const int index = static_cast<int>(paths_.size());
  for (SafetensorsEntry& entry : header.entries) {
    tensors_.push_back({std::move(entry.name),
                        std::move(entry.type),
                        std::move(entry.shape),
                        index,
                        entry.begin,
                        entry.end});
  }
  paths_.push_back(path);
  files_.push_back(std::move(file));
}

void SafetensorsFolder::sort_tensors() {
  std::stable_sort(tensors_.begin(), tensors_.end(), [](const auto& a, const auto& b) {
    return a.name < b.name;
  });
  const auto twice =
      std::adjacent_find(tensors_.begin(), tensors_.end(), [](const auto& a, const auto& b) {
        return a.name == b.name;
      });
  if (twice != tensors_.end()) {
    throw FileError(place_of(*twice) + " is also in " +
                    paths_[static_cast<size_t>(std::next(twice)->file)].filename().string());
  }
}

const SafetensorsTensor* SafetensorsFolder::find(std::string_view name) const {
  const auto found = std::lower_bound(
      tensors_.begin(), tensors_.end(), name, [](const SafetensorsTensor& tensor, auto wanted) {
        return tensor.name < wanted;
      });
  return found != tensors_.end() && found->name == name ? &*found : nullptr;
}

std::string SafetensorsFolder::place_of(const SafetensorsTensor& tensor) const {
  return paths_[static_cast<size_t>(tensor.file)].string() + ": tensor " + quote(tensor.name);
}

void SafetensorsFolder::read(const SafetensorsTensor& tensor,
                             const Box& box,
                             DType dtype,
                             void* out) const {
  ENODIA_CHECK(lies_inside(box, tensor.shape), place_of(tensor), " has no ", text_of(box));
  if (!is_safetensors_float(tensor.type)) {
    throw FileError(place_of(tensor) + " has type " + tensor.type +
                    ", but weights are read from F64, F32, BF16 and F16 only (quantized models "
                    "cannot be read)");
  }
  const Box whole{std::vector<int64_t>(tensor.shape.size(), 0), tensor.shape};
  const std::byte* bytes = files_[static_cast<size_t>(tensor.file)]->data() + tensor.begin;
  const size_t element_bytes = safetensors_type_bytes(tensor.type);
  auto* to = static_cast<std::byte*>(out);
  std::vector<std::byte> raw;
  for (Box& slab : row_major_slabs(box.size, kSlabElements)) {
    const int64_t count = *element_count(slab.size, element_bytes);
    for (size_t dim = 0; dim < slab.offset.size(); ++dim) {
      slab.offset[dim] += box.offset[dim];
    }
    raw.resize(static_cast<size_t>(count) * element_bytes);
    copy_box(slab, whole, bytes, slab, raw.data(), element_bytes);
    convert_elements(tensor.type, raw.data(), count, dtype, to);
    to += count * static_cast<int64_t>(size_of(dtype));
  }
}

}  // namespace enodia

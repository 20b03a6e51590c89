#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/native/box.h"
#include "common/dtype.h"

namespace enodia {

/// A tensor of a folder of safetensors files.
struct SafetensorsTensor {
  std::string name;
  std::string type;  ///< "F32", "BF16" ...
  std::vector<int64_t> shape;
  int file;            ///< index into files()
  int64_t begin, end;  ///< its bytes in that file
};

class MappedFile;

/// All tensors of a model folder: of the files that model.safetensors.index.json names, else of
/// model.safetensors, else of the only *.safetensors there. Files are mapped, not read, and must
/// not be cut while this lives; they may be links (the Hugging Face cache is made of links), but
/// an index can name files of the folder only. Local; safe to read from by several threads.
class SafetensorsFolder {
 public:
  /// Throws FileError: no weights (pytorch_model.bin is named as what cannot be read), a damaged
  /// file, an index that names a file outside the folder, a missing one, or a tensor that is
  /// elsewhere or twice; model.safetensors beside an index that does not name it.
  static SafetensorsFolder open(const std::filesystem::path& folder);
  SafetensorsFolder(SafetensorsFolder&&) noexcept;
  ~SafetensorsFolder();

  std::span<const SafetensorsTensor> tensors() const { return tensors_; }  ///< in name order
  const std::vector<std::filesystem::path>& files() const { return paths_; }
  /// The tensor of this name, or null.
  const SafetensorsTensor* find(std::string_view name) const;
  /// "FOLDER/model-00001-of-00002.safetensors: tensor NAME", for messages.
  std::string place_of(const SafetensorsTensor& tensor) const;

  /// Copies a box of a tensor into row-major memory as float32 or float64. F64, F32, BF16 and F16
  /// can be read; any other type throws FileError (as those of quantized weights). The box lies
  /// inside the tensor (UsageError otherwise).
  void read(const SafetensorsTensor& tensor, const Box& box, DType dtype, void* out) const;

 private:
  SafetensorsFolder();
  /// Maps a file and takes its tensors.
  void add_file(const std::filesystem::path& path);
  void sort_tensors();

  std::vector<std::filesystem::path> paths_;
  std::vector<std::unique_ptr<const MappedFile>> files_;
  std::vector<SafetensorsTensor> tensors_;
};

}  // namespace enodia

#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/dtype.h"

namespace enodia {

/// A tensor to be written.
struct SafetensorsSpec {
  std::string name;
  DType dtype;
  std::vector<int64_t> shape;
  int64_t bytes() const;
};

/// Writes one safetensors file in a stream, so that no more than one tensor need be in memory. The
/// file appears under its name when it is whole and on the disk (finish); until then, and when
/// finish is never called, `path` is as it was. Throws FileError. Local.
class SafetensorsWriter {
 public:
  SafetensorsWriter(std::filesystem::path path,
                    std::vector<SafetensorsSpec> tensors,
                    const std::map<std::string, std::string>& metadata);
  ~SafetensorsWriter();
  /// The next bytes of the data, all tensors one after the other in the order given.
  void write(std::span<const std::byte> bytes);
  /// Every tensor must have been written (UsageError otherwise).
  void finish();

 private:
  struct File;
  std::unique_ptr<File> file_;
};

}  // namespace enodia

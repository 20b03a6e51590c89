#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace enodia {

/// Bytes of one element of a safetensors type ("F32", "BF16", "F8_E4M3" ...); 0 for an unknown one.
size_t safetensors_type_bytes(std::string_view type);

/// One tensor of a safetensors file.
struct SafetensorsEntry {
  std::string name;
  std::string type;  ///< as in the file: "F32"
  std::vector<int64_t> shape;
  int64_t begin = 0, end = 0;  ///< its bytes, counted from the beginning of the file
};

/// What a safetensors file says of itself: u64 length (little endian), JSON, data.
struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;        ///< in order of name
  std::map<std::string, std::string> metadata;  ///< of "__metadata__"
};

/// Parses and verifies the header of a whole file; nothing in it is trusted. The limits are those
/// of the reference implementation: a header of at most 100 MB, known types, sizes that follow from
/// shape and type, data without holes or overlaps that ends where the file ends. Throws FileError
/// that begins with `source`, the file's name.
SafetensorsHeader parse_safetensors_header(std::span<const std::byte> file,
                                           const std::string& source);

}  // namespace enodia

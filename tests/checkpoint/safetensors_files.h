#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "checkpoint/safetensors/safetensors_header.h"

namespace enodia {

/// A safetensors file of this header and data, whatever they say.
inline std::string safetensors_file(const std::string& header, const std::string& data) {
  std::string length;
  for (int shift = 0; shift < 64; shift += 8) {
    length += static_cast<char>(header.size() >> shift & 0xFF);
  }
  return length + header + data;
}

/// One entry of a header: "name":{"dtype":..., ...}.
inline std::string safetensors_entry(const std::string& name,
                                     const std::string& type,
                                     const std::string& shape,
                                     int64_t begin,
                                     int64_t end) {
  return "\"" + name + R"(":{"dtype":")" + type + R"(","shape":)" + shape + R"(,"data_offsets":[)" +
         std::to_string(begin) + "," + std::to_string(end) + "]}";
}

/// Parses a file in memory of exactly its size, so that AddressSanitizer sees each byte too far.
inline SafetensorsHeader parse_safetensors(const std::string& file) {
  const std::vector<char> bytes(file.begin(), file.end());
  return parse_safetensors_header(std::as_bytes(std::span(bytes)), "x.safetensors");
}

}  // namespace enodia

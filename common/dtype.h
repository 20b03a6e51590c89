#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace enodia {

/// Element types that cross a communicator or lie in a file.
enum class DType : uint8_t { kUInt8, kInt32, kInt64, kFloat32, kFloat64, kBFloat16 };

/// Bytes of one element.
constexpr size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::kUInt8:
      return 1;
    case DType::kBFloat16:
      return 2;
    case DType::kInt32:
    case DType::kFloat32:
      return 4;
    case DType::kInt64:
    case DType::kFloat64:
      return 8;
  }
  return 0;
}

/// The name used in files and messages: "uint8", "int32", "int64", "float32", "float64",
/// "bfloat16".
std::string_view name_of(DType dtype);

/// Inverse of name_of; throws FileError on an unknown name.
DType dtype_from_name(std::string_view name);

/// The value of a bfloat16, which is the upper half of a float32. Exact.
constexpr float float_from_bfloat16(uint16_t bits) {
  return std::bit_cast<float>(uint32_t{bits} << 16);
}

/// The nearest bfloat16, ties to even; a NaN stays a (quiet) NaN.
constexpr uint16_t bfloat16_from_float(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if (value != value) {
    return static_cast<uint16_t>(bits >> 16 | 0x40);
  }
  return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

template <typename T>
constexpr DType dtype_of();
template <>
constexpr DType dtype_of<uint8_t>() {
  return DType::kUInt8;
}
template <>
constexpr DType dtype_of<int32_t>() {
  return DType::kInt32;
}
template <>
constexpr DType dtype_of<int64_t>() {
  return DType::kInt64;
}
template <>
constexpr DType dtype_of<float>() {
  return DType::kFloat32;
}
template <>
constexpr DType dtype_of<double>() {
  return DType::kFloat64;
}

}  // namespace enodia

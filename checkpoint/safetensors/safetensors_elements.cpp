#include "checkpoint/safetensors/safetensors_elements.h"

#include <bit>
#include <cstring>

#include "common/check.h"

namespace enodia {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors data is little endian");

/// Elements are fetched by memcpy because the header of a file may have any length.
template <typename From, typename To, typename Decode>
void convert(const std::byte* from, int64_t count, To* to, Decode decode) {
  for (int64_t i = 0; i < count; ++i) {
    From element;
    std::memcpy(&element, from + i * static_cast<int64_t>(sizeof(From)), sizeof(From));
    to[i] = static_cast<To>(decode(element));
  }
}

template <typename To>
void convert_to(std::string_view type, const std::byte* from, int64_t count, To* to) {
  if (type == "F64") {
    convert<double>(from, count, to, [](double element) { return element; });
  } else if (type == "F32") {
    convert<float>(from, count, to, [](float element) { return element; });
  } else if (type == "BF16") {
    convert<uint16_t>(from, count, to, float_from_bfloat16);
  } else {
    ENODIA_CHECK(type == "F16", "type ", type);
    convert<uint16_t>(from, count, to, float_from_float16);
  }
}

}  // namespace

float float_from_float16(uint16_t bits) {
  const uint32_t magnitude = uint32_t{bits} & 0x7FFF;
  const uint32_t sign = (uint32_t{bits} & 0x8000) << 16;
  if (magnitude < 0x400) {  // zero or subnormal: a multiple of 2^-24
    const float value = static_cast<float>(magnitude) * 0x1p-24F;
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(value));
  }
  // The exponents' biases, 15 and 127, differ by 112; infinities and NaN have the largest one.
  const uint32_t shift = magnitude < 0x7C00 ? 112 : 224;
  return std::bit_cast<float>(sign | (magnitude + (shift << 10)) << 13);
}

std::string_view safetensors_type_of(DType dtype) {
  switch (dtype) {
    case DType::kUInt8:
      return "U8";
    case DType::kInt32:
      return "I32";
    case DType::kInt64:
      return "I64";
    case DType::kFloat32:
      return "F32";
    case DType::kFloat64:
      return "F64";
    case DType::kBFloat16:
      return "BF16";
  }
  return "";
}

bool is_safetensors_float(std::string_view type) {
  return type == "F64" || type == "F32" || type == "BF16" || type == "F16";
}

void convert_elements(
    std::string_view type, const std::byte* from, int64_t count, DType dtype, void* to) {
  if (dtype == DType::kFloat64) {
    convert_to(type, from, count, static_cast<double*>(to));
  } else {
    ENODIA_CHECK(dtype == DType::kFloat32, "weights are read as float32 or float64");
    convert_to(type, from, count, static_cast<float*>(to));
  }
}

}  // namespace enodia

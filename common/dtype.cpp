#include "common/dtype.h"

#include <array>
#include <string>
#include <utility>

#include "common/error.h"

namespace enodia {
namespace {

constexpr std::array<std::pair<DType, std::string_view>, 6> kNames{{
    {DType::kUInt8, "uint8"},
    {DType::kInt32, "int32"},
    {DType::kInt64, "int64"},
    {DType::kFloat32, "float32"},
    {DType::kFloat64, "float64"},
    {DType::kBFloat16, "bfloat16"},
}};

}  // namespace

std::string_view name_of(DType dtype) {
  for (const auto& [candidate, name] : kNames) {
    if (candidate == dtype) {
      return name;
    }
  }
  return "unknown";
}

DType dtype_from_name(std::string_view name) {
  for (const auto& [dtype, candidate] : kNames) {
    if (candidate == name) {
      return dtype;
    }
  }
  throw FileError("unknown element type '" + std::string(name) +
                  "'; known are uint8, int32, int64, float32, float64 and bfloat16");
}

}  // namespace enodia

#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/dtype.h"

namespace enodia {

/// The value of an IEEE 754 binary16 number. Exact; a NaN stays a NaN.
float float_from_float16(uint16_t bits);

/// The name of a type in safetensors files: "F32" for float32.
std::string_view safetensors_type_of(DType dtype);

/// Whether convert_elements knows a safetensors type: F64, F32, BF16 and F16.
bool is_safetensors_float(std::string_view type);

/// Converts `count` elements of a type that is_safetensors_float into float32 or float64; a double
/// becomes the nearest float. `from` need not be aligned.
void convert_elements(
    std::string_view type, const std::byte* from, int64_t count, DType dtype, void* to);

}  // namespace enodia

#pragma once

#include <cstdint>
#include <string_view>

namespace enodia {

enum class ReduceOp : uint8_t { kSum, kMin, kMax };
std::string_view name_of(ReduceOp op);

}  // namespace enodia

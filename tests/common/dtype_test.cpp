#include "common/dtype.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "common/error.h"

namespace enodia {
namespace {

TEST(DType, NamesReadBack) {
  for (const DType dtype : {DType::kUInt8,
                            DType::kInt32,
                            DType::kInt64,
                            DType::kFloat32,
                            DType::kFloat64,
                            DType::kBFloat16}) {
    EXPECT_EQ(dtype_from_name(name_of(dtype)), dtype);
  }
  EXPECT_THROW(dtype_from_name("float16"), FileError);
  EXPECT_THROW(dtype_from_name(""), FileError);
}

TEST(DType, SizesAreThoseOfTheCppTypes) {
  EXPECT_EQ(size_of(dtype_of<uint8_t>()), sizeof(uint8_t));
  EXPECT_EQ(size_of(dtype_of<int32_t>()), sizeof(int32_t));
  EXPECT_EQ(size_of(dtype_of<int64_t>()), sizeof(int64_t));
  EXPECT_EQ(size_of(dtype_of<float>()), sizeof(float));
  EXPECT_EQ(size_of(dtype_of<double>()), sizeof(double));
  EXPECT_EQ(size_of(DType::kBFloat16), 2u);
}

TEST(BFloat16, EveryPatternSurvivesTheWayThroughFloat) {
  for (uint32_t bits = 0; bits <= 0xFFFF; ++bits) {
    const float value = float_from_bfloat16(static_cast<uint16_t>(bits));
    const uint16_t back = bfloat16_from_float(value);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(float_from_bfloat16(back)));
    } else {
      ASSERT_EQ(back, bits);
    }
  }
}

TEST(BFloat16, RoundsToNearestAndTiesToEven) {
  EXPECT_EQ(bfloat16_from_float(1.0F), 0x3F80);
  EXPECT_EQ(bfloat16_from_float(0x1.01p0F), 0x3F80);      // a tie: down to even
  EXPECT_EQ(bfloat16_from_float(0x1.03p0F), 0x3F82);      // a tie: up to even
  EXPECT_EQ(bfloat16_from_float(0x1.010002p0F), 0x3F81);  // just above the tie
  EXPECT_EQ(bfloat16_from_float(-0x1.03p0F), 0xBF82);
  EXPECT_EQ(bfloat16_from_float(std::numeric_limits<float>::max()), 0x7F80);  // to infinity
  EXPECT_EQ(bfloat16_from_float(-0.0F), 0x8000);
  // A NaN whose payload lies in the lower half only must not become infinity.
  EXPECT_TRUE(std::isnan(
      float_from_bfloat16(bfloat16_from_float(std::bit_cast<float>(uint32_t{0x7F800001})))));
}

}  // namespace
}  // namespace enodia

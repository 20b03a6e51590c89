#include <vector>

#include <gtest/gtest.h>

#include "trainer/metrics/memory_record.h"

namespace enodia {
namespace {

TEST(ResidentMemory, GrowsWithWhatIsTouched) {
  constexpr int64_t kBytes = int64_t{64} << 20;
  const ResidentMemory before = resident_memory();
  EXPECT_GT(before.now, 0);
  EXPECT_GE(before.peak, before.now);
  const std::vector<char> touched(kBytes, 'x');
  const ResidentMemory after = resident_memory();
  EXPECT_GT(after.now, before.now + kBytes / 2);
  EXPECT_LT(after.now, before.now + 2 * kBytes) << "bytes, not kilobytes";
  EXPECT_EQ(touched.back(), 'x');
}

TEST(MemoryRecord, NamesEachKindWithItsPeak) {
  MemoryRecord record;
  record.tensors.peak = {1, 2, 3, 4, 5, 6};
  record.tensors.current = {9, 9, 9, 9, 9, 9};
  record.tensors.total = 54;
  record.tensors.peak_total = 60;
  record.largest_peak = 70;
  record.resident = {80, 90};
  EXPECT_EQ(record.to_json().dump(),
            R"({"parameters":1,"gradients":2,"optimizer":3,"replicas":4,"data":5,"activations":6,)"
            R"("peak_total":60,"peak_total_max":70,"after_step":54,"resident":80,)"
            R"("resident_peak":90})");
}

}  // namespace
}  // namespace enodia

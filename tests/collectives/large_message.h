#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "collectives/communicator.h"

namespace enodia {

/// Rank 0 sends 2.2 GiB of bytes to rank 1, zeros but for a few marks; rank 1 finds the marks and
/// nothing else. The sender's zeros are never written, so that they cost no memory.
inline void expect_large_message_arrives(Communicator& communicator) {
  constexpr int64_t kBytes = (int64_t{22} << 30) / 10;
  constexpr std::array<int64_t, 5> kMarks{
      0, (int64_t{1} << 28) - 1, INT32_MAX, 1L << 31, kBytes - 1};
  const auto memory = std::unique_ptr<uint8_t, void (*)(void*)>(
      static_cast<uint8_t*>(std::calloc(kBytes, 1)), std::free);
  ASSERT_NE(memory, nullptr);
  const std::vector<Message> message{
      {1 - communicator.rank(), Buffer{memory.get(), kBytes, DType::kUInt8}}};
  if (communicator.rank() == 0) {
    for (const int64_t mark : kMarks) {
      memory.get()[mark] = 7;
    }
    communicator.exchange(message, {}).wait();
  } else {
    communicator.exchange({}, message).wait();
    for (const int64_t mark : kMarks) {
      EXPECT_EQ(memory.get()[mark], 7) << "at byte " << mark;
    }
    EXPECT_EQ(std::count(memory.get(), memory.get() + kBytes, 0),
              kBytes - static_cast<int64_t>(kMarks.size()));
  }
}

}  // namespace enodia

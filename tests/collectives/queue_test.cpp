#include "collectives/queue.h"

#include <array>
#include <cstdint>

#include <gtest/gtest.h>

#include "collectives/backend.h"

namespace enodia {
namespace {

TEST(Queue, TheHostIsTheDefaultAndAlwaysDone) {
  const Queue queue;
  EXPECT_EQ(&queue.table(), &host_queue_table());
  EXPECT_STREQ(queue.table().name, "host");
  EXPECT_EQ(queue.table().record(queue.handle()), nullptr);
  EXPECT_TRUE(queue.table().done(nullptr));
  synchronize(queue);
}

TEST(Queue, TheHostCopiesAndAllocatesAligned) {
  const Queue queue;
  const std::array<int, 3> from{1, 2, 3};
  std::array<int, 3> to{};
  queue.copy(to.data(), from.data(), sizeof(from));
  EXPECT_EQ(to, from);
  queue.copy(nullptr, nullptr, 0);

  void* memory = queue.table().alloc(queue.handle(), 1000);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(memory) % 256, 0u);
  queue.table().free(queue.handle(), memory);
}

/// Counts what is asked of it; its events are the counter itself.
struct CountingQueue {
  int recorded = 0;
  int synchronized = 0;
  int released = 0;
};

TEST(Queue, SynchronizingRecordsWaitsAndReleases) {
  QueueTable table = host_queue_table();
  table.record = [](void* queue) -> void* {
    ++static_cast<CountingQueue*>(queue)->recorded;
    return queue;
  };
  table.synchronize = [](void* event) { ++static_cast<CountingQueue*>(event)->synchronized; };
  table.release = [](void* event) { ++static_cast<CountingQueue*>(event)->released; };
  CountingQueue counting;
  synchronize(Queue(table, &counting));
  EXPECT_EQ(counting.recorded, 1);
  EXPECT_EQ(counting.synchronized, 1);
  EXPECT_EQ(counting.released, 1);
}

}  // namespace
}  // namespace enodia

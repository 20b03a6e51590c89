#include "collectives/work.h"

#include <utility>

#include <gtest/gtest.h>

#include "common/error.h"

namespace enodia {
namespace {

struct Record {
  int waits = 0;
  bool done = false;
  bool fails = false;
};

class RecordedOperation : public PendingOperation {
 public:
  explicit RecordedOperation(Record& record) : record_(record) {}
  void wait(const Queue&) override {
    ++record_.waits;
    record_.done = true;
    if (record_.fails) {
      throw CommError("the peer is gone");
    }
  }
  bool done() override { return record_.done; }

 private:
  Record& record_;
};

Work work_on(Record& record, std::vector<Buffer> buffers = {}) {
  return Work(std::make_unique<RecordedOperation>(record), std::move(buffers));
}

TEST(Work, TheDefaultIsDone) {
  Work work;
  EXPECT_TRUE(work.done());
  work.wait();
}

TEST(Work, WaitsOnceAndThenIsDone) {
  Record record;
  {
    Work work = work_on(record);
    EXPECT_FALSE(work.done());
    work.wait();
    EXPECT_TRUE(work.done());
    work.wait();
  }
  EXPECT_EQ(record.waits, 1);
}

TEST(Work, TheDestructorWaits) {
  Record record;
  { Work work = work_on(record); }
  EXPECT_EQ(record.waits, 1);
}

TEST(Work, MovingHandsTheWaitOver) {
  Record record;
  {
    Work first = work_on(record);
    Work second(std::move(first));
    EXPECT_EQ(record.waits, 0);
    EXPECT_FALSE(second.done());
  }
  EXPECT_EQ(record.waits, 1);
}

TEST(Work, AssignmentWaitsForWhatItReplaces) {
  Record replaced;
  Record kept;
  Work work = work_on(replaced);
  work = work_on(kept);
  EXPECT_EQ(replaced.waits, 1);
  EXPECT_EQ(kept.waits, 0);
  work.wait();
  EXPECT_EQ(kept.waits, 1);
}

TEST(Work, WaitThrowsAndIsNotTriedAgain) {
  Record record{.fails = true};
  {
    Work work = work_on(record);
    EXPECT_THROW(work.wait(), CommError);
  }
  EXPECT_EQ(record.waits, 1);
}

TEST(Work, TheDestructorSwallowsFailures) {
  Record record{.fails = true};
  { Work work = work_on(record); }
  EXPECT_EQ(record.waits, 1);
}

/// A rank that fails while its peers never come must be heard, not hang.
TEST(Work, TheDestructorGivesUpWhileAnExceptionUnwinds) {
  auto owner = std::make_shared<int>(1);
  const std::weak_ptr<int> observer = owner;
  // The operation outlives the test: so must what it refers to.
  static Record never;
  Buffer buffer{owner.get(), 1, DType::kInt32};
  buffer.keep = std::move(owner);
  std::vector<Buffer> buffers;
  buffers.push_back(std::move(buffer));
  try {
    Work work = work_on(never, std::move(buffers));
    throw FileError("a sentence");
  } catch (const FileError& error) {
    EXPECT_STREQ(error.what(), "a sentence");
  }
  EXPECT_EQ(never.waits, 0);
  EXPECT_FALSE(observer.expired());
}

TEST(Work, TheDestructorWaitsForWhatIsDoneWhileAnExceptionUnwinds) {
  Record record{.done = true};
  try {
    Work work = work_on(record);
    throw FileError("a sentence");
  } catch (const FileError&) {
  }
  EXPECT_EQ(record.waits, 1);
}

TEST(Work, KeepsBuffersUntilTheWait) {
  auto owner = std::make_shared<int>(1);
  const std::weak_ptr<int> observer = owner;
  Record record;
  Buffer buffer{owner.get(), 1, DType::kInt32};
  buffer.keep = std::move(owner);
  std::vector<Buffer> buffers;
  buffers.push_back(std::move(buffer));
  Work work = work_on(record, std::move(buffers));
  EXPECT_FALSE(observer.expired());
  work.wait();
  EXPECT_TRUE(observer.expired());
}

}  // namespace
}  // namespace enodia

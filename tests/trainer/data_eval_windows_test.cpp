#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/error.h"
#include "tests/trainer/data_fixtures.h"
#include "trainer/data/eval_windows.h"

namespace enodia {
namespace {

using testing::ElementsAre;

TEST(EvalWindows, PredictEachTokenButTheFirstOfADocumentExactlyOnce) {
  const TemporaryFolder folder;
  const std::vector<int64_t> lengths{1, 30, 0, 2, 9, 8, 7, 1, 100, 5};
  const Documents documents = counting_documents(lengths);
  const auto dataset = make_dataset(folder.file("x"), documents, 1000);
  for (const int64_t length : {1, 3, 8, 200}) {
    for (const int64_t sequences : {1, 2, 5}) {
      const EvalWindows windows(dataset, length, sequences);
      std::map<int64_t, int> predicted;
      for (int64_t i = windows.num_batches() - 1; i >= 0; --i) {
        const MicroBatch batch = windows.batch(i);
        ASSERT_GT(batch.layout.num_tokens(), 0);
        ASSERT_LE(batch.layout.num_tokens(), length * sequences);
        ASSERT_LE(batch.layout.max_segment_length(), length);
        ASSERT_EQ(batch.num_valid, batch.layout.num_tokens());
        for (size_t t = 0; t < batch.tokens.size(); ++t) {
          ASSERT_EQ(batch.labels[t], batch.tokens[t] + 1);  // ids count up through the stream
          ++predicted[batch.labels[t]];
        }
      }
      std::map<int64_t, int> expected;
      for (const auto& document : documents) {
        for (size_t i = 1; i < document.size(); ++i) {
          expected[document[i]] = 1;
        }
      }
      EXPECT_EQ(predicted, expected) << length << " x " << sequences;
      EXPECT_EQ(windows.num_predicted(), static_cast<int64_t>(expected.size()));
    }
  }
}

TEST(EvalWindows, PackConsecutiveWindowsAsSegments) {
  const TemporaryFolder folder;
  const auto dataset = make_dataset(folder.file("x"), counting_documents({4, 6, 3}), 100);
  const EvalWindows windows(dataset, 4, 2);  // windows 0 1 2 | 4 5 6 7 | 8 | 10 11
  ASSERT_EQ(windows.num_batches(), 2);
  const MicroBatch first = windows.batch(0);
  EXPECT_THAT(first.tokens, ElementsAre(0, 1, 2, 4, 5, 6, 7, 8));
  EXPECT_THAT(first.labels, ElementsAre(1, 2, 3, 5, 6, 7, 8, 9));
  EXPECT_THAT(first.layout.cu_seqlens, ElementsAre(0, 3, 7, 8));
  EXPECT_THAT(windows.batch(1).tokens, ElementsAre(10, 11));
  EXPECT_THROW(windows.batch(2), UsageError);
}

TEST(EvalWindows, MayBeNone) {
  const TemporaryFolder folder;
  const auto dataset = make_dataset(folder.file("x"), {{1}, {}, {2}}, 10);
  const EvalWindows windows(dataset, 4, 2);
  EXPECT_EQ(windows.num_batches(), 0);
  EXPECT_EQ(windows.num_predicted(), 0);
}

}  // namespace
}  // namespace enodia

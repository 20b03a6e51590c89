#include <array>
#include <cstdio>
#include <cstring>
#include <limits>
#include <optional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/error.h"
#include "common/file.h"
#include "tests/trainer/data_fixtures.h"
#include "trainer/data/indexed_dataset.h"
#include "trainer/data/indexed_dataset_writer.h"

namespace enodia {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string run_python(const std::string& arguments) {
  std::FILE* pipe = ::popen((std::string(ENODIA_PYTHON_DATASET) + " " + arguments).c_str(), "r");
  std::string output;
  std::array<char, 4096> block{};
  while (const size_t count = std::fread(block.data(), 1, block.size(), pipe)) {
    output.append(block.data(), count);
  }
  EXPECT_EQ(::pclose(pipe), 0);
  return output;
}

std::vector<int64_t> read_all(const IndexedDataset& dataset) {
  std::vector<int64_t> ids(static_cast<size_t>(dataset.num_tokens()));
  dataset.read(0, ids);
  return ids;
}

/// What opening and reading the whole data set says; empty when it is accepted.
std::string complaint(const std::string& prefix, int64_t vocab_size = 0) {
  try {
    read_all(IndexedDataset(prefix, vocab_size));
    return "";
  } catch (const FileError& error) {
    return error.what();
  }
}

TEST(IndexedDatasetWriter, WritesWhatAnIndependentReaderReads) {
  const TemporaryFolder folder;
  make_dataset(folder.file("narrow"), {{65535, 0, 7}, {}, {300}}, 65536);
  EXPECT_EQ(run_python("read " + folder.file("narrow")), "65535 0 7\n\n300\ntype 8 bytes 8\n");
  make_dataset(folder.file("wide"), {{65536, 1}, {2}}, 65537);
  EXPECT_EQ(run_python("read " + folder.file("wide")), "65536 1\n2\ntype 4 bytes 12\n");
}

TEST(IndexedDatasetWriter, LeavesNothingBehindUnlessFinished) {
  const TemporaryFolder folder;
  {
    IndexedDatasetWriter writer(folder.file("x"), 10);
    writer.add_document(std::array<int64_t, 2>{1, 2});
    EXPECT_TRUE(std::filesystem::exists(folder.file("x.bin.tmp")));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.file("")));
  EXPECT_THROW(IndexedDatasetWriter(folder.file("no/such/x"), 10), FileError);
}

TEST(IndexedDatasetWriter, RefusesIdsOutsideTheVocabulary) {
  const TemporaryFolder folder;
  IndexedDatasetWriter writer(folder.file("x"), 10);
  EXPECT_THROW(writer.append(std::array<int64_t, 1>{10}), UsageError);
  EXPECT_THROW(writer.append(std::array<int64_t, 1>{-1}), UsageError);
}

TEST(IndexedDataset, ReadsBackWhatWasWritten) {
  const TemporaryFolder folder;
  const auto dataset = make_dataset(folder.file("x"), {{5, 6}, {}, {7, 8, 9}}, 10);
  EXPECT_EQ(dataset.num_documents(), 3);
  EXPECT_EQ(dataset.num_tokens(), 5);
  EXPECT_THAT(dataset.document_offsets(), ElementsAre(0, 2, 2, 5));
  EXPECT_THAT(read_all(dataset), ElementsAre(5, 6, 7, 8, 9));
  std::array<int64_t, 2> part{};
  dataset.read(3, part);
  EXPECT_THAT(part, ElementsAre(8, 9));
  EXPECT_THROW(dataset.read(4, part), UsageError);
  EXPECT_THROW(dataset.read(-1, part), UsageError);
}

TEST(IndexedDataset, ReadsEveryIntegerTypeAndSeveralSequencesADocument) {
  const TemporaryFolder folder;
  for (const int code : {1, 2, 3, 4, 5, 8}) {
    const std::string prefix = folder.file("t" + std::to_string(code));
    run_python("write " + prefix + " " + std::to_string(code));
    const IndexedDataset dataset(prefix);
    EXPECT_THAT(dataset.document_offsets(), ElementsAre(0, 3, 4, 4, 7)) << code;
    EXPECT_THAT(read_all(dataset), ElementsAre(1, 2, 3, 4, 5, 6, 7)) << code;
  }
}

TEST(IndexedDataset, ReadsTheLargestIdsOfBothWrittenTypes) {
  const TemporaryFolder folder;
  EXPECT_THAT(read_all(make_dataset(folder.file("x"), {{65535, 0}}, 65536)), ElementsAre(65535, 0));
  EXPECT_THAT(read_all(make_dataset(folder.file("x"), {{65536, 1}}, 65537)), ElementsAre(65536, 1));
}

TEST(IndexedDataset, RefusesNegativeIds) {
  const TemporaryFolder folder;
  const std::string prefix = folder.file("x");
  run_python("write " + prefix + " 4");
  std::string bin = read_file(prefix + ".bin");
  bin[4 * 4 + 3] = '\xFF';  // the sign of token 4
  folder.write("x.bin", bin);
  EXPECT_THAT(complaint(prefix), HasSubstr("x.bin: token 4 has the id -"));
}

TEST(IndexedDataset, MayBeEmpty) {
  const TemporaryFolder folder;
  const auto dataset = make_dataset(folder.file("x"), {}, 10);
  EXPECT_EQ(dataset.num_documents(), 0);
  EXPECT_EQ(dataset.num_tokens(), 0);
  dataset.read(0, {});
  EXPECT_FALSE(dataset.fingerprint().empty());
}

TEST(IndexedDataset, ChecksIdsAgainstTheVocabulary) {
  const TemporaryFolder folder;
  make_dataset(folder.file("x"), {{3, 9}}, 10);
  EXPECT_EQ(complaint(folder.file("x"), 10), "");
  EXPECT_THAT(complaint(folder.file("x"), 9), HasSubstr("token 1 has the id 9"));
}

TEST(IndexedDataset, HasAnotherFingerprintWithOtherTokensOrOtherDocuments) {
  const TemporaryFolder folder;
  const auto print = [&](const Documents& documents) {
    return make_dataset(folder.file("x"), documents, 10).fingerprint();
  };
  const std::string original = print({{1, 2}, {3}});
  EXPECT_EQ(print({{1, 2}, {3}}), original);
  EXPECT_NE(print({{1, 2}, {4}}), original);
  EXPECT_NE(print({{1}, {2, 3}}), original);
}

/// A sound data set as bytes, to damage: documents {1, 2}, {3} as uint16.
class DamagedDataset : public testing::Test {
 protected:
  DamagedDataset() {
    make_dataset(prefix_, {{1, 2}, {3}}, 10);
    index_ = read_file(prefix_ + ".idx");
    bin_ = read_file(prefix_ + ".bin");
  }

  /// What the reader says to an index with `value` put at byte `place`.
  template <typename T>
  std::string with(size_t place, T value) {
    std::string bytes = index_;
    std::memcpy(bytes.data() + place, &value, sizeof(T));
    folder_.write("x.idx", bytes);
    return complaint(prefix_);
  }

  static constexpr size_t kVersion = 9, kType = 17, kSequences = 18, kEntries = 26, kLengths = 34,
                          kOffsets = 42, kDocuments = 58;
  const TemporaryFolder folder_;
  const std::string prefix_ = folder_.file("x");
  std::string index_;
  std::string bin_;
};

TEST_F(DamagedDataset, IsNamedByEachHeaderField) {
  ASSERT_EQ(index_.size(), kDocuments + 3 * 8);
  EXPECT_EQ(complaint(prefix_), "");
  EXPECT_THAT(with<char>(0, 'X'), HasSubstr("x.idx: it does not begin with MMIDIDX"));
  EXPECT_THAT(with<uint64_t>(kVersion, 2), HasSubstr("version 2"));
  for (const int code : {0, 9, 255}) {
    EXPECT_THAT(with(kType, static_cast<uint8_t>(code)), HasSubstr("unknown dtype code"));
  }
  EXPECT_THAT(with<uint8_t>(kType, 6), HasSubstr("floats"));
  EXPECT_THAT(with<uint8_t>(kType, 7), HasSubstr("floats"));
  EXPECT_THAT(with<uint8_t>(kType, 5), HasSubstr("the .bin holds"));
  EXPECT_THAT(with<uint8_t>(kType, 1), HasSubstr("must lie at"));
}

TEST_F(DamagedDataset, IsNamedByItsCounts) {
  for (const uint64_t count : {uint64_t{3}, uint64_t{1} << 61, uint64_t{1} << 63, ~uint64_t{0}}) {
    EXPECT_NE(with(kSequences, count), "") << count;
    EXPECT_NE(with(kEntries, count + 1), "") << count;
  }
  EXPECT_THAT(with<uint64_t>(kSequences, ~uint64_t{0}), HasSubstr("can hold"));
  EXPECT_THAT(with<uint64_t>(kEntries, 0), HasSubstr("no entry"));
  EXPECT_THAT(with<uint64_t>(kEntries, 2), HasSubstr("8 bytes follow"));
}

TEST_F(DamagedDataset, IsNamedByItsArrays) {
  EXPECT_THAT(with<int32_t>(kLengths, -1), HasSubstr("sequence 0 has -1 tokens"));
  EXPECT_THAT(with<int32_t>(kLengths, std::numeric_limits<int32_t>::max()), HasSubstr("holds 3"));
  EXPECT_THAT(with<int32_t>(kLengths + 4, 0), HasSubstr("cover 4 bytes, the .bin has 6"));
  EXPECT_THAT(with<int64_t>(kOffsets, 2), HasSubstr("sequence 0 lies at byte 2"));
  EXPECT_THAT(with<int64_t>(kOffsets + 8, -4), HasSubstr("sequence 1 lies at byte -4"));
  EXPECT_THAT(with<int64_t>(kDocuments, 1), HasSubstr("entry 0 of the document index"));
  EXPECT_THAT(with<int64_t>(kDocuments + 8, 3), HasSubstr("entry 1 of the document index"));
  EXPECT_THAT(with<int64_t>(kDocuments + 8, -1), HasSubstr("entry 1 of the document index"));
  EXPECT_THAT(with<int64_t>(kDocuments + 16, 1), HasSubstr("ends at 1 of 2 sequences"));
}

TEST_F(DamagedDataset, IsRefusedWhenCutAnywhere) {
  for (size_t size = 0; size < index_.size(); ++size) {
    folder_.write("x.idx", index_.substr(0, size));
    EXPECT_THAT(complaint(prefix_), HasSubstr("x.idx: ")) << size;
  }
  folder_.write("x.idx", index_ + '\0');
  EXPECT_THAT(complaint(prefix_), HasSubstr("1 bytes follow"));
  folder_.write("x.idx", index_);
  for (size_t size = 0; size < bin_.size(); ++size) {
    folder_.write("x.bin", bin_.substr(0, size));
    EXPECT_NE(complaint(prefix_), "") << size;
  }
  folder_.write("x.bin", bin_ + '\0');
  EXPECT_THAT(complaint(prefix_), HasSubstr("the .bin has 7"));
}

TEST_F(DamagedDataset, IsRefusedWhicheverBitOfTheIndexFlips) {
  for (size_t place = 0; place < index_.size(); ++place) {
    for (int bit = 0; bit < 8; ++bit) {
      const auto flipped = static_cast<char>(index_[place] ^ (1 << bit));
      // Only where the first document ends may be another number: 0 is as sound as 1.
      const bool sound = place == kDocuments + 8 && flipped == 0;
      EXPECT_EQ(with(place, flipped) == "", sound) << "byte " << place << " bit " << bit;
    }
  }
}

TEST_F(DamagedDataset, IsNamedWhenAFileIsMissing) {
  EXPECT_THAT(complaint(folder_.file("y")), HasSubstr("y.idx: No such file"));
  std::filesystem::remove(prefix_ + ".bin");
  EXPECT_THAT(complaint(prefix_), HasSubstr("x.bin: No such file"));
}

}  // namespace
}  // namespace enodia

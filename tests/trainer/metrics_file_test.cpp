#include "trainer/metrics/metrics_file.h"

#include <gmock/gmock.h>

#include "common/error.h"
#include "common/file.h"

namespace enodia {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class MetricsFiles : public testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  static std::string line(int64_t step) { return Json{{"step", step}}.dump() + "\n"; }
  static std::string lines(int64_t first, int64_t last) {
    return first > last ? "" : line(first) + lines(first + 1, last);
  }
  /// Opens the file for the steps after `step`; what was logged meanwhile.
  std::string open_after(int64_t step) {
    testing::internal::CaptureStderr();
    testing::internal::CaptureStdout();
    MetricsFile(path_, step);
    return testing::internal::GetCapturedStdout() + testing::internal::GetCapturedStderr();
  }
  void expect_mended(const std::string& before,
                     int64_t step,
                     const std::string& after,
                     int number) {
    write_file_atomically(path_, before);
    fs::remove(damaged_);
    const std::string log = open_after(step);
    EXPECT_EQ(read_file(path_), after);
    ASSERT_TRUE(fs::exists(damaged_)) << before;
    EXPECT_EQ(read_file(damaged_), before);
    EXPECT_THAT(log, HasSubstr(path_.string() + ":" + std::to_string(number) + ":"));
    EXPECT_THAT(log, HasSubstr(damaged_.string()));
  }

  const fs::path folder_ = fs::path(testing::TempDir()) / "enodia_metrics_files";
  const fs::path path_ = folder_ / "metrics.jsonl";
  const fs::path damaged_ = folder_ / "metrics.jsonl.damaged";
};

TEST_F(MetricsFiles, AreCutBackToTheCheckpointWithoutAWord) {
  for (const std::string& tail :
       {std::string(), std::string("{\"step\":6,\"lo"), std::string(9, '\0')}) {
    write_file_atomically(path_, lines(1, 5) + tail);
    EXPECT_EQ(open_after(3), "");
    EXPECT_EQ(read_file(path_), lines(1, 3));
  }
  EXPECT_FALSE(fs::exists(damaged_));
}

TEST_F(MetricsFiles, GoOnWhereTheyWereCut) {
  write_file_atomically(path_, lines(1, 5));
  MetricsFile(path_, 3).append({{"step", 4}});
  EXPECT_EQ(read_file(path_), lines(1, 4));
}

TEST_F(MetricsFiles, KeepEveryGoodLineAroundDamagedOnes) {
  for (const std::string junk : {"junk\n",
                                 "\n",
                                 "{\"step\":\"three\"}\n",
                                 "{\"step\":-1}\n",
                                 "{\"step\":1e400}\n",
                                 "{\"step\":18446744073709551615}\n",
                                 "[3]\n",
                                 "{\"loss\":3}\n",
                                 "{\"step\":2}\n",
                                 "{\"st\xff\xfe\n"}) {
    expect_mended(lines(1, 2) + junk + lines(3, 6), 5, lines(1, 5), 3);
  }
  expect_mended("junk\n" + lines(1, 2) + "junk\n" + lines(4, 6), 5, lines(1, 2) + lines(4, 5), 1);
}

TEST_F(MetricsFiles, KeepEveryOriginal) {
  for (int i = 0; i < 3; ++i) {
    write_file_atomically(path_, "junk " + std::to_string(i) + "\n" + lines(1, 2));
    open_after(2);
  }
  EXPECT_EQ(read_file(damaged_), "junk 0\n" + lines(1, 2));
  EXPECT_EQ(read_file(damaged_.string() + "-2"), "junk 1\n" + lines(1, 2));
  EXPECT_EQ(read_file(damaged_.string() + "-3"), "junk 2\n" + lines(1, 2));
}

TEST_F(MetricsFiles, SayWhenTheyCannotBeWritten) {
  fs::create_directory(path_);
  EXPECT_THROW(MetricsFile(path_, 0), FileError);
}

}  // namespace
}  // namespace enodia

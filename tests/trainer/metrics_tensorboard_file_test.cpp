#include <algorithm>
#include <array>
#include <cstdio>
#include <vector>

#include <gmock/gmock.h>

#include "common/error.h"
#include "common/file.h"
#include "common/json.h"
#include "trainer/metrics/tensorboard_file.h"

namespace enodia {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;

class TensorBoardFiles : public testing::Test {
 protected:
  void SetUp() override { fs::remove_all(folder_); }
  void TearDown() override { fs::remove_all(folder_); }

  /// The events of all files as the second implementation reads them, which checks every byte.
  std::vector<Json> events() const {
    FILE* pipe = popen((ENODIA_PYTHON_EVENTS " '" + folder_.string() + "' 2>&1").c_str(), "r");
    std::string output;
    std::array<char, 4096> part{};
    for (size_t count = 0; (count = std::fread(part.data(), 1, part.size(), pipe)) > 0;) {
      output.append(part.data(), count);
    }
    EXPECT_EQ(pclose(pipe), 0) << output;
    std::vector<Json> events;
    for (size_t first = 0; first < output.size();) {
      const size_t end = output.find('\n', first);
      events.push_back(Json::parse(output.substr(first, end - first)));
      first = end + 1;
    }
    return events;
  }
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder_)) {
      names.push_back(entry.path().filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  const fs::path folder_ = fs::path(testing::TempDir()) / "enodia_tensorboard_files";
};

TEST_F(TensorBoardFiles, HoldVersionStartAndEveryScalar) {
  TensorBoardFile file(folder_, 299, 1.5e9);
  const std::string long_tag = "load/" + std::string(300, 'x');
  const std::vector<Scalar> scalars{{"loss/train", 0.1}, {long_tag, -3e30}, {"zero", 0.0}};
  file.append(300, 1.5e9 + 0.25, scalars);
  file.append(int64_t{1} << 40, 1.5e9 + 1, std::vector<Scalar>{{"lr", 1e-300}});
  const std::vector<Json> found = events();  // while the file is still open: each event is flushed
  ASSERT_EQ(found.size(), 4);
  EXPECT_EQ(found[0], (Json{{"wall_time", 1.5e9}, {"file_version", "brain.Event:2"}}));
  EXPECT_EQ(found[1],
            (Json{{"wall_time", 1.5e9}, {"step", 300}, {"session_log", {{"status", 1}}}}));
  EXPECT_EQ(found[2],
            (Json{{"wall_time", 1.5e9 + 0.25},
                  {"step", 300},
                  {"summary",
                   {{"loss/train", static_cast<double>(0.1F)},
                    {long_tag, static_cast<double>(-3e30F)},
                    {"zero", 0.0}}}}));
  EXPECT_EQ(found[3]["step"], int64_t{1} << 40);
  EXPECT_EQ(found[3]["summary"], (Json{{"lr", 0.0}})) << "too small for float32";
}

TEST_F(TensorBoardFiles, SortByNameInOrderOfCreationWhateverTheClockSays) {
  int64_t number = 0;
  for (const double wall_time : {1.7e9, 1.7e9, 1.6e9, 1.7e9 + 0.9, 1.8e9}) {
    TensorBoardFile(folder_, number++, wall_time);
  }
  EXPECT_THAT(names(),
              ElementsAre("events.out.tfevents.1700000000.enodia",
                          "events.out.tfevents.1700000001.enodia",
                          "events.out.tfevents.1700000002.enodia",
                          "events.out.tfevents.1700000003.enodia",
                          "events.out.tfevents.1800000000.enodia"));
  std::vector<int64_t> starts;
  for (const Json& event : events()) {
    if (event.contains("session_log")) {
      starts.push_back(event["step"]);
    }
  }
  EXPECT_THAT(starts, ElementsAre(1, 2, 3, 4, 5));
}

TEST_F(TensorBoardFiles, SayWhereTheyCannotBeWritten) {
  write_file_atomically(folder_, "a file where the folder should be");
  try {
    TensorBoardFile(folder_, 0, 1.7e9);
    FAIL() << "nothing was thrown";
  } catch (const FileError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr(folder_.string()));
    EXPECT_THAT(error.what(), testing::HasSubstr("run.tensorboard"));
  }
}

}  // namespace
}  // namespace enodia

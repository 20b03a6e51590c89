#include <array>
#include <cstring>
#include <limits>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/error.h"
#include "common/file.h"
#include "common/json.h"
#include "common/random.h"
#include "tests/trainer/data_fixtures.h"
#include "trainer/data/prepare.h"

#include <sys/stat.h>

namespace enodia {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

/// Hundreds of ways to damage a sound data set: each is refused with a FileError (anything else
/// that is thrown fails the test) or leaves it a sound one.
class MutatedDataset : public testing::Test {
 protected:
  MutatedDataset() {
    const std::string text = folder_.write("a.jsonl",
                                           "{\"text\": \"once upon a time\"}\n{\"text\": \"b\"}\n"
                                           "{\"text\": \"the third of four documents\"}\n"
                                           "{\"text\": \"and so they lived\"}\n");
    prepare_dataset({.inputs = {text}, .output = prefix_, .tokenizer = "byte"});
    for (const char* suffix : {".idx", ".bin", ".json"}) {
      good_[suffix] = read_file(prefix_ + suffix);
    }
  }

  /// What opening and reading all of it says; empty when it is accepted. A data set that is
  /// accepted gives ids of its vocabulary, all of them.
  std::string complaint() const {
    try {
      const PreparedData data = open_prepared(prefix_);
      std::vector<int64_t> ids(static_cast<size_t>(data.dataset.num_tokens()));
      data.dataset.read(0, ids);
      EXPECT_EQ(ids.size() * 2, good_.at(".bin").size());
      for (const int64_t id : ids) {
        EXPECT_TRUE(id >= 0 && id < 257) << id;
      }
      data.dataset.fingerprint();
      return "";
    } catch (const FileError& error) {
      EXPECT_THAT(std::string(error.what()), HasSubstr("/"));  // names a file
      return error.what();
    }
  }

  std::string with(const std::string& suffix, const std::string& content) const {
    folder_.write("set" + suffix, content);
    std::string said = complaint();
    folder_.write("set" + suffix, good_.at(suffix));
    return said;
  }

  /// What is said when something that is no plain file takes this one's place.
  template <typename Make>
  std::string with_instead(const std::string& suffix, const Make& make) const {
    const fs::path path = prefix_ + suffix;
    fs::remove(path);
    make(path);
    std::string said = complaint();
    fs::remove_all(path);
    folder_.write("set" + suffix, good_.at(suffix));
    return said;
  }

  const TemporaryFolder folder_;
  const std::string prefix_ = folder_.file("set");
  std::map<std::string, std::string> good_;
};

TEST_F(MutatedDataset, IsRefusedWithAbsurdNumbersAnywhereInTheIndex) {
  constexpr std::array<uint64_t, 9> kAbsurd{uint64_t{1} << 63,
                                            ~uint64_t{0},
                                            (uint64_t{1} << 63) - 1,
                                            uint64_t{1} << 62,
                                            uint64_t{1} << 61,
                                            uint64_t{1} << 32,
                                            0xFFFFFFFFu,
                                            0x80000000u,
                                            0x7FFFFFFFu};
  const std::string& index = good_[".idx"];
  const size_t documents = 34 + 4 * 12;  // four sequences; other ends of documents may be sound
  int accepted = 0;
  int tried = 0;
  for (size_t place = 9; place + 8 <= index.size(); ++place) {
    for (const uint64_t value : kAbsurd) {
      std::string changed = index;
      std::memcpy(changed.data() + place, &value, sizeof(value));
      const bool sound = with(".idx", changed).empty();
      ASSERT_TRUE(!sound || place + 8 > documents) << "byte " << place << " value " << value;
      accepted += sound ? 1 : 0;
      ++tried;
    }
  }
  EXPECT_GT(tried, 500);
  EXPECT_LT(accepted, 10);
}

TEST_F(MutatedDataset, IsRefusedOrSoundAfterRandomEdits) {
  const RandomKey key(7);
  uint64_t draw = 0;
  const auto below = [&](size_t limit) {
    return static_cast<size_t>(random_uniform(key, draw++) * static_cast<double>(limit));
  };
  int refused = 0;
  for (int round = 0; round < 1500; ++round) {
    const std::string suffix = std::array{".idx", ".bin", ".json"}[round % 3];
    std::string content = good_[suffix];
    for (size_t edits = 1 + below(3); edits > 0; --edits) {
      const size_t place = below(content.size());
      const size_t length = std::min(content.size() - place, 1 + below(12));
      switch (below(4)) {
        case 0:
          content.erase(place, length);
          break;
        case 1:
          content.insert(place, content.substr(below(content.size()), length));
          break;
        case 2:
          content.replace(place, length, std::string(length, static_cast<char>(below(256))));
          break;
        default:
          content[place] = static_cast<char>(below(256));
      }
      content += content.empty() ? "x" : "";
    }
    refused += with(suffix, content).empty() ? 0 : 1;
  }
  EXPECT_GT(refused, 900);
  EXPECT_EQ(complaint(), "");
}

TEST_F(MutatedDataset, IsRefusedWithFilesOfAnotherDataSet) {
  const std::string text = folder_.write("b.txt", "another text of another length");
  prepare_dataset({.inputs = {text}, .output = folder_.file("other"), .tokenizer = "byte"});
  for (const char* suffix : {".idx", ".bin", ".json"}) {
    EXPECT_NE(with(suffix, read_file(folder_.file("other") + suffix)), "") << suffix;
    EXPECT_NE(with(suffix, ""), "") << suffix;
  }
  EXPECT_NE(with(".idx", good_[".bin"]), "");
  EXPECT_NE(with(".bin", good_[".idx"]), "");
}

TEST_F(MutatedDataset, IsRefusedWhenAFileIsOfAnotherKind) {
  for (const char* suffix : {".idx", ".bin", ".json"}) {
    EXPECT_NE(with_instead(suffix, [](const fs::path& path) { fs::create_directory(path); }), "");
    EXPECT_NE(with_instead(suffix, [](const fs::path& path) { ::mkfifo(path.c_str(), 0644); }), "");
    EXPECT_NE(with_instead(suffix, [](const fs::path& path) { fs::create_symlink(path, path); }),
              "");
    EXPECT_NE(
        with_instead(suffix, [](const fs::path& path) { fs::create_symlink("/dev/zero", path); }),
        "");
  }
  // A hole of a tebibyte takes no time and no memory.
  for (const char* suffix : {".idx", ".bin", ".json"}) {
    const fs::path path = prefix_ + suffix;
    fs::resize_file(path, uintmax_t{1} << 40);
    EXPECT_NE(complaint(), "") << suffix;
    folder_.write(std::string("set") + suffix, good_[suffix]);
  }
}

/// Every document empty and no sequence: the one index that is sound however many it promises.
TEST_F(MutatedDataset, IsRefusedWithAHoleForAnIndex) {
  std::string header = good_[".idx"].substr(0, 34);
  const uint64_t sequences = 0;
  const uint64_t entries = uint64_t{1} << 36;
  std::memcpy(header.data() + 18, &sequences, 8);
  std::memcpy(header.data() + 26, &entries, 8);
  folder_.write("set.idx", header);
  folder_.write("set.bin", "");
  fs::resize_file(prefix_ + ".idx", header.size() + entries * 8);
  EXPECT_THAT(complaint(), HasSubstr("documents"));
}

TEST_F(MutatedDataset, IsRefusedWithAHostileDescription) {
  const std::vector<std::string> hostile{
      "NaN",
      "[" + std::string(100000, '['),
      std::string(100000, '{'),
      R"({"tokens": 1, "tokens": 2})",
      R"({"tokens": 1e400})",
      R"({"tokens": 18446744073709551615})",
      "\xEF\xBB\xBF\xFF",
      std::string(1000, '\0'),
  };
  for (const std::string& text : hostile) {
    EXPECT_NE(with(".json", text), "") << text.substr(0, 60);
  }
  const Json good = parse_json(good_[".json"], "good");
  for (const auto& [key, value] : good.items()) {
    for (const Json& absurd : {Json(nullptr),
                               Json(true),
                               Json(-1),
                               Json(1.5),
                               Json(1e300),
                               Json(std::numeric_limits<uint64_t>::max()),
                               Json(int64_t{1} << 62),
                               Json(""),
                               Json("../../../etc/passwd"),
                               Json("/dev/zero"),
                               Json(std::string(5000, 'a')),
                               Json::array(),
                               Json::object({{"a", 1}})}) {
      Json changed = good;
      changed[key] = absurd;
      const bool sound = key == "text_bytes" && absurd == Json(int64_t{1} << 62);
      const std::string said = with(".json", changed.dump());
      const bool free = key == "tokenizer" && absurd.is_string();  // another file, or one not there
      EXPECT_TRUE(said.empty() == sound || free) << key << ": " << absurd << ": " << said;
    }
  }
}

}  // namespace
}  // namespace enodia

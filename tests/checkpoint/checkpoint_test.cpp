#include "checkpoint/native/checkpoint.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "collectives/loopback/loopback.h"
#include "common/error.h"
#include "common/hash.h"
#include "tests/checkpoint/states.h"

namespace enodia {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

constexpr std::array kCuts{Cut::kRows, Cut::kColumns, Cut::kTiles, Cut::kWhole};

class Resharding : public ::testing::TestWithParam<std::tuple<Cut, int>> {};

TEST_P(Resharding, LoadsTheSameBitsOnAnyRanks) {
  const auto [cut, world_size] = GetParam();
  const ScratchFolder scratch;
  const State state = make_state(1);
  save(state, cut, world_size, scratch.path(), 20);
  const Checkpoint checkpoint = Checkpoint::open(scratch.path() / "step_20");
  EXPECT_EQ(checkpoint.step(), 20);
  checkpoint.verify();
  for (const Cut other : kCuts) {
    for (int readers = 1; readers <= 4; ++readers) {
      expect_holds(checkpoint, state, other, readers);
    }
  }
}

TEST_P(Resharding, HashesTheLogicalTensor) {
  const auto [cut, world_size] = GetParam();
  const ScratchFolder scratch;
  const State state = make_state(2);
  save(state, cut, world_size, scratch.path(), 20);
  const Checkpoint checkpoint = Checkpoint::open(scratch.path() / "step_20");
  for (const LogicalTensor& tensor : state.tensors) {
    EXPECT_EQ(checkpoint.tensor_hash(tensor.name),
              hash_of(tensor.bytes.data(), tensor.bytes.size()))
        << tensor.name;
  }
}

INSTANTIATE_TEST_SUITE_P(AllCuts,
                         Resharding,
                         ::testing::Combine(::testing::ValuesIn(kCuts), ::testing::Range(1, 5)),
                         [](const auto& each) {
                           return name_of(std::get<0>(each.param)) + "On" +
                                  std::to_string(std::get<1>(each.param));
                         });

/// Every file of a folder by name.
std::map<std::string, std::string> files_of(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    files[entry.path().filename().string()] = content_of(entry.path());
  }
  return files;
}

TEST(Save, GivesEqualBytesForEqualStates) {
  const ScratchFolder scratch;
  const State state = make_state(3);
  save(state, Cut::kTiles, 3, scratch.path() / "a", 7);
  save(state, Cut::kTiles, 3, scratch.path() / "somewhere else", 7);
  const auto first = files_of(scratch.path() / "a" / "step_7");
  EXPECT_EQ(first.size(), 6U);  // three shards, two attachments, the manifest
  EXPECT_EQ(first, files_of(scratch.path() / "somewhere else" / "step_7"));
}

TEST(Save, GivesEqualBytesWhateverTheOrderOfShards) {
  const ScratchFolder scratch;
  const State state = make_state(3);
  const auto communicator = make_single_rank_communicator();
  Pieces pieces = cut_state(state, Cut::kTiles, 0, 1);
  save_checkpoint(*communicator, scratch.path() / "a", 7, pieces.shards, state.document, {});
  std::reverse(pieces.shards.begin(), pieces.shards.end());
  save_checkpoint(*communicator, scratch.path() / "b", 7, pieces.shards, state.document, {});
  EXPECT_EQ(files_of(scratch.path() / "a" / "step_7"), files_of(scratch.path() / "b" / "step_7"));
}

TEST(Save, LeavesNothingElseInTheFolder) {
  const ScratchFolder scratch;
  save(make_state(3), Cut::kRows, 2, scratch.path(), 7);
  save(make_state(4), Cut::kRows, 2, scratch.path(), 8);
  save(make_state(5), Cut::kRows, 2, scratch.path(), 8);  // again: replaces
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(scratch.path())) {
    names.push_back(entry.path().filename().string());
  }
  EXPECT_THAT(names, ::testing::UnorderedElementsAre("step_7", "step_8"));
  expect_holds(Checkpoint::open(scratch.path() / "step_8"), make_state(5), Cut::kWhole, 1);
}

TEST(Save, KeepsABrokenStepAside) {
  const ScratchFolder scratch;
  fs::create_directories(scratch.path() / "step_7");
  put_content(scratch.path() / "step_7" / "notes.txt", "mine");
  save(make_state(3), Cut::kRows, 2, scratch.path(), 7);
  EXPECT_EQ(content_of(scratch.path() / "step_7.broken" / "notes.txt"), "mine");
  expect_holds(Checkpoint::open(scratch.path() / "step_7"), make_state(3), Cut::kWhole, 1);
}

TEST(Save, KeepsAReplacedStepThatHoldsMore) {
  const ScratchFolder scratch;
  for (int seed = 1; seed <= 3; ++seed) {
    save(make_state(seed), Cut::kRows, 2, scratch.path(), 7);
    if (seed < 3) {
      put_content(scratch.path() / "step_7" / "notes.txt", "mine " + std::to_string(seed));
    }
  }
  EXPECT_EQ(content_of(scratch.path() / "step_7.old.broken" / "notes.txt"), "mine 1");
  EXPECT_EQ(content_of(scratch.path() / "step_7.old" / "notes.txt"), "mine 2");
  expect_holds(Checkpoint::open(scratch.path() / "step_7"), make_state(3), Cut::kWhole, 1);
}

TEST(Save, TouchesNothingForeignInTheWay) {
  const ScratchFolder scratch;
  put_content(scratch.path() / "step_7.tmp", "mine");
  EXPECT_THAT(file_error_of([&] { save(make_state(3), Cut::kRows, 2, scratch.path(), 7); }),
              HasSubstr("is in the way: it is not a folder"));
  EXPECT_EQ(content_of(scratch.path() / "step_7.tmp"), "mine");
}

/// Saves one float32 tensor of shape [4, 2]; rank r gives `boxes[r]`.
std::string error_of_boxes(const std::vector<std::vector<Box>>& boxes,
                           const Json& document = Json::object()) {
  const ScratchFolder scratch;
  std::vector<std::string> sentences(boxes.size());
  run_loopback(static_cast<int>(boxes.size()), [&](Communicator& communicator) {
    const auto rank = static_cast<size_t>(communicator.rank());
    std::vector<float> values(8);
    std::vector<Shard> shards;
    for (const Box& box : boxes[rank]) {
      shards.push_back({"w", DType::kFloat32, {4, 2}, box.offset, box.size, values.data()});
    }
    sentences[rank] = file_error_of(
        [&] { save_checkpoint(communicator, scratch.path(), 1, shards, document, {}); });
  });
  EXPECT_EQ(std::count(sentences.begin(), sentences.end(), sentences[0]),
            static_cast<int64_t>(sentences.size()));
  EXPECT_EQ(fs::exists(scratch.path() / "step_1"), sentences[0].empty());
  EXPECT_FALSE(fs::exists(scratch.path() / "step_1.tmp"));
  return sentences[0];
}

TEST(Save, ProvesThatEveryElementIsSavedOnce) {
  EXPECT_EQ(error_of_boxes({{{{0, 0}, {3, 2}}}, {{{3, 0}, {1, 2}}}}), "");
  EXPECT_EQ(error_of_boxes({{{{0, 0}, {4, 2}}}, {}}), "");  // a replica is saved by one rank
  EXPECT_THAT(error_of_boxes({{{{0, 0}, {3, 2}}}, {{{2, 0}, {2, 2}}}}),
              HasSubstr("tensor 'w' of shape [4, 2]: element [2, 0] lies in more than one box"));
  EXPECT_THAT(error_of_boxes({{{{0, 0}, {2, 2}}}, {{{3, 0}, {1, 2}}}}),
              HasSubstr("element [2, 0] lies in no box"));
  EXPECT_THAT(error_of_boxes({{{{0, 0}, {4, 2}}}, {{{0, 0}, {4, 2}}}}),
              HasSubstr("element [0, 0] lies in more than one box"));
  EXPECT_THAT(error_of_boxes({{}, {{{0, 0}, {5, 2}}}}),
              HasSubstr("rank 1: the shard of 'w' at [0, 0] of size [5, 2] is not inside"));
}

TEST(Save, RefusesADocumentThatWouldComeBackChanged) {
  const std::vector<std::vector<Box>> boxes{{{{0, 0}, {4, 2}}}, {}};
  EXPECT_THAT(error_of_boxes(boxes, Json{{"loss", std::nan("")}}), HasSubstr("NaN or infinity"));
  EXPECT_THAT(error_of_boxes(boxes, Json::array()), HasSubstr("must be a JSON object"));
  EXPECT_THAT(error_of_boxes(boxes, Json{{"name", "\xff"}}), HasSubstr("UTF-8"));
}

TEST(Save, NamesTwoRanksThatDisagree) {
  const ScratchFolder scratch;
  run_loopback(2, [&](Communicator& communicator) {
    std::vector<double> values(8);
    const bool first = communicator.rank() == 0;
    const std::vector<Shard> shards{
        {"w", first ? DType::kFloat32 : DType::kFloat64, {4}, {first ? 0 : 2}, {2}, values.data()}};
    EXPECT_THAT(file_error_of([&] {
                  save_checkpoint(communicator, scratch.path(), 1, shards, Json::object(), {});
                }),
                HasSubstr("tensor 'w' is float32 [4] on rank 0 but float64 [4] on rank 1"));
    EXPECT_THAT(file_error_of([&] {
                  save_checkpoint(
                      communicator, scratch.path(), first ? 5 : 6, {}, Json::object(), {});
                }),
                HasSubstr("rank 0 saves step 5 and rank 1 saves step 6"));
  });
  EXPECT_TRUE(fs::is_empty(scratch.path()));
}

TEST(Save, RefusesAttachmentsWithOtherNames) {
  const auto communicator = make_single_rank_communicator();
  for (const std::string name :
       {"../escape", "a/b", "", ".hidden", "manifest.json", "shard_00000.bin", "a b", "b\n"}) {
    const ScratchFolder scratch;
    const std::vector<Attachment> attachments{{name, "x"}};
    EXPECT_THAT(file_error_of([&] {
                  save_checkpoint(
                      *communicator, scratch.path(), 1, {}, Json::object(), attachments);
                }),
                HasSubstr("an attachment cannot be called"));
    EXPECT_TRUE(fs::is_empty(scratch.path()));
  }
  const ScratchFolder scratch;
  const std::vector<Attachment> twice{{"a", "x"}, {"a", "y"}};
  EXPECT_THAT(file_error_of([&] {
                save_checkpoint(*communicator, scratch.path(), 1, {}, Json::object(), twice);
              }),
              HasSubstr("'a' is repeated"));
}

TEST(Read, SaysWhatTheCheckpointHoldsInstead) {
  const ScratchFolder scratch;
  save(make_state(1), Cut::kRows, 2, scratch.path(), 1);
  const Checkpoint checkpoint = Checkpoint::open(scratch.path() / "step_1");
  std::vector<float> values(100);
  const auto error = [&](const Shard& wanted) {
    return file_error_of([&] { checkpoint.read(wanted); });
  };
  EXPECT_THAT(error({"absent", DType::kFloat32, {1}, {0}, {1}, values.data()}),
              HasSubstr("has no tensor 'absent'"));
  EXPECT_THAT(
      error({"layers.0.gate.weight", DType::kFloat32, {7, 6}, {0, 0}, {7, 6}, values.data()}),
      HasSubstr("as float32 [7, 5], but float32 [7, 6] is needed"));
  EXPECT_THAT(error({"layers.0.gate.weight", DType::kInt32, {7, 5}, {0, 0}, {7, 5}, values.data()}),
              HasSubstr("but int32 [7, 5] is needed"));
  EXPECT_THROW(
      checkpoint.read(
          {"layers.0.gate.weight", DType::kFloat32, {7, 5}, {1, 0}, {7, 5}, values.data()}),
      UsageError);
  EXPECT_THAT(file_error_of([&] { checkpoint.attachment("absent"); }),
              HasSubstr("has no attachment 'absent'"));
  EXPECT_TRUE(checkpoint.has_attachment("config.yaml"));
  EXPECT_FALSE(checkpoint.has_attachment("config.yam"));
  EXPECT_EQ(checkpoint.find("layers.0.gate"), nullptr);
}

TEST(Read, HashesATensorLargerThanItsBuffer) {
  const ScratchFolder scratch;
  std::vector<float> values(size_t{3} << 20);  // 12 MiB, saved in two column blocks
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(i % 1000003);
  }
  constexpr int64_t kRows = 1536;
  constexpr int64_t kColumns = 2048;
  run_loopback(2, [&](Communicator& communicator) {
    const int64_t width = kColumns / 2;
    const int64_t begin = communicator.rank() * width;
    std::vector<float> mine;
    for (int64_t row = 0; row < kRows; ++row) {
      const auto first = values.begin() + row * kColumns + begin;
      mine.insert(mine.end(), first, first + width);
    }
    const std::vector<Shard> shards{
        {"w", DType::kFloat32, {kRows, kColumns}, {0, begin}, {kRows, width}, mine.data()}};
    save_checkpoint(communicator, scratch.path(), 1, shards, Json::object(), {});
  });
  EXPECT_EQ(Checkpoint::open(scratch.path() / "step_1").tensor_hash("w"),
            hash_of(values.data(), values.size() * sizeof(float)));
}

}  // namespace
}  // namespace enodia

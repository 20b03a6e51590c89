#include "checkpoint/native/manifest.h"

#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/random.h"
#include "tests/checkpoint/states.h"

namespace enodia {
namespace {

using ::testing::HasSubstr;

/// A checkpoint of two ranks whose manifest a test rewrites.
class ManifestText : public ::testing::Test {
 protected:
  ManifestText() {
    save(state_, Cut::kTiles, 2, scratch_.path(), 20);
    text_ = content_of(path());
    Json json = parse_json(text_, "the manifest");
    json.erase("checksum");
    json_ = json;
  }

  std::filesystem::path path() const { return scratch_.path() / "step_20" / "manifest.json"; }

  /// Seals changed JSON: as an attacker would, who can compute checksums.
  static std::string sealed_text(const Json& json) {
    const std::string text = json.dump();
    return sealed(text.substr(0, text.size() - 1));
  }

  /// The error of opening and reading everything with this manifest.
  std::string error_with(const std::string& text) const {
    put_content(path(), text);
    return file_error_of([&] {
      const Checkpoint checkpoint = Checkpoint::open(path().parent_path());
      checkpoint.verify();
      for (const StoredTensor& tensor : checkpoint.tensors()) {
        checkpoint.tensor_hash(tensor.name);
      }
    });
  }

  std::string error_with(const std::function<void(Json&)>& change) const {
    Json changed = json_;
    change(changed);
    return error_with(sealed_text(changed));
  }

  const State state_ = make_state(1);
  const ScratchFolder scratch_;
  std::string text_;
  Json json_;
};

TEST_F(ManifestText, ReadsBackWhatWasWritten) {
  const Manifest manifest = parse_manifest(text_, "m");
  EXPECT_EQ(manifest_text(manifest), text_);
  EXPECT_EQ(error_with(text_), "");
  EXPECT_EQ(error_with([](Json&) {}), "");  // the test's own sealing is right
}

TEST_F(ManifestText, IsRefusedWhenCutAtAnyByte) {
  for (size_t length = 0; length < text_.size(); ++length) {
    ASSERT_THAT(file_error_of([&] { parse_manifest(text_.substr(0, length), "m"); }),
                HasSubstr("cut short"));
  }
  EXPECT_THAT(error_with(text_.substr(0, text_.size() / 2)), HasSubstr("cut short"));
  EXPECT_THAT(error_with(text_ + " "), HasSubstr("cut short or changed"));
  EXPECT_THAT(error_with(std::string()), HasSubstr("cut short"));
}

TEST_F(ManifestText, IsRefusedWhenCutAtAnyByteAndSealedAgain) {
  const std::string body(unsealed(text_, "m"));
  for (size_t length = 0; length < body.size(); ++length) {
    ASSERT_NE(file_error_of([&] { parse_manifest(sealed(body.substr(0, length)), "m"); }), "");
  }
}

TEST_F(ManifestText, IsRefusedWithAnyFlippedBit) {
  for (size_t bit = 0; bit < text_.size() * 8; ++bit) {
    std::string flipped = text_;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    ASSERT_NE(file_error_of([&] { parse_manifest(flipped, "m"); }), "") << "bit " << bit;
  }
}

TEST_F(ManifestText, SaysWhichVersionItNeeds) {
  EXPECT_THAT(error_with([](Json& json) { json["version"] = 2; }),
              HasSubstr("manifest.json: version is 2; this program reads version 1"));
  EXPECT_THAT(error_with([](Json& json) { json["format"] = "other"; }),
              HasSubstr("format is not 'enodia checkpoint'"));
  EXPECT_THAT(error_with([](Json& json) { json.erase("files"); }), HasSubstr("has no 'files'"));
  EXPECT_THAT(error_with([](Json& json) { json["more"] = 1; }),
              HasSubstr("has the unknown key 'more'"));
}

TEST_F(ManifestText, IsRefusedWithDuplicateKeysOrDeepNesting) {
  const std::string body(unsealed(text_, "m"));
  EXPECT_THAT(error_with(sealed(body + ", \"step\": 20")), HasSubstr("'step' occurs twice"));
  EXPECT_THAT(error_with(sealed(body + ", \"checksum\": \"\"")),
              HasSubstr("'checksum' occurs twice"));
  EXPECT_THAT(error_with(sealed("{\"a\": " + std::string(1000000, '[') + "1")),
              HasSubstr("nested deeper than 64"));
  EXPECT_THAT(error_with(sealed("{\"a\": 1e999")), HasSubstr("is not valid JSON"));
  EXPECT_THAT(error_with(sealed("{\"a\": \"\xff\"")), HasSubstr("is not valid JSON"));
}

struct Hostile {
  const char* name;
  std::function<void(Json&)> change;
  const char* sentence;
};

/// tensors: 0 experts [6, 4, 3], 1 gate [7, 5], 2 norm [11], 3 nothing, 4 optimizer.step, 5 text.
Json& tensor(Json& json, size_t index) {
  return json["tensors"][index];
}
Json& box(Json& json, size_t index, size_t number = 0) {
  return json["tensors"][index]["boxes"][number];
}

TEST_F(ManifestText, IsRefusedWithHostileValues) {
  constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();
  const std::vector<Hostile> cases{
      {"negative step", [](Json& j) { j["step"] = -1; }, "step must be an integer from 0"},
      {"huge step", [](Json& j) { j["step"] = UINT64_MAX; }, "step must be an integer from 0"},
      {"real step", [](Json& j) { j["step"] = 20.0; }, "step must be an integer"},
      {"document text", [](Json& j) { j["document"] = "x"; }, "document must be a JSON object"},
      {"files object", [](Json& j) { j["files"] = Json::object(); }, "files must be an array"},
      {"escape", [](Json& j) { j["files"][0]["name"] = "../../etc/passwd"; }, "must be called"},
      {"absolute", [](Json& j) { j["files"][0]["name"] = "/etc/passwd"; }, "must be called"},
      {"swapped",
       [](Json& j) { std::swap(j["files"][0], j["files"][1]); },
       "file 0 must be called shard_00000.bin"},
      {"hash", [](Json& j) { j["files"][0]["hash"] = "0"; }, "must be 32 hexadecimal digits"},
      {"wrong hash",
       [](Json& j) { j["files"][0]["hash"] = std::string(32, '0'); },
       "does not fit its checksum"},
      {"wrong box hash",
       [](Json& j) { box(j, 0)["hash"] = std::string(32, '0'); },
       "the bytes of tensor 'layers.0.experts.weight'"},
      {"attachment path",
       [](Json& j) { j["attachments"][0]["name"] = "a/b"; },
       "attachment cannot be called 'a/b'"},
      {"attachment twice",
       [](Json& j) { j["attachments"].push_back(j["attachments"][1]); },
       "is repeated or out of order"},
      {"attachment huge",
       [](Json& j) { j["attachments"][0]["bytes"] = int64_t{1} << 40; },
       "larger than 1 GiB"},
      {"tensor twice",
       [](Json& j) { j["tensors"].push_back(tensor(j, 5)); },
       "'text' is repeated or out of order"},
      {"nameless", [](Json& j) { tensor(j, 0)["name"] = ""; }, "1 to 512 printable"},
      {"control", [](Json& j) { tensor(j, 0)["name"] = "a\nb"; }, "1 to 512 printable"},
      {"dtype", [](Json& j) { tensor(j, 0)["dtype"] = "float31"; }, "unknown element type"},
      {"dtype number", [](Json& j) { tensor(j, 0)["dtype"] = 4; }, "dtype must be a text"},
      {"other dtype", [](Json& j) { tensor(j, 0)["dtype"] = "float64"; }, "does not take"},
      {"overflow",
       [](Json& j) {
         tensor(j, 0)["shape"] = {int64_t{1} << 32, int64_t{1} << 32, 3};
       },
       "larger than 2^60 bytes"},
      {"dimensions",
       [](Json& j) { tensor(j, 3)["shape"] = Json(std::vector<int>(9, 0)); },
       "more than 8 dimensions"},
      {"larger",
       [](Json& j) {
         tensor(j, 1)["shape"] = {8, 5};
       },
       "lies in no box"},
      {"smaller",
       [](Json& j) {
         tensor(j, 1)["shape"] = {6, 5};
       },
       "not inside it"},
      {"flat", [](Json& j) { tensor(j, 1)["shape"] = {35}; }, "not inside it"},
      {"outside",
       [](Json& j) {
         box(j, 1)["offset"] = {kHuge / 2, 0};
       },
       "not inside it"},
      {"negative offset",
       [](Json& j) {
         box(j, 1)["offset"] = {-1, 0};
       },
       "must be an integer"},
      {"empty box",
       [](Json& j) {
         box(j, 1)["size"] = {0, 3};
       },
       "is empty"},
      {"gap", [](Json& j) { tensor(j, 1)["boxes"].erase(1); }, "lies in no box"},
      {"unbacked", [](Json& j) { tensor(j, 1)["boxes"].clear(); }, "lies in no box"},
      {"overlap",
       [](Json& j) { box(j, 1, 1)["offset"] = box(j, 1)["offset"]; },
       "lies in more than one box"},
      {"box twice",
       [](Json& j) { tensor(j, 1)["boxes"].push_back(box(j, 1)); },
       "lies in more than one box"},
      {"bytes", [](Json& j) { box(j, 1)["bytes"] = 4; }, "does not take 4 bytes"},
      {"file", [](Json& j) { box(j, 1)["file"] = 2; }, "names file 2 of 2"},
      {"past the end",
       [](Json& j) { box(j, 1)["byte_offset"] = 1 << 20; },
       "does not lie inside shard_00000.bin"},
      {"far past the end",
       [](Json& j) { box(j, 1)["byte_offset"] = int64_t{1} << 62; },
       "does not lie inside shard_00000.bin"},
      {"crooked",
       [](Json& j) { box(j, 1)["byte_offset"] = 4; },
       "does not lie inside shard_00000.bin at a multiple"},
      {"shared bytes",
       [](Json& j) { box(j, 1)["byte_offset"] = box(j, 0)["byte_offset"]; },
       "two boxes share byte"},
      {"longer file",
       [](Json& j) { j["files"][0]["bytes"] = int64_t{1} << 50; },
       "bytes where the manifest says 1125899906842624"},
  };
  for (const Hostile& hostile : cases) {
    EXPECT_THAT(error_with(hostile.change), HasSubstr(hostile.sentence)) << hostile.name;
  }
}

/// The values of a JSON tree, parents first.
void collect(Json& value, std::vector<Json*>& values) {
  values.push_back(&value);
  for (Json& member : value) {
    if (value.is_structured()) {
      collect(member, values);
    }
  }
}

/// Changes one value at random: to something of another kind or size, or to a neighbor's.
void mutate(Json& json, uint64_t& counter) {
  const auto draw = [&](size_t bound) {
    return static_cast<size_t>(random_uniform(RandomKey(11), counter++) *
                               static_cast<double>(bound));
  };
  static const std::vector<Json> kValues{nullptr,
                                         true,
                                         "",
                                         "x",
                                         "../x",
                                         -1,
                                         0,
                                         1,
                                         2,
                                         3,
                                         255,
                                         256,
                                         512,
                                         1e300,
                                         0.5,
                                         INT64_MAX,
                                         INT64_MIN,
                                         UINT64_MAX,
                                         int64_t{1} << 62,
                                         int64_t{1} << 31,
                                         Json::array(),
                                         Json::object(),
                                         Json::array({1}),
                                         Json::array({0, 0}),
                                         "float32",
                                         "uint8",
                                         std::string(32, 'a')};
  std::vector<Json*> values;
  collect(json, values);
  Json& victim = *values[draw(values.size())];
  switch (draw(4)) {
    case 0:
      victim = Json(*values[draw(values.size())]);
      break;
    case 1:
      if (victim.is_structured() && !victim.empty()) {
        victim.erase(std::next(victim.begin(), static_cast<int64_t>(draw(victim.size()))));
        break;
      }
      [[fallthrough]];
    case 2:
      if (victim.is_array() && !victim.empty()) {
        victim.push_back(Json(victim[draw(victim.size())]));
        break;
      }
      [[fallthrough]];
    default:
      victim = kValues[draw(kValues.size())];
  }
}

TEST_F(ManifestText, NeverCrashesOnRandomChanges) {
  uint64_t counter = 0;
  int refused = 0;
  constexpr int kRounds = 3000;
  for (int round = 0; round < kRounds; ++round) {
    Json changed = json_;
    mutate(changed, counter);
    if (round % 3 == 0) {
      mutate(changed, counter);
    }
    refused += error_with(sealed_text(changed)).empty() ? 0 : 1;  // other exceptions fail the test
  }
  EXPECT_GT(refused, kRounds * 8 / 10);  // the rest changed the document or the step only
}

TEST(Manifest, HoldsManyTensorsAndBoxes) {
  Manifest manifest;
  manifest.files = {{shard_file_name(0), 0, std::string(32, '0')}};
  for (int64_t i = 0; i < 20000; ++i) {
    StoredTensor tensor{std::to_string(100000 + i), DType::kFloat32, {4, 2}, {}};
    for (int64_t k = 0; k < 4; ++k) {
      tensor.boxes.push_back({{{k, 0}, {1, 2}}, 0, (i * 4 + k) * 256, 8, std::string(32, 'a')});
    }
    manifest.tensors.push_back(std::move(tensor));
  }
  manifest.files[0].bytes = 20000 * 4 * 256;
  const std::string text = manifest_text(manifest);
  EXPECT_EQ(manifest_text(parse_manifest(text, "m")), text);
}

}  // namespace
}  // namespace enodia

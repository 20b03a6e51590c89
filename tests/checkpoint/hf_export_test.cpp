#include "checkpoint/hf/hf_export.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include <gtest/gtest.h>

#include "checkpoint/hf/hf_folder.h"
#include "checkpoint/hf/hf_names.h"
#include "checkpoint/safetensors/safetensors_folder.h"
#include "common/error.h"
#include "common/json.h"

#include "hf_models.h"
#include "states.h"

namespace enodia {
namespace {

namespace fs = std::filesystem;

void expect_holds(const fs::path& path, const NumberedWeights& weights) {
  const HfFolder folder(path);
  for (const ParameterShape& parameter : list_parameters(folder.config().model)) {
    EXPECT_EQ(whole_of(folder, parameter), whole_of(weights, parameter)) << parameter.name;
  }
}

TEST(HfExport, IsReadBackBitForBit) {
  for (const Json& json : {small_mixtral(), small_qwen3_moe()}) {
    const ScratchFolder scratch;
    const HfConfig config = config_of(json);
    write_hf_model(scratch.path(), config, NumberedWeights(), {});
    expect_holds(scratch.path(), NumberedWeights());
    EXPECT_TRUE(HfFolder(scratch.path()).config().model == config.model);
    EXPECT_EQ(read_json(scratch.path() / "config.json")["dtype"], "float32");
    EXPECT_TRUE(fs::exists(scratch.path() / "generation_config.json"));
    EXPECT_FALSE(fs::exists(scratch.path() / "model.safetensors.index.json"));

    // What was read is written as the same bytes.
    const ScratchFolder again;
    const HfFolder folder(scratch.path());
    write_hf_model(again.path(), folder.config(), folder, {});
    for (const char* name : {"config.json", "generation_config.json", "model.safetensors"}) {
      EXPECT_EQ(content_of(again.path() / name), content_of(scratch.path() / name)) << name;
    }
  }
}

TEST(HfExport, RoundsToTheNearestBfloat16) {
  const ScratchFolder scratch;
  write_hf_model(
      scratch.path(), config_of(small_qwen3_moe()), NumberedWeights(), {.dtype = DType::kBFloat16});
  expect_holds(scratch.path(), NumberedWeights(true));
  const Json config = read_json(scratch.path() / "config.json");
  EXPECT_EQ(config["dtype"], "bfloat16");
  EXPECT_EQ(config["torch_dtype"], "bfloat16");
}

/// One weight is another number.
class OneOddWeight : public NumberedWeights {
 public:
  explicit OneOddWeight(double value) : value_(value) {}
  void read(const Shard& wanted) const override {
    if (wanted.dtype == DType::kFloat32) {
      NumberedWeights::read(wanted);
      put(wanted, static_cast<float*>(wanted.data));
    } else {
      std::fill_n(static_cast<double*>(wanted.data), wanted.size.front(), 0.0);
      put(wanted, static_cast<double*>(wanted.data));
    }
  }

 private:
  template <typename Value>
  void put(const Shard& wanted, Value* values) const {
    if (wanted.name == "model.norm.weight") {
      values[7] = static_cast<Value>(value_);
    }
  }
  double value_;
};

TEST(HfExport, TellsWhichTensorIsNotFiniteAndKeepsIt) {
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    for (const double odd : {NAN, -INFINITY}) {
      const ScratchFolder scratch;
      EXPECT_EQ(
          write_hf_model(
              scratch.path(), config_of(small_mixtral()), OneOddWeight(odd), {.dtype = dtype}),
          "model.norm.weight");
      const float kept = whole_of(HfFolder(scratch.path()), {"model.norm.weight", {48}})[7];
      EXPECT_TRUE(std::isnan(odd) ? std::isnan(kept) : kept == odd) << kept;
    }
  }
  const ScratchFolder scratch;
  EXPECT_EQ(write_hf_model(scratch.path(), config_of(small_mixtral()), NumberedWeights(), {}),
            std::nullopt);
}

TEST(HfExport, RefusesAWeightThatTheTypeCannotHold) {
  const auto refusal = [](double value, DType dtype) {
    const ScratchFolder scratch;
    return file_error_of([&] {
      write_hf_model(
          scratch.path(), config_of(small_mixtral()), OneOddWeight(value), {.dtype = dtype});
    });
  };
  // bfloat16 ends at 3.3895e38, float32 at 3.4028e38.
  const std::string half = refusal(-3.4e38, DType::kBFloat16);
  for (const char* words :
       {"'model.norm.weight' holds -3.4e+38", "too large for bfloat16", "as float32"}) {
    EXPECT_NE(half.find(words), std::string::npos) << half;
  }
  EXPECT_EQ(refusal(-3.4e38, DType::kFloat32), "");
  const std::string whole = refusal(1e39, DType::kFloat32);
  EXPECT_NE(whole.find("'model.norm.weight' holds 1e+39, which is too large for float32; take"),
            std::string::npos)
      << whole;
}

TEST(HfExport, CutsIntoFilesOfBoundedSize) {
  constexpr int64_t kBound = 20000;  // fewer bytes than the embedding has
  const ScratchFolder scratch;
  write_hf_model(scratch.path(),
                 config_of(small_mixtral()),
                 NumberedWeights(),
                 {.dtype = DType::kFloat32, .max_file_bytes = kBound});
  expect_holds(scratch.path(), NumberedWeights());
  EXPECT_FALSE(fs::exists(scratch.path() / "model.safetensors"));

  const SafetensorsFolder files = SafetensorsFolder::open(scratch.path());
  const Json index = read_json(scratch.path() / "model.safetensors.index.json");
  EXPECT_EQ(index["weight_map"].size(), files.tensors().size());
  std::vector<int64_t> bytes(files.files().size()), tensors(files.files().size());
  int64_t total = 0;
  for (const SafetensorsTensor& tensor : files.tensors()) {
    const auto file = static_cast<size_t>(tensor.file);
    EXPECT_EQ(index["weight_map"][tensor.name], files.files()[file].filename().string());
    bytes[file] += tensor.end - tensor.begin;
    tensors[file] += 1;
    total += tensor.end - tensor.begin;
  }
  EXPECT_EQ(index["metadata"]["total_size"], total);
  EXPECT_GT(files.files().size(), 5);
  for (size_t file = 0; file < bytes.size(); ++file) {
    EXPECT_TRUE(bytes[file] <= kBound || tensors[file] == 1) << files.files()[file];
  }
  char last[64];
  std::snprintf(last, sizeof(last), "model-%05zu-of-%05zu.safetensors", bytes.size(), bytes.size());
  EXPECT_TRUE(fs::exists(scratch.path() / last));
}

TEST(HfExport, LeavesOtherWeightsAlone) {
  const ScratchFolder scratch;
  put_content(scratch.path() / "old.safetensors", "old");
  const std::string refusal = file_error_of(
      [&] { write_hf_model(scratch.path(), config_of(small_mixtral()), NumberedWeights(), {}); });
  EXPECT_NE(refusal.find("old.safetensors"), std::string::npos) << refusal;
  EXPECT_FALSE(is_hf_folder(scratch.path()));
  EXPECT_NE(file_error_of([&] {
              write_hf_model(
                  scratch.path() / "none", config_of(small_mixtral()), NumberedWeights(), {});
            }),
            "");
}

/// Fails when it has given some tensors, as a disk does.
class FailingWeights : public NumberedWeights {
 public:
  void read(const Shard& wanted) const override {
    if (wanted.name.find("layers.1") != std::string::npos) {
      throw FileError("worn out");
    }
    NumberedWeights::read(wanted);
  }
};

TEST(HfExport, LeavesNoModelBehindWhenItFails) {
  const ScratchFolder scratch;
  EXPECT_EQ(
      file_error_of([&] {
        write_hf_model(
            scratch.path(), config_of(small_mixtral()), FailingWeights(), {.max_file_bytes = 1});
      }),
      "worn out");
  EXPECT_FALSE(is_hf_folder(scratch.path()));
}

TEST(HfExport, PutsNumbersInOrder) {
  EXPECT_TRUE(comes_before("layers.2.a", "layers.10.a"));
  EXPECT_FALSE(comes_before("layers.10.a", "layers.2.a"));
  EXPECT_TRUE(comes_before("a", "b"));
  EXPECT_TRUE(comes_before("a", "a.1"));
  EXPECT_FALSE(comes_before("a.1", "a.1"));
}

TEST(HfFamily, IsTheFirstThatExpressesTheModel) {
  const ModelOptions mixtral = config_of(small_mixtral()).model;
  const ModelOptions qwen = config_of(small_qwen3_moe()).model;
  EXPECT_EQ(name_of(choose_family(mixtral, "")), "mixtral");
  EXPECT_EQ(name_of(choose_family(qwen, "")), "qwen3_moe");
  EXPECT_EQ(name_of(choose_family(qwen, "qwen3_moe")), "qwen3_moe");
  EXPECT_EQ(architecture_of(choose_family(mixtral, "")), "MixtralForCausalLM");
  for (const Json& json : small_models()) {
    const HfConfig config = config_of(json);
    EXPECT_EQ(&choose_family(config.model, ""), config.family) << name_of(*config.family);
  }
  EXPECT_EQ(list_families(),
            "mixtral, qwen3_moe, qwen2_moe, olmoe, glm4_moe, deepseek_v2, deepseek_v3");
}

std::string choice_error(const ModelOptions& model, std::string_view wanted) {
  try {
    choose_family(model, wanted);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

TEST(HfFamily, TellsWhyNoneExpressesTheModel) {
  ModelOptions model = config_of(small_qwen3_moe()).model;
  model.scoring_func = "sigmoid";
  model.num_shared_experts = 2;
  model.routed_scaling_factor = 2.5;
  model.attention_bias = true;
  const std::string error = choice_error(model, "");
  for (const char* words :
       {"mixtral cannot: model.use_qk_norm is true",
        "qwen3_moe cannot: model.scoring_func is sigmoid",
        "model.attention_output_bias is false, but model.attention_bias is true",
        "model.num_shared_experts is 2",
        "model.routed_scaling_factor is 2.5"}) {
    EXPECT_NE(error.find(words), std::string::npos) << words << " in " << error;
  }
  ModelOptions dense = config_of(small_mixtral()).model;
  dense.first_k_dense_replace = 1;
  EXPECT_NE(choice_error(dense, "mixtral").find("model.first_k_dense_replace is 1"),
            std::string::npos);
  dense.num_experts = 0;
  EXPECT_NE(choice_error(dense, "mixtral").find("model.num_experts is 0"), std::string::npos);
  ModelOptions raw = config_of(small_mixtral()).model;
  raw.norm_topk_prob = false;
  EXPECT_NE(choice_error(raw, "mixtral").find("model.norm_topk_prob is false"), std::string::npos);
  EXPECT_NE(choice_error(raw, "lama").find("'lama'"), std::string::npos);
}

}  // namespace
}  // namespace enodia

#include "checkpoint/hf/hf_folder.h"

#include <algorithm>
#include <map>

#include <gtest/gtest.h>

#include "checkpoint/native/box.h"
#include "checkpoint/safetensors/safetensors_folder.h"
#include "checkpoint/safetensors/safetensors_writer.h"

#include "hf_models.h"
#include "states.h"

namespace enodia {
namespace {

namespace fs = std::filesystem;

/// The tensors of a folder, to be changed before they are written.
struct Tensor {
  std::vector<int64_t> shape;
  std::vector<float> values;
};
using Tensors = std::map<std::string, Tensor>;

/// What write_hf_model writes, read back.
Tensors tensors_of(const Json& json) {
  const ScratchFolder scratch;
  write_hf_model(scratch.path(), config_of(json), NumberedWeights(), {});
  const SafetensorsFolder files = SafetensorsFolder::open(scratch.path());
  Tensors tensors;
  for (const SafetensorsTensor& tensor : files.tensors()) {
    Tensor& read = tensors[tensor.name];
    read.shape = tensor.shape;
    read.values.resize(static_cast<size_t>((tensor.end - tensor.begin) / 4));
    const Box all{std::vector<int64_t>(tensor.shape.size(), 0), tensor.shape};
    files.read(tensor, all, DType::kFloat32, read.values.data());
  }
  return tensors;
}

void put_folder(const fs::path& folder, const Json& json, const Tensors& tensors) {
  std::vector<SafetensorsSpec> specs;
  for (const auto& [name, tensor] : tensors) {
    specs.push_back({name, DType::kFloat32, tensor.shape});
  }
  SafetensorsWriter writer(folder / "model.safetensors", specs, {});
  for (const auto& [name, tensor] : tensors) {
    writer.write(std::as_bytes(std::span(tensor.values)));
  }
  writer.finish();
  put_content(folder / "config.json", json.dump());
}

/// Every parameter has its own values, whole and in a box of its middle.
void expect_numbered(const HfFolder& folder, const NumberedWeights& weights = NumberedWeights()) {
  for (const ParameterShape& parameter : list_parameters(folder.config().model)) {
    EXPECT_EQ(whole_of(folder, parameter), whole_of(weights, parameter)) << parameter.name;
    Shard box{parameter.name, DType::kFloat64, parameter.shape, {}, {}, nullptr};
    for (const int64_t size : parameter.shape) {
      box.offset.push_back(size / 3);
      box.size.push_back(size / 2);
    }
    std::vector<double> values(static_cast<size_t>(*element_count(box.size, 8)));
    box.data = values.data();
    folder.read(box);
    box.dtype = DType::kFloat32;
    std::vector<float> expected(values.size());
    box.data = expected.data();
    weights.read(box);
    EXPECT_TRUE(std::equal(values.begin(), values.end(), expected.begin(), expected.end()))
        << parameter.name;
  }
}

void expect_readable(const Json& json, const Tensors& tensors) {
  const ScratchFolder scratch;
  put_folder(scratch.path(), json, tensors);
  expect_numbered(HfFolder(scratch.path()));
}

std::string refusal_of(const Json& json, const Tensors& tensors) {
  const ScratchFolder scratch;
  put_folder(scratch.path(), json, tensors);
  return file_error_of([&] { HfFolder{scratch.path()}; });
}

void expect_refused(const Json& json,
                    const Tensors& tensors,
                    const std::vector<std::string>& words) {
  const std::string refusal = refusal_of(json, tensors);
  for (const std::string& word : words) {
    EXPECT_NE(refusal.find(word), std::string::npos) << "no " << word << " in: " << refusal;
  }
}

Tensors renamed(const Tensors& tensors, const std::string& from, const std::string& to) {
  Tensors all;
  for (const auto& [name, tensor] : tensors) {
    std::string other = name;
    if (const size_t at = other.find(from); at != std::string::npos) {
      other.replace(at, from.size(), to);
    }
    all[other] = tensor;
  }
  return all;
}

/// Experts as transformers 5 holds them: gate_up_proj [E, 2F, D] and down_proj [E, D, F].
Tensors fused(const Tensors& tensors, int64_t experts) {
  Tensors all;
  for (const auto& [name, tensor] : tensors) {
    const size_t at = name.find(".experts.");
    if (at == std::string::npos) {
      all[name] = tensor;
    } else if (name.find(".experts.0.") != std::string::npos &&
               name.ends_with("gate_proj.weight")) {
      const std::string block = name.substr(0, at) + ".experts.";
      Tensor& up = all[block + "gate_up_proj"];
      Tensor& down = all[block + "down_proj"];
      up.shape = {experts, 2 * tensor.shape[0], tensor.shape[1]};
      down.shape = {experts, tensor.shape[1], tensor.shape[0]};
      for (int64_t expert = 0; expert < experts; ++expert) {
        const auto append = [&](Tensor& to, const char* matrix) {
          const auto& from = tensors.at(block + std::to_string(expert) + matrix).values;
          to.values.insert(to.values.end(), from.begin(), from.end());
        };
        append(up, ".gate_proj.weight");
        append(up, ".up_proj.weight");
        append(down, ".down_proj.weight");
      }
    }
  }
  return all;
}

/// Mixtral's tensors with the names that other families give to experts' matrices.
Tensors with_new_names(const Tensors& tensors) {
  return renamed(
      renamed(renamed(tensors, ".w1.", ".gate_proj."), ".w3.", ".up_proj."), ".w2.", ".down_proj.");
}

Json tied(Json json) {
  json["tie_word_embeddings"] = true;
  return json;
}

TEST(HfFolder, ReadsExpertsOneByOne) {
  expect_readable(small_mixtral(), tensors_of(small_mixtral()));
  expect_readable(small_qwen3_moe(), tensors_of(small_qwen3_moe()));
  Json dense_first = small_qwen3_moe();
  dense_first["mlp_only_layers"] = {0};
  expect_readable(dense_first, tensors_of(dense_first));
  Json dense = small_qwen3_moe();
  dense["num_experts"] = dense["num_local_experts"] = 0;
  expect_readable(dense, tensors_of(dense));
  Json biased = small_qwen3_moe();
  biased["attention_bias"] = true;
  expect_readable(biased, tensors_of(biased));
  EXPECT_TRUE(tensors_of(biased).contains("model.layers.1.self_attn.o_proj.bias"));
}

TEST(HfFolder, HasTheNamesOfTheFamily) {
  const Tensors mixtral = tensors_of(small_mixtral());
  EXPECT_TRUE(mixtral.contains("model.layers.1.block_sparse_moe.gate.weight"));
  const std::string expert = "model.layers.0.block_sparse_moe.experts.3.";
  const NumberedWeights weights;
  EXPECT_EQ(mixtral.at(expert + "w1.weight").values,
            whole_of(weights, {"model.layers.0.mlp.experts.3.gate_proj.weight", {24, 48}}));
  EXPECT_EQ(mixtral.at(expert + "w3.weight").values,
            whole_of(weights, {"model.layers.0.mlp.experts.3.up_proj.weight", {24, 48}}));
  EXPECT_EQ(mixtral.at(expert + "w2.weight").values,
            whole_of(weights, {"model.layers.0.mlp.experts.3.down_proj.weight", {48, 24}}));
  EXPECT_EQ(mixtral.size(), 3 + 2 * (2 + 4 + 1 + 5 * 3));
}

TEST(HfFolder, ReadsFusedExperts) {
  expect_readable(small_qwen3_moe(), fused(tensors_of(small_qwen3_moe()), 5));
  const Tensors mixtral = fused(with_new_names(tensors_of(small_mixtral())), 5);
  expect_readable(small_mixtral(), mixtral);
  expect_readable(small_mixtral(), renamed(mixtral, ".block_sparse_moe.", ".mlp."));
}

TEST(HfFolder, ReadsMixtralUnderOldAndNewNames) {
  const Tensors old = tensors_of(small_mixtral());
  expect_readable(small_mixtral(), renamed(old, ".block_sparse_moe.", ".mlp."));
  expect_readable(small_mixtral(), with_new_names(old));
  expect_readable(small_mixtral(), with_new_names(renamed(old, ".block_sparse_moe.", ".mlp.")));
}

TEST(HfFolder, ReadsModelsWithoutTheHeadsPrefix) {
  const Json json = tied(small_qwen3_moe());
  expect_readable(json, renamed(tensors_of(json), "model.", ""));
}

TEST(HfFolder, PassesOverBuffersOfOldVersions) {
  Tensors tensors = tensors_of(small_mixtral());
  tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = {{1}, {1.0F}};
  expect_readable(small_mixtral(), tensors);
}

TEST(HfFolder, TakesAStoredHeadOfATiedModelWhenItIsTheEmbedding) {
  const Json json = tied(small_mixtral());
  Tensors tensors = tensors_of(json);
  EXPECT_FALSE(tensors.contains("lm_head.weight"));
  tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"];
  expect_readable(json, tensors);
  tensors["lm_head.weight"].values.back() += 1;
  expect_refused(json, tensors, {"lm_head.weight", "tie_word_embeddings"});
  tensors["lm_head.weight"] = {{1}, {0}};
  expect_refused(json, tensors, {"lm_head.weight", "tie_word_embeddings"});
}

TEST(HfFolder, NamesWhatIsMissing) {
  Tensors tensors = tensors_of(small_mixtral());
  tensors.erase("lm_head.weight");
  expect_refused(
      small_mixtral(), tensors, {"1 tensor is missing: 'lm_head.weight'", "tie_word_embeddings"});
  Json more = small_mixtral();
  more["num_hidden_layers"] = 3;
  expect_refused(more, tensors_of(small_mixtral()), {"22 tensors are missing", "model.layers.2."});
  expect_refused(small_qwen3_moe(),
                 tensors_of(small_mixtral()),
                 {"tensors are missing", "tensors have no place in the model"});
}

TEST(HfFolder, RefusesAbsurdSizesWithoutListingThem) {
  Json absurd = small_qwen3_moe();
  absurd["num_hidden_layers"] = 65536;
  absurd["num_experts"] = absurd["num_local_experts"] = 65536;
  const Tensors tensors = tensors_of(small_qwen3_moe());
  const std::vector<std::string> words{"config.json asks for 12885491715 weights",
                                       "num_hidden_layers is 65536",
                                       "experts 65536",
                                       std::to_string(tensors.size()) + " tensors",
                                       "at most " + std::to_string(tensors.size())};
  expect_refused(absurd, tensors, words);
  Tensors empty = tensors;  // no bytes, whatever its first dimension says
  empty["huge"] = {{int64_t{1} << 40, 0, 1}, {}};
  expect_refused(absurd, empty, {"at most " + std::to_string(tensors.size())});
}

TEST(HfFolder, NamesWhatHasNoPlace) {
  Tensors tensors = tensors_of(small_mixtral());
  tensors["model.layers.0.self_attn.q_proj.bias"] = {{60}, std::vector<float>(60)};
  expect_refused(small_mixtral(),
                 tensors,
                 {"1 tensor has no place in the model: 'model.layers.0.self_attn.q_proj.bias'"});
  Json fewer = small_mixtral();
  fewer["num_local_experts"] = 4;
  expect_refused(
      fewer, tensors_of(small_mixtral()), {"6 tensors have no place", "has shape [5, 48]"});
  Tensors both = tensors_of(small_qwen3_moe());
  both.merge(fused(both, 5));
  expect_refused(small_qwen3_moe(), both, {"4 tensors have no place", "gate_up_proj"});
}

TEST(HfFolder, TellsBothShapes) {
  Tensors tensors = tensors_of(small_qwen3_moe());
  Tensor& norm = tensors["model.layers.1.self_attn.q_norm.weight"];
  norm = {{3, 20}, std::vector<float>(60)};
  expect_refused(small_qwen3_moe(), tensors, {"q_norm.weight", "[3, 20]", "[20]"});
  tensors = fused(tensors_of(small_qwen3_moe()), 5);
  std::swap(tensors["model.layers.0.mlp.experts.down_proj"].shape[1],
            tensors["model.layers.0.mlp.experts.down_proj"].shape[2]);
  expect_refused(small_qwen3_moe(), tensors, {"down_proj", "[5, 24, 48]", "[5, 48, 24]"});
  Json padded = small_mixtral();
  padded["vocab_size"] = 90;
  expect_refused(padded, tensors_of(small_mixtral()), {"97 rows", "vocab_size", "90"});
}

TEST(HfFolder, RefusesWhatIsNoModel) {
  const ScratchFolder scratch;
  EXPECT_FALSE(is_hf_folder(scratch.path()));
  EXPECT_NE(file_error_of([&] { HfFolder{scratch.path()}; }), "");
  put_content(scratch.path() / "config.json", "{\"model_type\": \"mixtral\"");
  EXPECT_TRUE(is_hf_folder(scratch.path()));
  EXPECT_NE(file_error_of([&] { HfFolder{scratch.path()}; }).find("not valid JSON"),
            std::string::npos);
  put_content(scratch.path() / "config.json", small_mixtral().dump());
  EXPECT_NE(file_error_of([&] { HfFolder{scratch.path()}; }), "");
}

TEST(HfFolder, RefusesToReadWhatIsNotThere) {
  const ScratchFolder scratch;
  put_folder(scratch.path(), small_mixtral(), tensors_of(small_mixtral()));
  const HfFolder folder(scratch.path());
  float value = 0;
  const auto refusal = [&](const char* name, std::vector<int64_t> shape) {
    return file_error_of([&] { folder.read({name, DType::kFloat32, shape, {0}, {1}, &value}); });
  };
  EXPECT_EQ(refusal("model.norm.weight", {48}), "");
  EXPECT_NE(refusal("model.norm.bias", {48}).find("model.norm.bias"), std::string::npos);
  EXPECT_NE(refusal("model.norm.weight", {47}).find("[48]"), std::string::npos);
  EXPECT_NE(refusal("lm_head.weight", {97}).find("[97, 48]"), std::string::npos);
}

}  // namespace
}  // namespace enodia

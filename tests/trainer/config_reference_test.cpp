// What is documented is the schema and the rules that are checked: help, the page, differences.
#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/trainer/config_testing.h"
#include "trainer/config/config_rules.h"
#include "trainer/config/differences.h"
#include "trainer/config/reference.h"

namespace enodia {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::kMinimal;
using testing::parse;
using testing::problems_of;

std::vector<std::string> paths_of(const std::vector<KeyReference>& keys) {
  std::vector<std::string> paths;
  for (const KeyReference& key : keys) {
    paths.push_back(key.path());
  }
  return paths;
}

std::string refusal_of_topic(const std::string& topic) {
  try {
    find_reference(topic);
    return "";
  } catch (const ConfigError& error) {
    return error.what();
  }
}

TEST(ConfigReference, FindsKeysByPathNameAndSection) {
  EXPECT_THAT(paths_of(find_reference("optim.lr")), ElementsAre("optim.lr"));
  EXPECT_THAT(paths_of(find_reference("lr")), ElementsAre("optim.lr"));
  EXPECT_THAT(paths_of(find_reference("parallel")),
              ElementsAre("parallel.dp",
                          "parallel.tp",
                          "parallel.ep",
                          "parallel.zero1",
                          "parallel.dispatch_dtype",
                          "parallel.chunk_bytes",
                          "parallel.bucket_bytes"));
  EXPECT_THAT(paths_of(find_reference("train")), Contains("train.steps"));  // not data.train
}

TEST(ConfigReference, SuggestsWhatWasMeant) {
  EXPECT_EQ(refusal_of_topic("optim.lrr"),
            "there is no key or section 'optim.lrr'; did you mean 'optim.lr'?");
  EXPECT_EQ(refusal_of_topic("optin"), "there is no key or section 'optin'; did you mean 'optim'?");
  EXPECT_EQ(refusal_of_topic("learning_rate"),
            "there is no key or section 'learning_rate'; did you mean 'optim.lr'?");
  EXPECT_EQ(refusal_of_topic("zebra"),
            "there is no key or section 'zebra'; enodia help lists them");
  EXPECT_EQ(refusal_of_topic(""), "there is no key or section ''; enodia help lists them");
}

TEST(ConfigReference, TellsTypeDefaultMeaningAndRules) {
  const std::vector<KeyReference> keys = find_reference("model.num_key_value_heads");
  EXPECT_EQ(
      write_key(keys.at(0)),
      "model.num_key_value_heads: key and value heads; divides num_attention_heads\n"
      "  value    an integer from 1 to 65536\n"
      "  default  4\n"
      "  rules    model.num_key_value_heads must equal model.num_attention_heads with attention: "
      "mla, whose heads have keys of their own\n"
      "           model.num_key_value_heads must divide model.num_attention_heads\n");
  EXPECT_THAT(write_key(find_reference("train.steps").at(0)),
              HasSubstr("\n  default  none; it must be set\n"));
  EXPECT_THAT(write_key(find_reference("run.dir").at(0)), HasSubstr("\n  default  derived\n"));
  EXPECT_THAT(find_reference("num_attention_heads").at(0).rules,
              Contains("model.num_key_value_heads must divide model.num_attention_heads"));
}

TEST(ConfigReference, EveryWayOfWritingHoldsEveryKey) {
  const std::vector<KeyReference> keys = list_reference();
  const std::string overview = write_overview(keys);
  const std::string list = write_list(keys);
  const std::string page = write_markdown(keys);
  const Json json = to_json(keys);
  ASSERT_EQ(json.size(), keys.size());
  for (size_t i = 0; i < keys.size(); ++i) {
    EXPECT_THAT(overview, HasSubstr(keys[i].name));
    EXPECT_THAT(list, HasSubstr(keys[i].path() + " "));
    EXPECT_THAT(page, HasSubstr("| `" + keys[i].name + "` | " + keys[i].value + " | "));
    EXPECT_EQ(json[i].at("key"), keys[i].path());
    EXPECT_TRUE(json[i].contains("type"));
  }
  std::istringstream lines(overview);
  for (std::string line; std::getline(lines, line);) {
    EXPECT_LE(line.size(), 100u) << line;
  }
}

TEST(ConfigReference, DefaultsAreValuesThatTheReaderTakes) {
  for (const KeyReference& key : list_reference()) {
    if (!key.default_value.empty() && key.default_value != "derived") {
      EXPECT_THAT(problems_of(kMinimal, {key.path() + "=" + key.default_value}), IsEmpty());
    }
  }
}

TEST(ConfigRules, AreStatedWithoutValuesAndRemedies) {
  const std::vector<KeyRule> rules = list_rules();
  EXPECT_GE(rules.size(), 15u);
  for (const KeyRule& rule : rules) {
    EXPECT_EQ(rule.sentence.find_first_of("();"), std::string::npos) << rule.sentence;
    EXPECT_THAT(rule.sentence, HasSubstr(rule.paths.at(0)));
  }
}

// Each set of overrides breaks one rule; together they break all there are.
TEST(ConfigRules, EveryRuleBreaksWithAPlaceBothValuesAndARemedy) {
  const std::vector<std::vector<std::string>> breaking = {
      {"run.name=a/b"},
      {"run.progress=thread", "run.device=cuda"},
      {"model.head_dim=33"},
      {"model.num_key_value_heads=3"},
      {"model.num_experts_per_tok=9"},
      {"model.num_shared_experts=1", "model.num_experts=0"},
      {"model.first_k_dense_replace=5"},
      {"model.num_shared_experts=65536", "model.moe_intermediate_size=257"},
      {"model.qk_rope_head_dim=33", "model.attention=mla", "model.use_qk_norm=false"},
      {"model.partial_rotary_factor=0.3"},
      {"model.rope_theta=0.5", "model.rope_scaling=yarn"},
      {"model.rope_factor=0.5", "model.rope_scaling=yarn"},
      {"model.num_key_value_heads=2", "model.attention=mla", "model.use_qk_norm=false"},
      {"model.use_qk_norm=true", "model.attention=mla"},
      {"model.partial_rotary_factor=0.5", "model.attention=mla", "model.use_qk_norm=false"},
      {"model.num_shared_experts=2", "model.shared_expert_intermediate_size=3"},
      {"model.shared_expert_gate=true"},
      {"model.n_group=3"},
      {"model.topk_group=2"},
      {"model.num_experts_per_tok=3", "model.n_group=4"},
      {"router.device_groups=3"},
      {"parallel.tp=3"},
      {"optim.min_lr=0.1"},
      {"optim.warmup_samples=80", "optim.decay_samples=79"},
      {"optim.min_lr=1e-4", "optim.schedule=constant"},
      {"optim.decay_samples=5", "optim.schedule=constant"},
      {"train.steps=1000000000",
       "train.global_batch_size=1000000000",
       "train.sequence_length=2048"},
      {"train.global_batch_size=10"},
      {"train.sequence_length=2049"},
      {"optim.warmup_samples=801"},
      {"train.eval_interval=5"},
      {"optim.decay_samples=801", "optim.schedule=wsd"},
      {"optim.warmup_samples=501", "optim.decay_samples=300", "optim.schedule=wsd"},
      {"model.q_lora_rank=8"},
      {"router.device_loss_coef=0.5"},
      {"router.device_loss_coef=0.5", "router.device_groups=2", "model.num_experts=0"},
      {"parallel.dp=3"},
      {"parallel.ep=3"},
      {"placement.policy=enodia", "parallel.ep=1"},
      {"placement.stripes=3"},
      {"placement.reshard_interval=5", "parallel.ep=1"},
      {"placement.reshard_interval=5", "model.num_experts=1", "model.num_experts_per_tok=1"},
      {"router.forced_counts=trace", "router.forced_skew=1"},
      {"router.forced_counts=trace", "model.n_group=2"},
      {"train.virtual_compute=cluster"},
      {"train.virtual_compute=cluster", "run.progress=thread", "parallel.tp=2"},
      {"train.virtual_compute=cluster", "run.progress=thread", "train.recompute=layers"},
      {"train.virtual_compute=cluster", "run.progress=thread", "data.valid=text"},
      {"train.virtual_compute=cluster", "run.progress=thread", "placement.budget=measured"},
      {"train.virtual_compute=cluster", "run.progress=thread", "train.init=model"},
  };
  std::vector<std::vector<std::string>> documented;
  for (const KeyRule& rule : list_rules()) {
    documented.push_back(rule.paths);
  }
  std::vector<std::vector<std::string>> broken;
  for (const std::vector<std::string>& overrides : breaking) {
    const std::vector<std::string> problems = problems_of(kMinimal, overrides, 2);
    ASSERT_EQ(problems.size(), 1u) << overrides[0] << ": " << ::testing::PrintToString(problems);
    const std::string key = overrides[0].substr(0, overrides[0].find('='));
    EXPECT_TRUE(problems[0].starts_with("--set " + key + ": ")) << problems[0];
    EXPECT_NE(problems[0].find("; "), std::string::npos) << "no remedy: " << problems[0];
    for (const std::vector<std::string>& paths : documented) {
      const bool all_named = std::all_of(paths.begin(), paths.end(), [&](const auto& path) {
        return problems[0].find(path + " (") != std::string::npos;
      });
      if (all_named) {
        broken.push_back(paths);
      }
    }
  }
  for (const std::vector<std::string>& paths : documented) {
    if (paths.at(0) == "train.loss") {
      continue;  // it takes a program with a loss of its own
    }
    EXPECT_THAT(broken, Contains(paths)) << "nothing here breaks the rule on " << paths[0];
  }
}

std::vector<std::string> changes(const std::string& stored,
                                 const std::vector<std::string>& overrides) {
  const StoredConfig before = parse_stored_config(stored, "config.yaml");
  std::vector<std::string> texts;
  for (const ConfigChange& change :
       list_changes(before.config, before.unknown, parse(kMinimal, overrides))) {
    texts.push_back((change.allowed ? "" : "refused ") + change.text);
  }
  return texts;
}

TEST(ConfigDifferences, NameBothValuesAndTheSource) {
  const std::string stored = kMinimal + "run: {name: tiny, dir: runs/tiny}\n";
  EXPECT_THAT(changes(stored, {}), IsEmpty());
  EXPECT_THAT(changes(stored, {"optim.lr=5e-4", "run.seed=2", "data.order=sequential"}),
              ElementsAre("refused run.seed: 1 -> 2 (--set)",
                          "optim.lr: 0.001 -> 5e-04 (--set)",
                          "refused data.order: shuffled -> sequential (--set)"));
  EXPECT_THAT(changes(stored + "optim: {lr: 0.5}\n", {}),
              ElementsAre("optim.lr: 0.5 -> 0.001 (default)"));
  EXPECT_THAT(changes(stored + "checkpoint: {keep: 9}\n", {"train.steps=7"}),
              ElementsAre("train.steps: 100 -> 7 (--set)", "checkpoint.keep: 9 -> 2 (default)"));
}

TEST(ConfigDifferences, OlderConfigurationsLackKeysAndHaveOthers) {
  const std::string stored =
      kMinimal + "run: {name: tiny, dir: runs/tiny}\noptim: {speed: 3}\nquantum: {leap: [1]}\n";
  EXPECT_THAT(changes(stored, {}),
              ElementsAre("optim.speed: 3 -> this version has no such key",
                          "quantum.leap: ... -> this version has no such key"));
  EXPECT_THROW(parse_stored_config(kMinimal + "model: {leap: 3}\n", "x"), ConfigError);
  EXPECT_THROW(parse_stored_config(kMinimal + "router: {leap: 3}\n", "x"), ConfigError);
  EXPECT_THROW(parse_stored_config(kMinimal + "optim: {lr: fast}\n", "x"), ConfigError);
}

}  // namespace
}  // namespace enodia

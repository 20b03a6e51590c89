// Unknown keys, overrides, rules between keys, and that all is told at once.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/trainer/config_testing.h"

namespace enodia {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::kMinimal;
using testing::parse;
using testing::problems_of;

const std::string kRouterKeys =
    "aux_loss_coef, aux_loss_scope, device_loss_coef, device_groups, expert_bias_update_rate, "
    "jitter_eps, forced_skew, forced_counts, capacity_factor, drop_policy, z_loss_coef";

TEST(ConfigErrors, AreConfigErrorsWithExitCodeTwo) {
  try {
    parse("train: {}\n");
    FAIL() << "was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kConfig);
  }
}

TEST(ConfigErrors, AllAreToldAtOnceInTheOrderOfTheFile) {
  const std::string yaml =
      "train:\n"
      "  global_batch_size: 10\n"
      "  micro_batch_size: 4\n"
      "  sequence_length: many\n"
      "model:\n"
      "  hiden_size: 64\n"
      "  head_dim: 33\n"
      "  num_experts: 4\n"
      "  num_experts: 8\n"
      "data:\n"
      "  train:\n";
  EXPECT_THAT(
      problems_of(yaml, {"optim.lr=-1", "run.sed=3"}),
      ElementsAre(
          "tiny.yaml: train.steps is missing; it must be an integer from 1 to 1000000000 (updates "
          "of the weights)",
          "tiny.yaml:2:3: train.global_batch_size (10) must be a multiple of "
          "train.micro_batch_size (4); set it to 8 or 12, or train.micro_batch_size to 1, 2, 5 or "
          "10",
          "tiny.yaml:4:20: train.sequence_length must be an integer from 1 to 2147483647, not "
          "'many'",
          "tiny.yaml:6:3: unknown key 'model.hiden_size'; did you mean 'model.hidden_size'?",
          "tiny.yaml:7:3: model.head_dim (33) must be even, since rotary embeddings turn pairs of "
          "dims; set it to 32 or 34",
          "tiny.yaml:9:3: duplicate key 'model.num_experts'; it stands on line 8 already; keep one",
          "tiny.yaml:11:3: data.train has no value; it must be a prefix or a list of {prefix: "
          "PREFIX, weight: W}, or be left out",
          "--set optim.lr: optim.lr must be a number above 0, not '-1'",
          "--set run.sed: unknown key 'run.sed'; did you mean 'run.seed'?"));
}

TEST(ConfigErrors, UnknownKeysFindTheirSection) {
  const std::string head = kMinimal + "router:\n  ";
  const auto told = [&](const std::string& key) {
    return problems_of(head + key + ": 1\n").at(0).substr(std::string("tiny.yaml:9:3: ").size());
  };
  EXPECT_EQ(told("hidden_size"),
            "unknown key 'router.hidden_size'; did you mean 'model.hidden_size'?");
  EXPECT_EQ(told("hidden_siz"),
            "unknown key 'router.hidden_siz'; did you mean 'model.hidden_size'?");
  EXPECT_EQ(told("top_k"), "unknown key 'router.top_k'; did you mean 'model.num_experts_per_tok'?");
  EXPECT_EQ(told("bias"), "unknown key 'router.bias'; keys of router are " + kRouterKeys);
  EXPECT_EQ(told("\"a\\nb\""), "unknown key 'router.a\\x0ab'; keys of router are " + kRouterKeys);
}

TEST(ConfigErrors, UnknownSectionsAreGuessed) {
  const auto told = [&](const std::string& section) {
    return problems_of(kMinimal + section + "\n").at(0);
  };
  EXPECT_EQ(told("modle: {hidden_size: 3}"),
            "tiny.yaml:8:1: unknown section 'modle'; did you mean 'model'?");
  EXPECT_EQ(told("hidden_size: 3"),
            "tiny.yaml:8:1: unknown section 'hidden_size'; did you mean 'model.hidden_size'?");
  EXPECT_EQ(told("learning_rate: 3"),
            "tiny.yaml:8:1: unknown section 'learning_rate'; did you mean 'optim.lr'?");
  EXPECT_EQ(told("zebra: 3"),
            "tiny.yaml:8:1: unknown section 'zebra'; sections are run, model, router, parallel, "
            "placement, "
            "optim, data, train, checkpoint, trace");
}

TEST(ConfigErrors, OverridesMustNameOneKey) {
  const auto told = [&](const std::string& argument) {
    return problems_of(kMinimal, {argument}).at(0);
  };
  EXPECT_EQ(told("foo"),
            "--set: 'foo' is not section.key=value; write for example train.steps=100");
  EXPECT_EQ(told("=3"), "--set: '=3' is not section.key=value; write for example train.steps=100");
  EXPECT_EQ(told(""), "--set: '' is not section.key=value; write for example train.steps=100");
  EXPECT_EQ(told("router=3"),
            "--set router: 'router' is a section; set one of its keys: " + kRouterKeys);
  EXPECT_EQ(told("steps=3"), "--set steps: unknown section 'steps'; did you mean 'train.steps'?");
  EXPECT_EQ(told("trian.steps=3"),
            "--set trian.steps: unknown key 'trian.steps'; did you mean 'train.steps'?");
  EXPECT_EQ(told("train.steps.x=3"),
            "--set train.steps.x: unknown key 'train.steps.x'; did you mean 'train.steps'?");
  EXPECT_EQ(told("a\nb.c=3").find('\n'), std::string::npos);
  EXPECT_EQ(told("train.steps=3\nrun:"), "--set train.steps: train.steps must be a single line");
  EXPECT_EQ(told("train.steps=&a 3"), "--set train.steps: anchors are not supported; remove '&a'");
  EXPECT_EQ(told("optim.betas=[0.9"),
            "--set optim.betas: a list, mapping or alias cannot be a key; is a bracket left open?");
  EXPECT_THAT(told("optim.betas=[0.9, @]"), HasSubstr("--set optim.betas: this is not YAML: "));
}

TEST(ConfigErrors, LaterOverridesWin) {
  const TrainConfig config = parse(kMinimal, {"train.steps=7", "train.steps=9"});
  EXPECT_EQ(config.train.steps, 9);
  EXPECT_EQ(config.sources.at("train.steps").origin, "--set train.steps");
  EXPECT_EQ(parse("data:\n  train: x\n",
                  {"train.steps=1",
                   "train.global_batch_size=1",
                   "train.micro_batch_size=1",
                   "train.sequence_length=8"})
                .train.sequence_length,
            8);
}

TEST(ConfigErrors, RulesBetweenKeysSayWhatWouldDo) {
  const auto told = [&](const std::vector<std::string>& overrides) {
    const auto lines = problems_of(kMinimal, overrides);
    return lines.size() == 1 ? lines[0] : "not one line";
  };
  EXPECT_EQ(told({"model.num_key_value_heads=3", "model.num_attention_heads=8"}),
            "--set model.num_key_value_heads: model.num_key_value_heads (3) must divide "
            "model.num_attention_heads (8); set it to 1, 2, 4 or 8");
  EXPECT_EQ(told({"model.num_attention_heads=6"}),
            "--set model.num_attention_heads: model.num_key_value_heads (4) must divide "
            "model.num_attention_heads (6); set it to 1, 2, 3 or 6");
  EXPECT_EQ(told({"model.num_experts_per_tok=9"}),
            "--set model.num_experts_per_tok: model.num_experts_per_tok (9) must not exceed "
            "model.num_experts (8); set it to at most 8, or num_experts to at least 9");
  EXPECT_EQ(told({"model.first_k_dense_replace=5"}),
            "--set model.first_k_dense_replace: model.first_k_dense_replace (5) must not exceed "
            "model.num_hidden_layers (4); set it to at most 4");
  EXPECT_EQ(told({"model.num_experts=0", "model.num_shared_experts=1"}),
            "--set model.num_shared_experts: model.num_shared_experts (1) must be 0 when "
            "model.num_experts (0) is 0, a dense model; set it to 0, or num_experts to at least "
            "2");
  EXPECT_EQ(
      told({"model.num_shared_experts=65536", "model.moe_intermediate_size=257"}),
      "--set model.num_shared_experts: model.num_shared_experts (65536) times "
      "model.moe_intermediate_size (257) must not exceed 16777216; set num_shared_experts to at "
      "most 65280");
  EXPECT_EQ(told({"optim.min_lr=0.1"}),
            "--set optim.min_lr: optim.min_lr (0.1) must not exceed optim.lr (0.001); "
            "set it to at most 0.001");
  EXPECT_EQ(
      told({"optim.warmup_samples=801"}),
      "--set optim.warmup_samples: optim.warmup_samples (801) must not exceed train.steps "
      "(100) times train.global_batch_size (8) when optim.decay_samples (auto) is auto; set it "
      "to at most 800, or train.steps to at least 101");
  EXPECT_EQ(told({"optim.warmup_samples=80", "optim.decay_samples=79"}),
            "--set optim.warmup_samples: optim.warmup_samples (80) must not exceed "
            "optim.decay_samples (79); set it to at most 79, or decay_samples to auto");
  EXPECT_EQ(told({"optim.schedule=constant", "optim.min_lr=1e-4"}),
            "--set optim.min_lr: optim.min_lr (1e-04) must be 0 while optim.schedule "
            "(constant) is constant; set it to 0");
  EXPECT_EQ(told({"optim.schedule=constant", "optim.decay_samples=5"}),
            "--set optim.decay_samples: optim.decay_samples (5) must be auto while "
            "optim.schedule (constant) is constant; set it to auto");
  EXPECT_EQ(
      told({"optim.schedule=linear", "optim.warmup_samples=801"}),
      "--set optim.warmup_samples: optim.warmup_samples (801) must not exceed train.steps "
      "(100) times train.global_batch_size (8) when optim.decay_samples (auto) is auto; set it "
      "to at most 800, or train.steps to at least 101");
  EXPECT_EQ(
      told({"optim.schedule=wsd", "optim.decay_samples=801"}),
      "--set optim.decay_samples: optim.decay_samples (801) must not exceed train.steps (100) "
      "times train.global_batch_size (8) while optim.schedule (wsd) is wsd; set it to at most "
      "800, or to auto");
  EXPECT_EQ(told({"optim.schedule=wsd", "optim.decay_samples=300", "optim.warmup_samples=501"}),
            "--set optim.warmup_samples: optim.warmup_samples (501) and optim.decay_samples (300) "
            "must fit one after the other into train.steps (100) times train.global_batch_size (8) "
            "while optim.schedule (wsd) is wsd; set optim.warmup_samples to at most 500");
  EXPECT_EQ(
      told({"optim.schedule=wsd", "optim.warmup_samples=721"}),
      "--set optim.warmup_samples: optim.warmup_samples (721) and optim.decay_samples (auto) "
      "must fit one after the other into train.steps (100) times "
      "train.global_batch_size (8) while optim.schedule (wsd) is wsd; set optim.warmup_samples to "
      "at most 720");
  EXPECT_EQ(told({"optim.schedule=wsd", "optim.min_lr=0.1"}),
            "--set optim.min_lr: optim.min_lr (0.1) must not exceed optim.lr (0.001); "
            "set it to at most 0.001");
  EXPECT_EQ(told({"train.sequence_length=2049"}),
            "--set train.sequence_length: train.sequence_length (2049) must not exceed "
            "model.max_position_embeddings (2048); set it to at most 2048, or "
            "model.max_position_embeddings to at least 2049");
  EXPECT_EQ(told({"train.eval_interval=5"}),
            "--set train.eval_interval: train.eval_interval (5) needs held-out data in "
            "data.valid (\"\"); set data.valid to the prefix of a prepared data set, or "
            "train.eval_interval to 0");
  EXPECT_THAT(
      told({"train.steps=1000000000",
            "train.global_batch_size=1000000000",
            "train.sequence_length=2048"}),
      HasSubstr("must be at most 4611686018427387904 tokens; set train.steps to at most 2251799"));
}

TEST(ConfigErrors, RulesStaySilentAboutValuesThatWereRefused) {
  EXPECT_THAT(problems_of(kMinimal, {"model.num_attention_heads=6", "model.num_key_value_heads=x"}),
              ElementsAre(HasSubstr("model.num_key_value_heads must be an integer")));
}

TEST(ConfigErrors, SoundVariationsPass) {
  EXPECT_THAT(problems_of(kMinimal, {"model.num_experts=0"}), IsEmpty());
  EXPECT_THAT(problems_of(kMinimal, {"optim.schedule=constant", "optim.warmup_samples=9999"}),
              IsEmpty());
  EXPECT_THAT(problems_of(kMinimal, {"data.valid=x", "train.eval_interval=5"}), IsEmpty());
  EXPECT_THAT(problems_of(kMinimal,
                          {"optim.schedule=wsd",
                           "optim.decay_samples=300",
                           "optim.warmup_samples=500",
                           "optim.min_lr=1e-4"}),
              IsEmpty());
  EXPECT_THAT(problems_of(kMinimal, {"optim.clip_norm=0", "optim.min_lr=0.001"}), IsEmpty());
}

}  // namespace
}  // namespace enodia

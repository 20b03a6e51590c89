#include "trainer/config/config_rules.h"

#include <algorithm>

#include "common/check.h"
#include "common/sentence.h"

namespace enodia {
namespace {

/// Turns "key (value)" of a section's violation into "section.key (value)" and lists the paths.
BrokenRule qualify(const std::string& section,
                   const std::string& sentence,
                   std::span<const ConfigKey> keys) {
  constexpr std::string_view kNameCharacters = "abcdefghijklmnopqrstuvwxyz0123456789_.";
  const auto is_key = [&](const std::string& path) {
    return std::any_of(
        keys.begin(), keys.end(), [&](const auto& key) { return key.path() == path; });
  };
  BrokenRule rule;
  size_t copied = 0;
  for (size_t end = sentence.find(" ("); end != std::string::npos;
       end = sentence.find(" (", end + 1)) {
    const size_t before = sentence.find_last_not_of(kNameCharacters, end - 1);
    const size_t begin = before == std::string::npos ? 0 : before + 1;
    const std::string name = sentence.substr(begin, end - begin);
    const std::string path = is_key(name) ? name : section + "." + name;
    if (is_key(path)) {
      rule.sentence += sentence.substr(copied, begin - copied) + path;
      rule.paths.push_back(path);
      copied = end;
    }
  }
  rule.sentence += sentence.substr(copied);
  return rule;
}

/// Rules between sections; full paths already.
std::vector<std::string> violations_across(const TrainConfig& config) {
  std::vector<std::string> broken;
  const auto require = [&](bool holds, const auto&... words) {
    if (!holds) {
      broken.push_back(detail::concat(words...));
    }
  };
  const int64_t longest = config.model.max_position_embeddings;
  require(config.train.sequence_length <= longest,
          "train.sequence_length (",
          config.train.sequence_length,
          ") must not exceed model.max_position_embeddings (",
          longest,
          "); set it to at most ",
          longest);
  const ScheduleOptions& schedule = config.schedule;
  const int64_t samples = config.run_samples();
  const bool is_wsd = schedule.kind == ScheduleKind::kWsd;
  const bool auto_decay =
      schedule.kind != ScheduleKind::kConstant && !is_wsd && schedule.decay_samples == 0;
  require(!auto_decay || schedule.warmup_samples <= samples,
          "optim.warmup_samples (",
          schedule.warmup_samples,
          ") must not exceed train.steps (",
          config.train.steps,
          ") times train.global_batch_size (",
          config.train.global_batch_size,
          "); set it to at most ",
          samples);
  const int64_t decay = is_wsd ? schedule.wsd_decay(samples) : 0;
  require(
      decay <= samples,
      "optim.decay_samples (",
      schedule.decay_samples,
      ") is the length of the decay under optim.schedule (wsd) and must not exceed train.steps (",
      config.train.steps,
      ") times train.global_batch_size (",
      config.train.global_batch_size,
      "); set it to at most ",
      samples);
  require(!is_wsd || decay > samples || schedule.warmup_samples <= samples - decay,
          "optim.warmup_samples (",
          schedule.warmup_samples,
          ") and optim.decay_samples (",
          schedule.decay_samples == 0 ? "auto = " : "",
          decay,
          ") must fit one after the other into train.steps (",
          config.train.steps,
          ") times train.global_batch_size (",
          config.train.global_batch_size,
          ") under optim.schedule (wsd); set optim.warmup_samples to at most ",
          samples - decay);
  require(config.train.eval_interval == 0 || !config.data.valid.empty(),
          "train.eval_interval (",
          config.train.eval_interval,
          ") needs held-out data; set data.valid, or train.eval_interval to 0");
  return broken;
}

}  // namespace

std::vector<BrokenRule> find_broken_rules(const TrainConfig& config,
                                          std::span<const ConfigKey> keys) {
  std::vector<BrokenRule> rules;
  const auto add = [&](const std::string& section, const std::vector<std::string>& sentences) {
    for (const std::string& sentence : sentences) {
      rules.push_back(qualify(section, sentence, keys));
    }
  };
  add("run", config.run.violations());
  add("model", config.model.violations());
  add("router", config.router.violations());
  add("optim", config.optim.violations());
  add("optim", config.schedule.violations());
  add("train", config.train.violations());
  add("", violations_across(config));
  return rules;
}

ValueSource find_source(const TrainConfig& config, std::span<const std::string> paths) {
  for (const std::string& path : paths) {
    if (const auto source = config.sources.find(path); source != config.sources.end()) {
      return source->second;
    }
  }
  return {config.file_name};
}

std::vector<ConfigProblem> check_layout(const TrainConfig& config, int world_size) {
  ENODIA_CHECK(world_size > 0, "world_size ", world_size);
  std::vector<ConfigProblem> problems;
  const auto require = [&](bool holds, const char* path, const auto&... words) {
    if (!holds) {
      const std::string key = path;
      problems.push_back(
          {find_source(config, std::span(&key, 1)).place(), detail::concat(key, words...)});
    }
  };
  const int64_t dp = config.parallel.dp;
  require(dp == 0 || dp == world_size,
          "parallel.dp",
          " (",
          dp,
          ") must be the number of ranks (",
          world_size,
          "); start ",
          dp,
          " ranks, or set it to auto or ",
          world_size);
  const int64_t ep = config.parallel.ep == 0 ? world_size : config.parallel.ep;
  require(world_size % ep == 0,
          "parallel.ep",
          " (",
          ep,
          ") must divide the number of ranks (",
          world_size,
          "); set it to ",
          list_divisors(world_size));
  const int64_t batch = config.train.global_batch_size;
  const int64_t share = config.train.micro_batch_size * world_size;
  const int64_t below = batch / share * share;
  const std::string smaller = below > 0 ? detail::concat(below, " or ") : "";
  require(batch % share == 0,
          "train.global_batch_size",
          " (",
          batch,
          ") must be a multiple of train.micro_batch_size (",
          config.train.micro_batch_size,
          ") x dp (",
          world_size,
          ") = ",
          share,
          "; set it to ",
          smaller,
          below + share);
  return problems;
}

}  // namespace enodia

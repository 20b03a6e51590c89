#include "trainer/config/config_rules.h"

#include <algorithm>

#include "common/check.h"
#include "common/rules.h"
#include "common/sentence.h"

namespace enodia {
namespace {

using Collect = Rules::Collect;

/// Where the parenthesis that opens before a value closes; a text may hold others.
size_t find_close(const std::string& sentence, size_t open) {
  size_t close = sentence.find(')', open);
  while (close != std::string::npos && close + 1 < sentence.size() &&
         sentence.find_first_of(" ;,", close + 1) != close + 1) {
    close = sentence.find(')', close + 1);
  }
  return close;
}

/// Turns "key (1e-05)" of a section's sentence into "section.key (1e-05)", the value as it would be
/// written, and lists the paths.
KeyRule qualify(const std::string& section,
                const std::string& sentence,
                std::span<const ConfigKey> keys) {
  constexpr std::string_view kNameCharacters = "abcdefghijklmnopqrstuvwxyz0123456789_.";
  const auto find = [&](const std::string& path) {
    return std::find_if(
        keys.begin(), keys.end(), [&](const auto& key) { return key.path() == path; });
  };
  KeyRule rule;
  size_t copied = 0;
  for (size_t open = sentence.find(" ("); open != std::string::npos;
       open = sentence.find(" (", open + 1)) {
    const size_t before = sentence.find_last_not_of(kNameCharacters, open - 1);
    const size_t begin = before == std::string::npos ? 0 : before + 1;
    const std::string name = sentence.substr(begin, open - begin);
    const std::string path = find(name) != keys.end() ? name : section + "." + name;
    const auto key = find(path);
    const size_t close = find_close(sentence, open);
    if (key != keys.end() && close != std::string::npos) {
      rule.sentence += sentence.substr(copied, begin - copied) + path + " (" + key->write();
      rule.paths.push_back(path);
      copied = close;
    }
  }
  rule.sentence += sentence.substr(copied);
  return rule;
}

void check_batch(const TrainConfig& config, int world_size, Rules& rules) {
  const int64_t ranks = config.parallel.groups(std::max(world_size, 1));
  const int64_t batch = config.train.global_batch_size;
  const int64_t micro = std::max<int64_t>(config.train.micro_batch_size, 1);
  const int64_t share = micro * ranks;
  const int64_t below = batch / share * share;
  const std::string on_ranks = world_size == 0 ? ""
                                               : detail::concat(" times the number of ranks (",
                                                                world_size,
                                                                ") over parallel.tp (",
                                                                config.parallel.tp,
                                                                ")");
  const std::string or_micro =
      batch > 0 && batch % ranks == 0
          ? detail::concat(", or train.micro_batch_size to ", list_divisors(batch / ranks))
          : "";
  rules.relate(batch % share == 0,
               "train.global_batch_size (",
               batch,
               ") must be a multiple of train.micro_batch_size (",
               micro,
               ")",
               on_ranks,
               "; set it to ",
               below > 0 ? detail::concat(below, " or ") : "",
               below + share,
               or_micro);
}

void check_ranks(const TrainConfig& config, int world_size, Rules& rules) {
  const int64_t dp = config.parallel.dp;
  const int64_t tp = config.parallel.tp;
  rules.relate(world_size % tp == 0,
               "parallel.tp (",
               tp,
               ") must divide the number of ranks (",
               world_size,
               "); set it to ",
               list_divisors(world_size));
  rules.relate(dp == 0 || dp * tp == world_size || world_size % tp != 0,
               "parallel.dp (",
               dp,
               ") times parallel.tp (",
               tp,
               ") must be the number of ranks (",
               world_size,
               "); start ",
               dp * tp,
               " ranks, or set parallel.dp to auto or ",
               world_size / tp);
  const int64_t ep = config.parallel.ep == 0 ? world_size : config.parallel.ep;
  rules.relate(world_size % ep == 0,
               "parallel.ep (",
               ep,
               ") must divide the number of ranks (",
               world_size,
               "); set it to ",
               list_divisors(world_size),
               ", or to auto for all ranks");
  const bool is_owners = config.placement.policy == PlacementConfig::kOwners;
  rules.relate(is_owners || config.placement.policy == PlacementConfig::kAuto || ep == world_size,
               "placement.policy (",
               config.placement.policy,
               ") needs experts over all ranks, not over parallel.ep (",
               ep,
               ") of them; set parallel.ep to auto, or placement.policy to ",
               PlacementConfig::kOwners);
  const PlacementConfig& placement = config.placement;
  rules.relate(world_size % placement.stripes == 0,
               "placement.stripes (",
               placement.stripes,
               ") must divide the number of ranks (",
               world_size,
               "); set it to ",
               list_divisors(world_size));
  const int64_t experts = config.model.num_experts;
  rules.relate(placement.reshard_interval == 0 || experts == 0 || ep == world_size,
               "placement.reshard_interval (",
               placement.reshard_interval,
               ") needs experts over all ranks, not over parallel.ep (",
               ep,
               ") of them; set parallel.ep to auto, or placement.reshard_interval to 0");
  rules.relate(placement.reshard_interval == 0 || experts == 0 || experts >= world_size ||
                   config.placement_options(world_size).policy != nullptr,
               "placement.reshard_interval (",
               placement.reshard_interval,
               ") without a placement.policy (",
               placement.policy,
               ") needs model.num_experts (",
               experts,
               ") to be at least the number of ranks (",
               world_size,
               "); set it to 0, or placement.policy to enodia");
}

void check_device_groups(const TrainConfig& config, Rules& rules) {
  const int64_t experts = config.model.num_experts;
  rules.relate(experts > 0 || config.router.device_loss_coef == 0,
               "router.device_loss_coef (",
               config.router.device_loss_coef,
               ") must be 0 where model.num_experts (",
               experts,
               ") is; set it to 0");
  rules.relate(experts == 0 || experts % config.router.device_groups == 0,
               "router.device_groups (",
               config.router.device_groups,
               ") must divide model.num_experts (",
               config.model.num_experts,
               "); set it to ",
               list_divisors(std::max<int64_t>(experts, 1)));
}

void check_loss(const TrainConfig& config, Rules& rules) {
  rules.relate(config.parallel.tp == 1 || config.train.loss == kCrossEntropy,
               "train.loss (",
               config.train.loss,
               ") needs whole rows of logits, which ranks under parallel.tp (",
               config.parallel.tp,
               ") do not have; set parallel.tp to 1, or train.loss to ",
               kCrossEntropy);
}

void check_lengths(const TrainConfig& config, Rules& rules) {
  const int64_t longest = config.model.max_position_embeddings;
  const int64_t length = config.train.sequence_length;
  rules.relate(length <= longest,
               "train.sequence_length (",
               length,
               ") must not exceed model.max_position_embeddings (",
               longest,
               "); set it to at most ",
               longest,
               ", or model.max_position_embeddings to at least ",
               length);
}

void check_schedule(const TrainConfig& config, Rules& rules) {
  const ScheduleOptions& schedule = config.schedule;
  const int64_t batch = std::max<int64_t>(config.train.global_batch_size, 1);
  const int64_t samples = config.train.steps * batch;
  const int64_t warmup = schedule.warmup_samples;
  const bool is_wsd = schedule.kind == ScheduleKind::kWsd;
  const bool auto_decay =
      schedule.kind != ScheduleKind::kConstant && !is_wsd && schedule.decay_samples == 0;
  rules.relate(!auto_decay || warmup <= samples,
               "optim.warmup_samples (",
               warmup,
               ") must not exceed train.steps (",
               config.train.steps,
               ") times train.global_batch_size (",
               batch,
               ") when optim.decay_samples (auto) is auto; set it to at most ",
               samples,
               ", or train.steps to at least ",
               warmup / batch + (warmup % batch == 0 ? 0 : 1));
  const int64_t decay = is_wsd ? schedule.wsd_decay(samples) : 0;
  rules.relate(decay <= samples,
               "optim.decay_samples (",
               schedule.decay_samples,
               ") must not exceed train.steps (",
               config.train.steps,
               ") times train.global_batch_size (",
               batch,
               ") while optim.schedule (wsd) is wsd; set it to at most ",
               samples,
               ", or to auto");
  rules.relate(!is_wsd || decay > samples || warmup <= samples - decay,
               "optim.warmup_samples (",
               warmup,
               ") and optim.decay_samples (",
               schedule.decay_samples,
               ") must fit one after the other into train.steps (",
               config.train.steps,
               ") times train.global_batch_size (",
               batch,
               ") while optim.schedule (wsd) is wsd; set optim.warmup_samples to at most ",
               samples - decay);
}

void check_held_out(const TrainConfig& config, Rules& rules) {
  rules.relate(config.train.eval_interval == 0 || !config.data.valid.empty(),
               "train.eval_interval (",
               config.train.eval_interval,
               ") needs held-out data in data.valid (",
               config.data.valid,
               "); set data.valid to the prefix of a prepared data set, or train.eval_interval "
               "to 0");
}

/// Virtual computation gives no numbers, leaves out what happens inside tensor-parallel groups, and
/// moves no messages while it sleeps.
void check_virtual_compute(const TrainConfig& config, Rules& rules) {
  const bool off = config.train.computes();
  const std::string& file = config.train.virtual_compute;
  rules.relate(off || config.parallel.tp == 1,
               "train.virtual_compute (",
               file,
               ") must be off with parallel.tp (",
               config.parallel.tp,
               "), whose exchanges it leaves out; set parallel.tp to 1");
  rules.relate(off || config.run.progress == ProgressMode::kThread,
               "train.virtual_compute (",
               file,
               ") needs a thread that moves messages while a rank sleeps, not run.progress (auto); "
               "set run.progress to thread");
  rules.relate(off || config.train.recompute == Recompute::kNone,
               "train.virtual_compute (",
               file,
               ") keeps nothing that train.recompute (layers) could make again; set "
               "train.recompute to none");
  rules.relate(off || config.placement.budget != PlacementConfig::kMeasured,
               "train.virtual_compute (",
               file,
               ") plays a machine that placement.budget (measured) would not measure; set "
               "placement.budget to ",
               file,
               ", or to fixed");
  rules.relate(off || config.data.valid.empty(),
               "train.virtual_compute (",
               file,
               ") gives no loss to evaluate data.valid (",
               config.data.valid,
               ") by; leave data.valid out");
  rules.relate(off || config.train.init.empty(),
               "train.virtual_compute (",
               file,
               ") trains no weights, so that train.init (",
               config.train.init,
               ") is of no use; leave train.init out");
}

void check_forced_counts(const TrainConfig& config, Rules& rules) {
  const std::string& file = config.router.forced_counts;
  rules.relate(file.empty() || config.model.n_group == 1,
               "router.forced_counts (",
               file,
               ") cannot be kept where experts come from a few groups; set model.n_group (",
               config.model.n_group,
               ") to 1");
}

/// The sentences of all sections and of the rules between them.
std::vector<KeyRule> collect(const TrainConfig& config, int world_size, Collect collect) {
  TrainConfig copy = config;
  const std::vector<ConfigKey> keys = list_keys(copy);
  std::vector<KeyRule> found;
  const auto gather = [&](const std::string& section, const auto& check) {
    Rules rules(collect);
    check(rules);
    for (const std::string& sentence : std::move(rules).sentences()) {
      found.push_back(qualify(section, sentence, keys));
    }
  };
  gather("run", [&](Rules& rules) { config.run.check(rules); });
  gather("model", [&](Rules& rules) { config.model.check(rules); });
  gather("router", [&](Rules& rules) { config.router.check(rules); });
  gather("optim", [&](Rules& rules) { config.optim.check(rules); });
  gather("optim", [&](Rules& rules) { config.schedule.check(rules); });
  gather("train", [&](Rules& rules) {
    config.train.check(rules);
    check_batch(config, world_size, rules);
    check_lengths(config, rules);
    check_schedule(config, rules);
    check_held_out(config, rules);
    check_loss(config, rules);
    check_virtual_compute(config, rules);
    check_forced_counts(config, rules);
    check_device_groups(config, rules);
    if (world_size > 0) {
      check_ranks(config, world_size, rules);
    }
  });
  return found;
}

/// The rule itself: without the remedy and the values.
std::string statement_of(const std::string& sentence) {
  std::string statement = sentence.substr(0, sentence.find(';'));
  for (size_t open = statement.find(" ("); open != std::string::npos;
       open = statement.find(" (", open)) {
    statement.erase(open, statement.find(')', open) + 1 - open);
  }
  return statement;
}

}  // namespace

std::vector<KeyRule> find_broken_rules(const TrainConfig& config, int world_size) {
  return collect(config, world_size, Collect::kBroken);
}

std::vector<KeyRule> list_rules() {
  std::vector<KeyRule> rules = collect(TrainConfig{}, 1, Collect::kAll);
  for (KeyRule& rule : rules) {
    rule.sentence = statement_of(rule.sentence);
  }
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

}  // namespace enodia

#include "trainer/metrics/step_record.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace enodia {
namespace {

/// JSON has no NaN: a loss that is not finite becomes null.
Json number(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

/// printf would show the sign of a NaN.
double unsigned_nan(double value) {
  return std::isnan(value) ? std::fabs(value) : value;
}

/// By traffic: {"control": 512, ...}.
Json bytes_sent(const CommunicationCounts& communication) {
  Json json = Json::object();
  for (const Traffic traffic : kAllTraffic) {
    json[std::string(name_of(traffic))] = communication[traffic].bytes_sent;
  }
  return json;
}

template <typename... Args>
std::string printed(const char* format, Args... args) {
  std::array<char, 256> text{};
  std::snprintf(text.data(), text.size(), format, args...);
  return text.data();
}

/// Ratios of loads and entropies need no more digits, and there are many of them.
Json rounded(double value) {
  return number(std::round(value * 1e4) / 1e4);
}

/// One array a quantity, with one entry a MoE layer: a third of the size of an object a layer.
Json columns_of(const std::vector<LayerLoad>& layers) {
  Json columns;
  for (const LayerLoad& load : layers) {
    columns["layer"].push_back(load.layer);
    columns["p10"].push_back(rounded(load.p10));
    columns["p50"].push_back(rounded(load.p50));
    columns["p90"].push_back(rounded(load.p90));
    columns["max_violation"].push_back(rounded(load.max_violation));
    columns["dead"].push_back(load.dead);
    columns["hot"].push_back(load.hot);
    columns["entropy"].push_back(rounded(load.entropy));
    columns["normalized_entropy"].push_back(rounded(load.normalized_entropy));
  }
  return columns;
}

Json by_mode(const PlanModeCounts& plans) {
  Json json;
  for (size_t mode = 0; mode < plans.size(); ++mode) {
    json[std::string(kPlanModeNames[mode])] = plans[mode];
  }
  return json;
}

/// " (4.10 in layer 3) | dead 2": the worst layer in the unit of `imbalance`, where layers differ,
/// and how many experts of all layers had no token.
std::string notable_load(const std::vector<LayerLoad>& layers) {
  std::string text;
  int64_t dead = 0;
  for (const LayerLoad& load : layers) {
    dead += load.dead;
  }
  if (layers.size() > 1) {
    const auto worst =
        std::max_element(layers.begin(), layers.end(), [](const LayerLoad& a, const LayerLoad& b) {
          return a.max_violation < b.max_violation;
        });
    text += printed(
        " (%.2f in layer %lld)", 1.0 + worst->max_violation, static_cast<long long>(worst->layer));
  }
  return dead > 0 ? text + " | dead " + std::to_string(dead) : text;
}

}  // namespace

Json StepRecord::to_json() const {
  const Imbalance imbalance = imbalance_of(losses.load);
  Json json = {{"step", step},
               {"tokens", tokens},
               {"loss", number(losses.loss)},
               {"aux_loss", number(losses.aux_loss)},
               {"device_loss", number(losses.device_loss)},
               {"z_loss", number(losses.z_loss)},
               {"dropped_tokens", losses.load.dropped},
               {"grad_norm", number(update.grad_norm)},
               {"skipped", !update.applied},
               {"lr", lr},
               {"step_ms", times.total},
               {"tokens_per_s", tokens_per_s},
               {"tflops", tflops},
               {"peak_tflops", peak_tflops},
               {"mfu", mfu()},
               {"imbalance", {{"expert", imbalance.expert}, {"rank", imbalance.rank}}},
               {"replicas", losses.load.replicas},
               {"time_ms", times.to_json()},
               {"bytes", bytes_sent(communication)},
               {"memory_bytes", memory.to_json()}};
  if (!losses.load.entropy.empty()) {
    json["load"] = columns_of(summarize(losses.load));
    json["plans"] = by_mode(losses.load.plans);
    json["plan_hash"] = printed("%016llx", static_cast<unsigned long long>(losses.load.plan_hash));
  }
  if (std::isfinite(losses.route_margin)) {
    json["route_margin"] = losses.route_margin;
  }
  if (losses.objective) {
    json["objective"] = number(*losses.objective);
  }
  if (moves) {
    json["moved_experts"] = moves->experts;
    json["moved_bytes"] = moves->bytes;
    json["moving_ms"] = moves->ms;
  }
  if (valid_loss) {
    json["valid_loss"] = number(*valid_loss);
  }
  return json;
}

std::string StepRecord::to_line(int64_t num_steps) const {
  std::string line = printed(
      "step %lld/%lld | loss %.4f | aux %.3f | norm %.2f | lr %.2e | %.0f ms | %.1fk tok/s | mfu "
      "%.1f%% | "
      "imbalance %.2f",
      static_cast<long long>(step),
      static_cast<long long>(num_steps),
      losses.loss,
      losses.aux_loss,
      unsigned_nan(update.grad_norm),
      lr,
      times.total,
      tokens_per_s / 1000.0,
      100.0 * mfu(),
      imbalance_of(losses.load).expert);
  line += notable_load(summarize(losses.load));
  if (losses.load.replicas > 0) {
    line += printed(
        " | ranks %.2f | replicas %.1f", imbalance_of(losses.load).rank, losses.load.replicas);
  }
  if (moves && moves->experts > 0) {
    line += printed(
        " | moved %lld experts in %.0f ms", static_cast<long long>(moves->experts), moves->ms);
  }
  if (losses.load.dropped > 0) {
    line += " | dropped " + std::to_string(losses.load.dropped);
  }
  if (losses.objective) {
    line += printed(" | objective %.4f", *losses.objective);
  }
  if (!update.applied) {
    line += " | SKIPPED: the gradient is not finite";
  }
  if (valid_loss) {
    line += printed(" | held-out loss %.4f", *valid_loss);
  }
  return line;
}

std::vector<Scalar> StepRecord::to_scalars() const {
  const Imbalance imbalance = imbalance_of(losses.load);
  std::vector<Scalar> scalars = {{"loss/train", losses.loss},
                                 {"loss/aux", losses.aux_loss},
                                 {"loss/z", losses.z_loss},
                                 {"grad_norm", update.grad_norm},
                                 {"lr", lr},
                                 {"step_ms", times.total},
                                 {"tokens_per_s", tokens_per_s},
                                 {"tflops", tflops},
                                 {"mfu", mfu()},
                                 {"imbalance/expert", imbalance.expert},
                                 {"imbalance/rank", imbalance.rank}};
  if (losses.objective) {
    scalars.push_back({"loss/objective", *losses.objective});
  }
  if (valid_loss) {
    scalars.push_back({"loss/held_out", *valid_loss});
  }
  if (moves) {
    scalars.push_back({"moved/experts", static_cast<double>(moves->experts)});
    scalars.push_back({"moved/ms", moves->ms});
  }
  for (const LayerLoad& load : summarize(losses.load)) {
    const std::string prefix = "load/layer_" + std::to_string(load.layer) + "/";
    scalars.push_back({prefix + "max_violation", load.max_violation});
    scalars.push_back({prefix + "dead", static_cast<double>(load.dead)});
    scalars.push_back({prefix + "hot", static_cast<double>(load.hot)});
    scalars.push_back({prefix + "entropy", load.entropy});
  }
  return scalars;
}

}  // namespace enodia

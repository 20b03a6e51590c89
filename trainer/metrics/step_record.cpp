#include "trainer/metrics/step_record.h"

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

template <typename... Args>
std::string printed(const char* format, Args... args) {
  std::array<char, 256> text{};
  std::snprintf(text.data(), text.size(), format, args...);
  return text.data();
}

}  // namespace

Json StepRecord::to_json() const {
  Json json = {
      {"step", step},
      {"tokens", tokens},
      {"loss", number(losses.loss)},
      {"aux_loss", number(losses.aux_loss)},
      {"z_loss", number(losses.z_loss)},
      {"grad_norm", number(update.grad_norm)},
      {"skipped", !update.applied},
      {"lr", lr},
      {"step_ms", step_ms},
      {"tokens_per_s", tokens_per_s},
      {"tflops", tflops},
      {"peak_tflops", peak_tflops},
      {"mfu", mfu()},
      {"memory_bytes", memory.to_json()},
      {"imbalance", {{"expert", losses.imbalance.expert}, {"rank", losses.imbalance.rank}}}};
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
      step_ms,
      tokens_per_s / 1000.0,
      100.0 * mfu(),
      losses.imbalance.expert);
  if (!update.applied) {
    line += " | SKIPPED: the gradient is not finite";
  }
  if (valid_loss) {
    line += printed(" | held-out loss %.4f", *valid_loss);
  }
  return line;
}

}  // namespace enodia

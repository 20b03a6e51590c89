#include "trainer/run/drill.h"

#include <charconv>
#include <chrono>
#include <csignal>
#include <map>
#include <string_view>
#include <thread>

#include "common/error.h"
#include "common/log.h"

namespace enodia {
namespace {

std::optional<int64_t> parse_number(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool sound = error == std::errc() && end == text.data() + text.size();
  return sound ? std::optional(value) : std::nullopt;
}

}  // namespace

std::optional<Drill> parse_drill(const std::string& text, int world_size) {
  if (text.empty()) {
    return std::nullopt;
  }
  const std::map<std::string_view, Drill::Kind> kinds{
      {"stop", Drill::Kind::kStop}, {"skip", Drill::Kind::kSkip}, {"hang", Drill::Kind::kHang}};
  const std::string_view view = text;
  const size_t first = view.find(':');
  const size_t second = first == view.npos ? view.npos : view.find(':', first + 1);
  if (second != view.npos) {
    const auto kind = kinds.find(view.substr(0, first));
    const auto rank = parse_number(view.substr(first + 1, second - first - 1));
    const auto step = parse_number(view.substr(second + 1));
    if (kind != kinds.end() && rank && *rank >= 0 && *rank < world_size && step && *step >= 1) {
      return Drill{kind->second, static_cast<int>(*rank), *step};
    }
  }
  throw ConfigError("--drill " + text +
                    " must be KIND:RANK:STEP with a kind of stop, skip or hang, a rank from 0 to " +
                    std::to_string(world_size - 1) + " and a step from 1, as in --drill stop:0:3");
}

void Drill::perform(int this_rank, int64_t this_step, Recorder& recorder) const {
  if (this_rank != rank || this_step != step) {
    return;
  }
  switch (kind) {
    case Kind::kStop:
      log_warning("drill: this rank stops itself now");
      std::raise(SIGSTOP);
      return;
    case Kind::kSkip:
      log_warning("drill: this rank leaves out an operation in this step");
      recorder.leave_out_next(Traffic::kGradients);
      return;
    case Kind::kHang:
      log_warning("drill: this rank sleeps for ever now");
      while (true) {
        std::this_thread::sleep_for(std::chrono::hours(1));
      }
  }
}

}  // namespace enodia

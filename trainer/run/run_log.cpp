#include "trainer/run/run_log.h"

#include <cstdio>
#include <filesystem>

#include "common/file.h"

namespace enodia {
namespace {

std::filesystem::path file_of(const TrainConfig& config, const char* name) {
  return std::filesystem::path(config.run.dir) / name;
}

}  // namespace

RunLog::RunLog(const TrainConfig& config, int64_t first_step, ShowSteps show)
    : metrics_(file_of(config, "metrics.jsonl"), first_step),
      progress_(config.train.steps, config.train.log_interval, show == ShowSteps::kTerminal),
      show_(show) {
  write_file_atomically(file_of(config, "config.yaml"), to_yaml(config));
}

void RunLog::append(const StepRecord& record) {
  const Json json = record.to_json();
  metrics_.append(json);
  if (show_ == ShowSteps::kJson) {
    std::puts(json.dump().c_str());
  } else {
    progress_.show(record);
  }
}

}  // namespace enodia

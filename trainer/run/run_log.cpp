#include "trainer/run/run_log.h"

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string>

#include "common/error.h"
#include "common/file.h"
#include "common/log.h"

namespace enodia {
namespace {

std::filesystem::path file_of(const TrainConfig& config, const char* name) {
  return std::filesystem::path(config.run.dir) / name;
}

double seconds_since_1970() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

}  // namespace

RunLog::RunLog(const TrainConfig& config, int64_t first_step, ShowSteps show)
    : metrics_(file_of(config, "metrics.jsonl"), first_step),
      progress_(config.train.steps, config.train.log_interval, show == ShowSteps::kTerminal),
      show_(show) {
  if (config.run.tensorboard && first_step < config.train.steps) {
    tensorboard_.emplace(file_of(config, "tensorboard"), first_step, seconds_since_1970());
  }
  write_file_atomically(file_of(config, "config.yaml"), to_yaml(config));
}

void RunLog::append(const StepRecord& record) {
  const Json json = record.to_json();
  metrics_.append(json);
  append_event(record);
  if (show_ == ShowSteps::kJson) {
    std::puts(json.dump().c_str());
  } else {
    progress_.show(record);
  }
}

/// Events repeat what metrics.jsonl says: not worth a run.
void RunLog::append_event(const StepRecord& record) {
  if (!tensorboard_) {
    return;
  }
  try {
    tensorboard_->append(record.step, seconds_since_1970(), record.to_scalars());
  } catch (const FileError& error) {
    log_warning(std::string(error.what()) + "; training goes on, but no more events are written");
    tensorboard_.reset();
  }
}

void RunLog::show_evaluation(int64_t done, int64_t total) {
  if (show_ != ShowSteps::kJson) {
    progress_.show_evaluation(done, total);
  }
}

}  // namespace enodia

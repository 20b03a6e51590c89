#include "common/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace enodia {

void init_log(int rank, int world_size) {
  auto logger = spdlog::stderr_logger_mt("enodia.r" + std::to_string(rank));
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e %L r" + std::to_string(rank) + "/" +
                      std::to_string(world_size) + " %v");
  logger->set_level(rank == 0 ? spdlog::level::info : spdlog::level::warn);
  spdlog::set_default_logger(std::move(logger));
}

void log_info(const std::string& text) {
  spdlog::info("{}", text);
}
void log_warning(const std::string& text) {
  spdlog::warn("{}", text);
}
void log_error(const std::string& text) {
  spdlog::error("{}", text);
}

}  // namespace enodia

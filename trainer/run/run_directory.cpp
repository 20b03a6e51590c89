#include "trainer/run/run_directory.h"

#include <algorithm>
#include <filesystem>

#include "collectives/collectives.h"
#include "collectives/run_together.h"
#include "common/error.h"
#include "common/log.h"

namespace enodia {
namespace {

namespace fs = std::filesystem;

/// Anything but the file `lock`, which a job that failed at its start leaves.
bool holds_run(const fs::path& directory) {
  std::error_code error;
  const fs::directory_iterator entries(directory, error);
  return error || std::any_of(begin(entries), end(entries), [](const fs::directory_entry& entry) {
           return entry.path().filename() != "lock";
         });
}

RunLock take(const std::string& path) {
  if (std::optional<RunLock> lock = RunLock::try_take(path)) {
    return std::move(*lock);
  }
  throw ConfigError("another job trains in " + path + ": " + RunLock::holder(path) +
                    "; wait until it ends, or train in another folder (--fresh, or --set "
                    "run.dir=...)");
}

/// Takes the directory if nobody used or uses it. One that this job made is its own even where
/// locks do not work; another one only when the lock shows that nobody else is about to use it.
std::optional<RunLock> take_if_free(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  const bool made = fs::create_directory(path, error);
  if (!made && fs::exists(path) && holds_run(path)) {
    return std::nullopt;
  }
  std::optional<RunLock> lock = RunLock::try_take(path);
  const bool ours = lock && (made || (lock->works() && !holds_run(path)));
  return ours ? std::move(lock) : std::nullopt;
}

/// "runs/a/" would become "runs/a/-2".
std::string without_slashes(const std::string& path) {
  const size_t last = path.find_last_not_of('/');
  return last == std::string::npos ? path : path.substr(0, last + 1);
}

/// Changes `path` to the directory that it took.
RunLock take_fresh(std::string& path) {
  const std::string wanted = without_slashes(path);
  for (int number = 1;; ++number) {
    path = number == 1 ? wanted : wanted + "-" + std::to_string(number);
    if (std::optional<RunLock> lock = take_if_free(path)) {
      log_info("a fresh run starts in " + path +
               (number == 1 ? "" : "; " + wanted + " holds another"));
      return std::move(*lock);
    }
  }
}

}  // namespace

std::optional<RunLock> claim_run_directory(Communicator& world,
                                           TrainConfig& config,
                                           RunStart start) {
  std::string path = config.run.dir;
  std::optional<RunLock> lock;
  run_together(world, [&] {
    if (world.rank() == 0) {
      lock = start == RunStart::kFresh ? take_fresh(path) : take(path);
      if (!lock->works()) {
        log_warning("the file system of " + path +
                    " knows no locks (flock), so nothing keeps a second job out of it; see to it "
                    "that none is started there");
      }
    }
  });
  path = broadcast_text(world, path, 0);
  if (path != config.run.dir) {
    config.run.dir = path;
    config.sources["run.dir"] = {"--fresh"};
  }
  return lock;
}

}  // namespace enodia

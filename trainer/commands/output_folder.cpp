#include "trainer/commands/output_folder.h"

#include <system_error>

#include "common/error.h"
#include "common/file.h"

namespace enodia {
namespace {

namespace fs = std::filesystem;

/// "a/b/" names the folder "a/b".
fs::path without_slash(const std::string& folder) {
  const fs::path path = fs::path(folder).lexically_normal();
  return path.has_filename() ? path : path.parent_path();
}

}  // namespace

void require_free(const std::string& folder) {
  std::error_code error;
  const fs::file_status status = fs::status(folder, error);
  if (folder.empty() || (fs::exists(status) && !fs::is_directory(status))) {
    throw ConfigError("--output '" + folder + "' is no folder; name a new one");
  }
  if (fs::is_directory(status) && !fs::is_empty(folder, error)) {
    throw ConfigError("--output '" + folder +
                      "' holds something already, which is never replaced; name a new folder");
  }
}

OutputFolder::OutputFolder(const std::string& folder) : folder_(without_slash(folder)) {
  require_free(folder);
  partial_ = folder_;
  partial_ += ".enodia-partial";
  std::error_code error;
  fs::remove_all(partial_, error);  // of a run that was cut off
  fs::create_directories(partial_, error);
  if (error) {
    throw FileError("cannot make the folder " + partial_.string() + ": " + error.message());
  }
}

OutputFolder::~OutputFolder() {
  if (!committed_) {
    std::error_code ignored;
    fs::remove_all(partial_, ignored);
  }
}

void OutputFolder::commit() {
  sync_folder(partial_);
  std::error_code error;
  fs::remove(folder_, error);  // only an empty folder can be there
  fs::rename(partial_, folder_, error);
  if (error) {
    throw FileError("cannot rename " + partial_.string() + " to " + folder_.string() + ": " +
                    error.message());
  }
  committed_ = true;
  sync_folder(folder_.has_parent_path() ? folder_.parent_path() : fs::path("."));
}

}  // namespace enodia

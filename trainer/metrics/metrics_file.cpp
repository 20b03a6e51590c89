#include "trainer/metrics/metrics_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "common/error.h"
#include "common/log.h"

#include <fcntl.h>
#include <unistd.h>

namespace enodia {
namespace {

namespace fs = std::filesystem;

/// Of one line of the file; -1 when it is no step's object.
int64_t step_of(const std::string& line) {
  const Json record = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  const bool sound =
      record.is_object() && record.contains("step") && record["step"].is_number_integer();
  return sound ? record["step"].get<int64_t>() : -1;
}

/// Bytes of the leading lines that are whole objects of steps up to `last_step`.
int64_t kept_bytes(const fs::path& path, int64_t last_step) {
  std::ifstream file(path, std::ios::binary);
  int64_t kept = 0;
  for (std::string line; std::getline(file, line) && !file.eof();) {
    const int64_t step = step_of(line);
    if (step < 0 || step > last_step) {
      break;
    }
    kept += static_cast<int64_t>(line.size()) + 1;
  }
  return kept;
}

}  // namespace

MetricsFile::MetricsFile(const fs::path& path, int64_t last_step) : path_(path) {
  std::error_code error;
  if (fs::exists(path, error) && !fs::is_regular_file(path, error)) {
    throw FileError(path.string() + " is not a regular file; move it elsewhere");
  }
  if (fs::exists(path, error)) {
    fs::resize_file(path, static_cast<uintmax_t>(kept_bytes(path, last_step)), error);
  }
  descriptor_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (error || descriptor_ < 0) {
    throw FileError("cannot write " + path.string() + "; check that the run directory is writable");
  }
}

MetricsFile::~MetricsFile() {
  ::close(descriptor_);
}

void MetricsFile::append(const Json& record) {
  const bool failed_before = !unwritten_.empty();
  unwritten_ += record.dump() + '\n';
  const int error = write_out();
  if (error != 0 && !failed_before) {
    log_warning("cannot write " + path_.string() + ": " + std::strerror(error) +
                "; training goes on, and its lines are kept until they can be written");
  } else if (error == 0 && failed_before) {
    log_warning(path_.string() + " can be written again and is whole");
  }
}

void MetricsFile::finish() {
  const int error = write_out();
  if (error != 0) {
    const auto lines = std::count(unwritten_.begin(), unwritten_.end(), '\n');
    throw FileError("the last " + std::to_string(lines) + " lines of " + path_.string() +
                    " could not be written: " + std::strerror(error) + "; make room there");
  }
}

int MetricsFile::write_out() {
  while (!unwritten_.empty()) {
    const ssize_t count = ::write(descriptor_, unwritten_.data(), unwritten_.size());
    if (count < 0 && errno != EINTR) {
      return errno;
    }
    unwritten_.erase(0, static_cast<size_t>(std::max<ssize_t>(count, 0)));
  }
  return 0;
}

}  // namespace enodia

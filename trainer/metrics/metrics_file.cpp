#include "trainer/metrics/metrics_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "common/error.h"
#include "common/file.h"
#include "common/log.h"

#include <fcntl.h>
#include <unistd.h>

namespace enodia {
namespace {

namespace fs = std::filesystem;

/// The step of a line's object, 0 when it is no such object.
int64_t step_of(const std::string& line) {
  const Json record = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  const bool counts = record.is_object() && record.contains("step") &&
                      record["step"].is_number_integer() && record["step"] > 0;
  return counts ? record["step"].get<int64_t>() : 0;
}

/// Calls keep(line) for the lines of the steps up to `last_step`. A last line without its end was
/// being written when the run was killed; any other that is no object of a later step than the one
/// before is damaged. Returns the number of the first damaged line, 0 = none.
template <typename Keep>
int64_t read_steps(const fs::path& path, int64_t last_step, const Keep& keep) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    throw FileError("cannot read " + path.string() + "; check its permissions");
  }
  int64_t number = 0, previous = 0, first_damaged = 0;
  for (std::string line; std::getline(file, line) && !file.eof();) {
    ++number;
    const int64_t step = step_of(line);
    if (step <= previous) {
      first_damaged = first_damaged > 0 ? first_damaged : number;
      continue;
    }
    previous = step;
    if (step <= last_step) {
      keep(line);
    }
  }
  return first_damaged;
}

/// A name that is not taken: nothing that a user may want to look into is overwritten.
fs::path place_for_original(const fs::path& path) {
  fs::path place = path.string() + ".damaged";
  for (int copy = 2; fs::exists(place); ++copy) {
    place = path.string() + ".damaged-" + std::to_string(copy);
  }
  return place;
}

void mend(const fs::path& path, int64_t last_step, int64_t first_damaged) {
  const fs::path original = place_for_original(path);
  fs::copy_file(path, original);
  std::string lines;
  read_steps(path, last_step, [&](const std::string& line) { lines += line + '\n'; });
  write_file_atomically(path, lines);
  log_warning(path.string() + ":" + std::to_string(first_damaged) +
              ": not the object of a later step than the line before; lines like this are left "
              "out, and the file as it was is kept as " +
              original.string());
}

}  // namespace

MetricsFile::MetricsFile(const fs::path& path, int64_t last_step) : path_(path) {
  std::error_code error;
  if (fs::exists(path, error) && !fs::is_regular_file(path, error)) {
    throw FileError(path.string() + " is not a regular file; move it elsewhere");
  }
  try {
    if (fs::exists(path)) {
      uintmax_t kept_bytes = 0;
      const int64_t first_damaged = read_steps(
          path, last_step, [&](const std::string& line) { kept_bytes += line.size() + 1; });
      if (first_damaged > 0) {
        mend(path, last_step, first_damaged);
      } else {
        fs::resize_file(path, kept_bytes);
      }
    }
  } catch (const fs::filesystem_error& failure) {
    throw FileError("cannot write " + path.string() + ": " + failure.code().message() +
                    "; check that the run directory is writable");
  }
  descriptor_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (descriptor_ < 0) {
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

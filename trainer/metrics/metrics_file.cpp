#include "trainer/metrics/metrics_file.h"

#include <string>

#include "common/error.h"
#include "common/file.h"
#include "common/log.h"

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
  } catch (const fs::filesystem_error& error) {
    throw FileError("cannot write " + path.string() + ": " + error.code().message() +
                    "; check that the run directory is writable");
  }
  file_.open(path, std::ios::binary | std::ios::app);
  if (!file_) {
    throw FileError("cannot write " + path.string() + "; check that the run directory is writable");
  }
}

void MetricsFile::append(const Json& record) {
  file_ << record.dump() << '\n' << std::flush;
  if (!file_) {
    throw FileError("cannot write " + path_.string() + "; is the disk full?");
  }
}

}  // namespace enodia

#include "trainer/metrics/metrics_file.h"

#include <string>

#include "common/error.h"

namespace enodia {
namespace {

namespace fs = std::filesystem;

/// Bytes of the leading lines that are whole objects of steps up to `last_step`.
int64_t kept_bytes(const fs::path& path, int64_t last_step) {
  std::ifstream file(path, std::ios::binary);
  int64_t kept = 0;
  for (std::string line; std::getline(file, line) && !file.eof();) {
    const Json record = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!record.is_object() || record.value("step", int64_t{-1}) < 0 ||
        record.value("step", int64_t{0}) > last_step) {
      break;
    }
    kept += static_cast<int64_t>(line.size()) + 1;
  }
  return kept;
}

}  // namespace

MetricsFile::MetricsFile(const fs::path& path, int64_t last_step) : path_(path) {
  std::error_code error;
  if (fs::exists(path, error)) {
    fs::resize_file(path, static_cast<uintmax_t>(kept_bytes(path, last_step)), error);
  }
  file_.open(path, std::ios::binary | std::ios::app);
  if (error || !file_) {
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

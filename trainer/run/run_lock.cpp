#include "trainer/run/run_lock.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>

#include "common/error.h"
#include "common/file.h"
#include "common/json.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

namespace enodia {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const fs::path& path, const std::string& reason) {
  throw FileError("cannot make " + path.string() + ": " + reason +
                  "; choose another run.dir or make room and permissions for it");
}

std::string describe_this_process() {
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  ::localtime_r(&now, &local);
  std::array<char, 64> since{};
  std::strftime(since.data(), since.size(), "%Y-%m-%d %H:%M:%S %z", &local);
  const Json content{{"host", host.data()}, {"pid", ::getpid()}, {"since", since.data()}};
  return content.dump() + "\n";
}

/// A lock whose file tells nothing, on a full disk say, is a lock all the same.
void write_content(int file, const std::string& content) {
  if (::ftruncate(file, 0) == 0) {
    [[maybe_unused]] const ssize_t count = ::pwrite(file, content.data(), content.size(), 0);
  }
}

int lock_without_waiting(int file) {
  int result = 0;
  do {
    result = ::flock(file, LOCK_EX | LOCK_NB);
  } while (result != 0 && errno == EINTR);
  return result;
}

}  // namespace

std::optional<RunLock> RunLock::try_take(const fs::path& directory) {
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) {
    fail(directory, error.message());
  }
  const fs::path path = directory / "lock";
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0644);
  if (file < 0) {
    fail(path, std::strerror(errno));
  }
  RunLock lock(file, lock_without_waiting(file) == 0);
  if (!lock.works_ && errno == EWOULDBLOCK) {
    return std::nullopt;
  }
  write_content(file, describe_this_process());
  return lock;
}

std::string RunLock::holder(const fs::path& directory) {
  try {
    const Json content = parse_json(read_file(directory / "lock", 4096), "lock");
    return "process " + std::to_string(content.at("pid").get<int64_t>()) + " on " +
           content.at("host").get<std::string>() + " since " +
           content.at("since").get<std::string>();
  } catch (const std::exception&) {
    return "a process that its file 'lock' does not tell";
  }
}

RunLock::RunLock(RunLock&& other) noexcept
    : file_(std::exchange(other.file_, -1)),
      works_(other.works_) {}

RunLock& RunLock::operator=(RunLock&& other) noexcept {
  std::swap(file_, other.file_);
  std::swap(works_, other.works_);
  return *this;
}

RunLock::~RunLock() {
  if (file_ >= 0) {
    ::close(file_);
  }
}

}  // namespace enodia

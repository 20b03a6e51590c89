#include "common/file.h"

#include <cerrno>
#include <cstring>

#include "common/error.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace enodia {
namespace {

namespace fs = std::filesystem;

// Without O_NONBLOCK the open of a named pipe would wait for a writer, perhaps for ever.
constexpr int kRead = O_RDONLY | O_NONBLOCK;

[[noreturn]] void fail(const std::string& verb, const fs::path& path) {
  throw FileError("cannot " + verb + " " + path.string() + ": " + std::strerror(errno));
}

/// Closes on every way out.
class Descriptor {
 public:
  Descriptor(const fs::path& path, int flags, const std::string& verb)
      : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0644)) {
    if (fd_ < 0) {
      fail(verb, path);
    }
  }
  ~Descriptor() { ::close(fd_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

int64_t regular_size(const Descriptor& file, const fs::path& path) {
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) {
    fail("read", path);
  }
  if (!S_ISREG(status.st_mode)) {
    throw FileError("cannot read " + path.string() + ": it is not a regular file");
  }
  return status.st_size;
}

}  // namespace

std::string read_file(const fs::path& path, int64_t max_bytes) {
  const Descriptor file(path, kRead, "read");
  const int64_t size = regular_size(file, path);
  if (size > max_bytes) {
    throw FileError("cannot read " + path.string() + ": " + std::to_string(size) +
                    " bytes are more than the " + std::to_string(max_bytes) + " allowed here");
  }
  std::string content(static_cast<size_t>(size), '\0');
  size_t done = 0;
  while (done < content.size()) {
    const ssize_t count = ::read(file.get(), content.data() + done, content.size() - done);
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0) {
      fail("read", path);
    }
    if (count == 0) {
      throw FileError("cannot read " + path.string() + ": it shrank while it was read");
    }
    done += static_cast<size_t>(count);
  }
  return content;
}

void check_replaceable(const fs::path& path) {
  std::error_code error;
  const fs::file_status there = fs::status(path, error);
  if (fs::exists(there) && !fs::is_regular_file(there)) {
    throw FileError("cannot write " + path.string() + ": something other than a file is there");
  }
}

void write_file_atomically(const fs::path& path, std::string_view content) {
  check_replaceable(path);
  const fs::path beside = path.string() + ".tmp";
  {
    const Descriptor file(beside, O_WRONLY | O_CREAT | O_TRUNC, "write");
    while (!content.empty()) {
      const ssize_t count = ::write(file.get(), content.data(), content.size());
      if (count < 0 && errno == EINTR) {
        continue;
      }
      if (count < 0) {
        fail("write", beside);
      }
      content.remove_prefix(static_cast<size_t>(count));
    }
    if (::fsync(file.get()) != 0) {
      fail("flush", beside);
    }
  }
  if (::rename(beside.c_str(), path.c_str()) != 0) {
    fail("rename to", path);
  }
  sync_folder(path.has_parent_path() ? path.parent_path() : fs::path("."));
}

void sync_folder(const fs::path& path) {
  const Descriptor folder(path, O_RDONLY | O_DIRECTORY, "open the folder");
  if (::fsync(folder.get()) != 0 && errno != EINVAL) {  // some network file systems refuse it
    fail("flush the folder", path);
  }
}

MappedFile::MappedFile(const fs::path& path) {
  const Descriptor file(path, kRead, "read");
  size_ = regular_size(file, path);
  if (size_ == 0) {
    return;
  }
  void* address = ::mmap(nullptr, static_cast<size_t>(size_), PROT_READ, MAP_SHARED, file.get(), 0);
  if (address == MAP_FAILED) {
    fail("map", path);
  }
  data_ = static_cast<const std::byte*>(address);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) {
    ::munmap(const_cast<std::byte*>(data_), static_cast<size_t>(size_));
  }
}

}  // namespace enodia

#include "checkpoint/native/shard_writer.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "common/error.h"

#include <fcntl.h>
#include <unistd.h>

namespace enodia {
namespace {

constexpr int64_t kPieceBytes = int64_t{4} << 20;  // hashed and written while it is in the cache

}  // namespace

ShardWriter::ShardWriter(const std::filesystem::path& path) : path_(path) {
  descriptor_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
  if (descriptor_ < 0) {
    fail("create");
  }
}

ShardWriter::~ShardWriter() {
  if (descriptor_ >= 0) {
    ::close(descriptor_);
  }
}

void ShardWriter::fail(const std::string& verb) const {
  const bool missing = errno == ENOENT;  // the folder, which rank 0 has made
  throw FileError("cannot " + verb + " " + path_.string() + ": " + std::strerror(errno) +
                  (missing ? " (all ranks must share this file system)" : ""));
}

ShardWriter::Place ShardWriter::append(const void* bytes, int64_t count) {
  static constexpr std::array<std::byte, kBoxAlignment> kZeros{};
  write(kZeros.data(), (kBoxAlignment - size_ % kBoxAlignment) % kBoxAlignment);
  Place place{size_, ""};
  Hasher box_hasher;
  const auto* next = static_cast<const std::byte*>(bytes);
  for (int64_t left = count; left > 0;) {
    const int64_t piece = std::min(left, kPieceBytes);
    box_hasher.update(next, static_cast<size_t>(piece));
    write(next, piece);
    next += piece;
    left -= piece;
  }
  place.hash = box_hasher.hex();
  return place;
}

void ShardWriter::write(const void* bytes, int64_t count) {
  hasher_.update(bytes, static_cast<size_t>(count));
  size_ += count;
  const auto* next = static_cast<const std::byte*>(bytes);
  while (count > 0) {
    const ssize_t done = ::write(descriptor_, next, static_cast<size_t>(count));
    if (done < 0 && errno == EINTR) {
      continue;
    }
    if (done < 0) {
      fail("write");
    }
    next += done;
    count -= done;
  }
}

StoredFile ShardWriter::finish() {
  if (::fsync(descriptor_) != 0) {
    fail("flush");
  }
  // Network file systems report some write errors only here.
  if (::close(std::exchange(descriptor_, -1)) != 0) {
    fail("close");
  }
  return {path_.filename().string(), size_, hasher_.hex()};
}

}  // namespace enodia

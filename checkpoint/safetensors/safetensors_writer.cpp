#include "checkpoint/safetensors/safetensors_writer.h"

#include <cerrno>
#include <cstring>
#include <numeric>
#include <set>
#include <utility>

#include "checkpoint/native/box.h"
#include "checkpoint/safetensors/safetensors_elements.h"
#include "common/check.h"
#include "common/file.h"
#include "common/json.h"

#include <fcntl.h>
#include <unistd.h>

namespace enodia {
namespace {

namespace fs = std::filesystem;

/// The length and the JSON text, padded so that the data begins at a multiple of 8 bytes.
std::string header_of(const std::vector<SafetensorsSpec>& tensors,
                      const std::map<std::string, std::string>& metadata) {
  Json json = Json::object();
  if (!metadata.empty()) {
    json["__metadata__"] = metadata;
  }
  std::set<std::string> names{"__metadata__"};
  auto& members = json.get_ref<Json::object_t&>();
  int64_t begin = 0;
  for (const SafetensorsSpec& tensor : tensors) {
    ENODIA_CHECK(names.insert(tensor.name).second, tensor.name, " is there twice");
    const int64_t end = begin + tensor.bytes();
    // Not json[name], which looks through all members before it adds one.
    members.emplace_back(tensor.name,
                         Json{{"dtype", safetensors_type_of(tensor.dtype)},
                              {"shape", tensor.shape},
                              {"data_offsets", {begin, end}}});
    begin = end;
  }
  std::string text = json.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  std::string length;
  for (int shift = 0; shift < 64; shift += 8) {
    length += static_cast<char>(text.size() >> shift & 0xFF);
  }
  return length + text;
}

}  // namespace

int64_t SafetensorsSpec::bytes() const {
  const std::optional<int64_t> count = element_count(shape, size_of(dtype));
  ENODIA_CHECK(count.has_value(), name, " of shape ", text_of(shape));
  return *count * static_cast<int64_t>(size_of(dtype));
}

/// The file under its temporary name; removed again unless it was published.
struct SafetensorsWriter::File {
  explicit File(fs::path target);
  ~File();
  void write(std::span<const std::byte> bytes);
  void publish();
  [[noreturn]] void fail(const std::string& verb) const;

  fs::path path, beside;
  int descriptor = -1;
  bool published = false;
  int64_t missing_bytes = 0;  ///< of the data
};

SafetensorsWriter::File::File(fs::path target)
    : path(std::move(target)),
      beside(path.string() + ".tmp") {
  check_replaceable(path);
  descriptor = ::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
  if (descriptor < 0 && errno == ENOENT) {
    throw FileError("cannot write " + path.string() + ": its folder does not exist; make it first");
  }
  if (descriptor < 0) {
    fail("write");
  }
}

SafetensorsWriter::File::~File() {
  if (descriptor >= 0) {
    ::close(descriptor);
  }
  if (!published) {
    ::unlink(beside.c_str());
  }
}

void SafetensorsWriter::File::fail(const std::string& verb) const {
  throw FileError("cannot " + verb + " " + path.string() + ": " + std::strerror(errno));
}

void SafetensorsWriter::File::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::write(descriptor, bytes.data(), bytes.size());
    if (done < 0 && errno == EINTR) {
      continue;
    }
    if (done < 0) {
      fail("write");
    }
    bytes = bytes.subspan(static_cast<size_t>(done));
  }
}

void SafetensorsWriter::File::publish() {
  if (::fsync(descriptor) != 0) {
    fail("flush");
  }
  // Network file systems report some write errors only here.
  if (::close(std::exchange(descriptor, -1)) != 0) {
    fail("close");
  }
  if (::rename(beside.c_str(), path.c_str()) != 0) {
    fail("rename a file to");
  }
  published = true;
  sync_folder(path.has_parent_path() ? path.parent_path() : fs::path("."));
}

SafetensorsWriter::SafetensorsWriter(fs::path path,
                                     std::vector<SafetensorsSpec> tensors,
                                     const std::map<std::string, std::string>& metadata) {
  const std::string header = header_of(tensors, metadata);
  file_ = std::make_unique<File>(std::move(path));
  for (const SafetensorsSpec& tensor : tensors) {
    file_->missing_bytes += tensor.bytes();
  }
  file_->write(std::as_bytes(std::span(header)));
}

SafetensorsWriter::~SafetensorsWriter() = default;

void SafetensorsWriter::write(std::span<const std::byte> bytes) {
  ENODIA_CHECK(std::ssize(bytes) <= file_->missing_bytes, "more data than tensors");
  file_->write(bytes);
  file_->missing_bytes -= std::ssize(bytes);
}

void SafetensorsWriter::finish() {
  ENODIA_CHECK_EQ(file_->missing_bytes, 0, "bytes of the tensors have not been written");
  file_->publish();
}

}  // namespace enodia

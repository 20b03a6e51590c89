#include <algorithm>
#include <utility>

#include "checkpoint/native/manifest.h"
#include "common/error.h"

namespace enodia {
namespace {

constexpr int64_t kMaxAttachmentBytes = int64_t{1} << 30;
constexpr size_t kMaxNameBytes = 512;

/// The rules that look at one thing at a time; every method throws FileError.
class Checker {
 public:
  Checker(const Manifest& manifest, const std::string& source)
      : manifest_(manifest),
        source_(source),
        used_(manifest.files.size()) {}

  void check_document() const {
    require(manifest_.document.is_object(), "the document must be a JSON object");
  }

  void check_attachments() const {
    const std::string* previous = nullptr;
    for (const StoredFile& file : manifest_.attachments) {
      require(is_attachment_name(file.name), "an attachment cannot be called '" + file.name + "'");
      require(previous == nullptr || *previous < file.name,
              "attachment '" + file.name + "' is repeated or out of order");
      require(file.bytes <= kMaxAttachmentBytes,
              "attachment '" + file.name + "' of " + std::to_string(file.bytes) +
                  " bytes is larger than 1 GiB");
      previous = &file.name;
    }
  }

  void check_files() const {
    for (size_t i = 0; i < manifest_.files.size(); ++i) {
      const std::string expected = shard_file_name(static_cast<int64_t>(i));
      require(manifest_.files[i].name == expected,
              "file " + std::to_string(i) + " must be called " + expected + ", not '" +
                  manifest_.files[i].name + "'");
    }
  }

  void check_tensors() {
    const std::string* previous = nullptr;
    for (const StoredTensor& tensor : manifest_.tensors) {
      check_tensor_name(tensor.name);
      require(previous == nullptr || *previous < tensor.name,
              "tensor '" + tensor.name + "' is repeated or out of order");
      previous = &tensor.name;
      check_tensor(tensor);
    }
  }

  /// No byte of a file may belong to two boxes.
  void check_sharing() {
    for (size_t i = 0; i < used_.size(); ++i) {
      std::sort(used_[i].begin(), used_[i].end());
      for (size_t k = 1; k < used_[i].size(); ++k) {
        require(used_[i][k - 1].second <= used_[i][k].first,
                "two boxes share byte " + std::to_string(used_[i][k].first) + " of " +
                    manifest_.files[i].name);
      }
    }
  }

 private:
  void require(bool condition, const std::string& complaint) const {
    if (!condition) {
      fail(complaint);
    }
  }

  [[noreturn]] void fail(const std::string& complaint) const {
    throw FileError(source_ + ": " + complaint);
  }

  void check_tensor_name(const std::string& name) const {
    const auto unprintable = [](char c) { return static_cast<unsigned char>(c) < 32 || c == 127; };
    require(!name.empty() && name.size() <= kMaxNameBytes &&
                std::none_of(name.begin(), name.end(), unprintable),
            "a tensor's name must have 1 to 512 printable characters");
  }

  void check_tensor(const StoredTensor& tensor) {
    const auto complain = [&](const std::string& complaint) {
      fail("tensor '" + tensor.name + "' of shape " + text_of(tensor.shape) + complaint);
    };
    if (tensor.shape.size() > kMaxDims) {
      complain(" has more than 8 dimensions");
    }
    if (!element_count(tensor.shape, size_of(tensor.dtype))) {
      complain(" is larger than 2^60 bytes or has a negative size");
    }
    std::vector<Box> boxes;
    boxes.reserve(tensor.boxes.size());
    for (const StoredBox& stored : tensor.boxes) {
      if (!lies_inside(stored.box, tensor.shape)) {
        complain(" has a box at " + text_of(stored.box.offset) + " of size " +
                 text_of(stored.box.size) + " that is not inside it");
      }
      const std::string fault = place_fault(stored, size_of(tensor.dtype));
      if (!fault.empty()) {
        complain(": box " + text_of(stored.box) + fault);
      }
      use(stored);
      boxes.push_back(stored.box);
    }
    const std::optional<std::string> fault = cover_fault(tensor.shape, boxes);
    if (fault) {
      complain(": " + *fault);
    }
  }

  /// What is wrong with where a box lies, or nothing.
  std::string place_fault(const StoredBox& stored, size_t element_bytes) const {
    const int64_t elements = element_count(stored.box.size, element_bytes).value_or(0);
    if (elements == 0) {
      return " is empty";
    }
    if (stored.bytes != elements * static_cast<int64_t>(element_bytes)) {
      return " does not take " + std::to_string(stored.bytes) + " bytes";
    }
    if (stored.file < 0 || stored.file >= static_cast<int64_t>(used_.size())) {
      return " names file " + std::to_string(stored.file) + " of " + std::to_string(used_.size());
    }
    const StoredFile& file = manifest_.files[static_cast<size_t>(stored.file)];
    if (stored.byte_offset < 0 || stored.byte_offset % kBoxAlignment != 0 ||
        stored.byte_offset > file.bytes || stored.bytes > file.bytes - stored.byte_offset) {
      return " does not lie inside " + file.name + " at a multiple of 256 bytes";
    }
    return "";
  }

  void use(const StoredBox& stored) {
    used_[static_cast<size_t>(stored.file)].emplace_back(stored.byte_offset,
                                                         stored.byte_offset + stored.bytes);
  }

  const Manifest& manifest_;
  const std::string& source_;
  std::vector<std::vector<std::pair<int64_t, int64_t>>> used_;  // per file: [begin, end) of boxes
};

}  // namespace

std::string shard_file_name(int64_t rank) {
  std::string digits = std::to_string(rank);
  digits.insert(0, digits.size() < 5 ? 5 - digits.size() : 0, '0');
  return "shard_" + digits + ".bin";
}

bool is_attachment_name(std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
  };
  return !name.empty() && name.size() <= 128 && name.front() != '.' &&
         std::all_of(name.begin(), name.end(), allowed) && !name.starts_with("shard_") &&
         !name.starts_with("manifest.json");
}

void check_manifest(const Manifest& manifest, const std::string& source) {
  Checker checker(manifest, source);
  checker.check_document();
  checker.check_attachments();
  checker.check_files();
  checker.check_tensors();
  checker.check_sharing();
}

}  // namespace enodia

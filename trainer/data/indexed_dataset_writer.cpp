#include "trainer/data/indexed_dataset_writer.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <limits>

#include "common/check.h"
#include "common/error.h"
#include "common/file.h"
#include "trainer/data/indexed_dataset.h"

#include <unistd.h>

namespace enodia {
namespace {

constexpr int64_t kMaxUInt16Vocab = 65536;

[[noreturn]] void fail(const std::string& verb, const std::string& path) {
  throw FileError("cannot " + verb + " " + path + ": " + std::strerror(errno));
}

template <typename T>
void put(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

}  // namespace

IndexedDatasetWriter::IndexedDatasetWriter(const std::string& prefix, int64_t vocab_size)
    : prefix_(prefix),
      bin_beside_(prefix + ".bin.tmp"),
      vocab_size_(vocab_size) {
  ENODIA_CHECK(vocab_size > 0 && vocab_size <= std::numeric_limits<int32_t>::max(),
               "vocab_size is ",
               vocab_size);
  bin_ = std::fopen(bin_beside_.c_str(), "wb");
  if (bin_ == nullptr) {
    fail("write", bin_beside_);
  }
}

IndexedDatasetWriter::~IndexedDatasetWriter() {
  if (bin_ != nullptr) {
    std::fclose(bin_);
    std::remove(bin_beside_.c_str());
  }
}

int64_t IndexedDatasetWriter::token_bytes() const {
  return vocab_size_ <= kMaxUInt16Vocab ? int64_t{sizeof(uint16_t)} : int64_t{sizeof(int32_t)};
}

void IndexedDatasetWriter::append(std::span<const int64_t> ids) {
  ENODIA_CHECK(bin_ != nullptr, "the writer of ", prefix_, " has finished");
  const auto width = static_cast<size_t>(token_bytes());
  packed_.resize(ids.size() * width);
  for (size_t i = 0; i < ids.size(); ++i) {
    ENODIA_CHECK(
        ids[i] >= 0 && ids[i] < vocab_size_, "id ", ids[i], " of a vocabulary of ", vocab_size_);
    std::memcpy(packed_.data() + i * width, &ids[i], width);  // little endian: the low bytes
  }
  if (std::fwrite(packed_.data(), 1, packed_.size(), bin_) != packed_.size()) {
    fail("write", bin_beside_);
  }
  open_tokens_ += static_cast<int64_t>(ids.size());
  if (open_tokens_ > std::numeric_limits<int32_t>::max()) {
    throw FileError(detail::concat(
        "document ",
        num_documents(),
        " of ",
        prefix_,
        " has more than 2147483647 tokens, the most the format allows; split the text into "
        "several documents"));
  }
}

void IndexedDatasetWriter::end_document() {
  lengths_.push_back(static_cast<int32_t>(open_tokens_));
  num_tokens_ += open_tokens_;
  open_tokens_ = 0;
}

void IndexedDatasetWriter::add_document(std::span<const int64_t> ids) {
  append(ids);
  end_document();
}

std::string IndexedDatasetWriter::index_bytes() const {
  std::string bytes("MMIDIDX\0\0", 9);
  put<uint64_t>(bytes, 1);
  const bool narrow = vocab_size_ <= kMaxUInt16Vocab;
  put<uint8_t>(bytes, static_cast<uint8_t>(narrow ? TokenType::kUInt16 : TokenType::kInt32));
  put<uint64_t>(bytes, lengths_.size());
  put<uint64_t>(bytes, lengths_.size() + 1);
  for (const int32_t length : lengths_) {
    put<int32_t>(bytes, length);
  }
  int64_t offset = 0;
  for (const int32_t length : lengths_) {
    put<int64_t>(bytes, offset);
    offset += length * token_bytes();
  }
  for (int64_t document = 0; document <= num_documents(); ++document) {
    put<int64_t>(bytes, document);
  }
  return bytes;
}

void IndexedDatasetWriter::finish() {
  ENODIA_CHECK(bin_ != nullptr && open_tokens_ == 0,
               "finish() of ",
               prefix_,
               " with ",
               open_tokens_,
               " tokens of an open document, or twice");
  if (std::fflush(bin_) != 0 || ::fsync(::fileno(bin_)) != 0) {
    fail("flush", bin_beside_);
  }
  // The old index goes first: a crash between the renames leaves no index beside other tokens.
  std::remove((prefix_ + ".idx").c_str());
  if (std::rename(bin_beside_.c_str(), (prefix_ + ".bin").c_str()) != 0) {
    fail("rename to", prefix_ + ".bin");
  }
  std::fclose(bin_);
  bin_ = nullptr;
  write_file_atomically(prefix_ + ".idx", index_bytes());
}

}  // namespace enodia

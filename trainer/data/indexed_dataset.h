#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/file.h"

namespace enodia {

/// Element types of Megatron's token files, by the code in the .idx (6 and 7 are floats: refused).
enum class TokenType : uint8_t {
  kUInt8 = 1,
  kInt8 = 2,
  kInt16 = 3,
  kInt32 = 4,
  kInt64 = 5,
  kUInt16 = 8,
};

/// A Megatron data set PREFIX.bin + PREFIX.idx, memory-mapped and read as one stream of token ids,
/// cut into documents. The whole index is checked when it is opened. Immutable; reads may come from
/// several threads.
class IndexedDataset {
 public:
  /// Throws FileError with the file, what is wrong and the values. With a `vocab_size`, every id
  /// read later must lie below it.
  explicit IndexedDataset(const std::string& prefix, int64_t vocab_size = 0);

  const std::string& prefix() const { return prefix_; }
  int64_t num_tokens() const { return document_offsets_.back(); }
  int64_t num_documents() const { return static_cast<int64_t>(document_offsets_.size()) - 1; }

  /// Token offset of each document's start in the stream, then num_tokens(). [documents + 1],
  /// non-decreasing: an empty document repeats its offset.
  std::span<const int64_t> document_offsets() const { return document_offsets_; }

  /// Tokens first_token .. first_token + out.size() of the stream. Throws UsageError outside the
  /// stream, FileError on an id that is negative or not below the vocabulary.
  void read(int64_t first_token, std::span<int64_t> out) const;

  /// XXH3-128 of the index and of the first and last MiB of tokens: enough to notice another data
  /// set under the same name without reading all of it. Damage further inside is noticed by read()
  /// where it makes an id that is not in the vocabulary, and nowhere else.
  std::string fingerprint() const;

 private:
  std::string prefix_;
  int64_t vocab_size_;
  TokenType type_;
  std::unique_ptr<MappedFile> bin_;
  std::vector<int64_t> document_offsets_;
};

}  // namespace enodia

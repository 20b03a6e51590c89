#pragma once

#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <vector>

namespace enodia {

/// Writes a Megatron data set in which each document is one sequence. The tokens stream to
/// PREFIX.bin.tmp; memory holds 4 bytes a document. Nothing under the final names changes before
/// finish(), and a writer that is destroyed without it removes what it wrote.
class IndexedDatasetWriter {
 public:
  /// Ids are stored as uint16 when vocab_size <= 65536, else as int32. Throws FileError.
  IndexedDatasetWriter(const std::string& prefix, int64_t vocab_size);
  ~IndexedDatasetWriter();
  IndexedDatasetWriter(const IndexedDatasetWriter&) = delete;
  IndexedDatasetWriter& operator=(const IndexedDatasetWriter&) = delete;

  /// Adds tokens to the document that is being written. Throws UsageError on an id outside
  /// [0, vocab_size), FileError when the disk refuses or a document exceeds 2^31 - 1 tokens.
  void append(std::span<const int64_t> ids);
  void end_document();

  /// append, then end_document.
  void add_document(std::span<const int64_t> ids);

  /// Flushes to the disk and renames: the data set exists from here on. Call once, last.
  void finish();

  int64_t num_documents() const { return static_cast<int64_t>(lengths_.size()); }
  int64_t num_tokens() const { return num_tokens_; }

 private:
  std::string index_bytes() const;
  int64_t token_bytes() const;

  std::string prefix_;
  std::string bin_beside_;
  int64_t vocab_size_;
  std::FILE* bin_ = nullptr;
  std::vector<int32_t> lengths_;
  std::vector<char> packed_;
  int64_t open_tokens_ = 0;  ///< of the document being written
  int64_t num_tokens_ = 0;
};

}  // namespace enodia

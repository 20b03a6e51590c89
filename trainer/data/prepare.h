#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "trainer/data/indexed_dataset.h"
#include "trainer/data/tokenizer.h"

namespace enodia {

/// The arguments of `enodia prepare`.
struct PrepareOptions {
  std::vector<std::filesystem::path> inputs{};
  std::string output{};  ///< PREFIX
  /// As load_tokenizer takes it. Empty: train one. A trained one and that of a Hugging Face folder
  /// or tokenizer.json are written as PREFIX.model.
  std::string tokenizer{};
  int64_t vocab_size = 0;  ///< of the trained tokenizer; 0 means kDefaultVocabSize

  static constexpr int64_t kDefaultVocabSize = 4096;
};

/// What `enodia prepare` reports.
struct PrepareSummary {
  std::string tokenizer;  ///< "byte" or the path of the model file
  int64_t vocab_size = 0;
  int64_t documents = 0;
  int64_t empty_documents = 0;  ///< skipped
  int64_t tokens = 0;           ///< an EOS for each document among them
  int64_t text_bytes = 0;
};

/// Text to PREFIX.bin, .idx and .json; a .jsonl line's `text`, otherwise a whole file, is a
/// document, and each ends with the EOS id. Documents stream through. PREFIX.json is written
/// last, so it never stands beside files it does not describe. Throws ConfigError, FileError.
/// Local.
PrepareSummary prepare_dataset(const PrepareOptions& options);

/// A data set as `prepare_dataset` wrote it.
struct PreparedData {
  IndexedDataset dataset;                      ///< checks ids against vocab_size
  std::shared_ptr<const Tokenizer> tokenizer;  ///< null when its file is not there
  std::string tokenizer_hash;
  int64_t vocab_size;
  int64_t eos_id;
  int64_t text_bytes;
};

/// Opens PREFIX.json and the data set and checks that they belong together, the tokenizer as well
/// when its file is there. Throws FileError. Local.
PreparedData open_prepared(const std::string& prefix);

}  // namespace enodia

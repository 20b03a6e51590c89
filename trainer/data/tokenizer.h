#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace enodia {

/// Text to token ids and back. Immutable; may be used from several threads.
class Tokenizer {
 public:
  using IdSink = std::function<void(std::span<const int64_t> ids)>;

  virtual ~Tokenizer() = default;

  /// Hands the ids of `text` to `sink` in order, some at a time, so that a long document is never
  /// held as ids. Adds no BOS or EOS.
  virtual void encode_to(std::string_view text, const IdSink& sink) const = 0;

  /// The text of the ids; EOS and other control ids give none. Throws UsageError on an id outside
  /// [0, vocab_size).
  virtual std::string decode(std::span<const int64_t> ids) const = 0;

  virtual int64_t vocab_size() const = 0;
  virtual int64_t eos_id() const = 0;

  /// "byte", "sentencepiece" or "huggingface".
  virtual std::string_view name() const = 0;

  /// What a checkpoint carries: tokenizer_from_blob gives an equal tokenizer.
  virtual const std::string& blob() const = 0;

  /// XXH3-128 of what decides over ids and text: the blob, or its part that does.
  virtual std::string hash() const;

  /// All ids of `text` at once.
  std::vector<int64_t> encode(std::string_view text) const;
};

/// "byte" (ids are the 256 bytes, EOS = 256), else the path of a SentencePiece model, a Hugging
/// Face tokenizer.json (its companions beside it are taken along), a Hugging Face folder, or a file
/// that holds a blob. Throws FileError when it is missing or is no usable tokenizer.
std::unique_ptr<Tokenizer> load_tokenizer(const std::string& name_or_path);

/// The tokenizer of a Hugging Face folder: its tokenizer.json, else its tokenizer.model; null when
/// it has neither. Throws FileError when it has one that is not usable.
std::unique_ptr<Tokenizer> find_folder_tokenizer(const std::filesystem::path& folder);

/// The tokenizer of a blob; `source` names it in messages. Throws FileError.
std::unique_ptr<Tokenizer> tokenizer_from_blob(std::string blob, const std::string& source);

/// Trains a BPE model of `vocab_size` pieces on the documents of the files and returns its blob.
/// Lossless: no normalization, no dummy prefix, bytes as the fallback. The same files give the same
/// blob. More than 128 MiB of text are thinned out to about that, by line. Throws ConfigError
/// when the text supports fewer pieces or needs more, FileError on unreadable text.
std::string train_sentencepiece(std::span<const std::filesystem::path> files, int64_t vocab_size);

}  // namespace enodia

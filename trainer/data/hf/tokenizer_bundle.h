#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/data/tokenizer_export.h"

namespace enodia {

/// A Hugging Face tokenizer in one text, so that data sets and checkpoints carry all of it: a JSON
/// object {"format": "enodia-hf-tokenizer", "eos_token": ..., "files": {name: content}}.
struct TokenizerBundle {
  std::string eos_token;
  std::vector<TokenizerFile> files;  ///< tokenizer.json first, then companions, untouched

  const std::string& tokenizer_json() const { return files.front().content; }
};

/// The companions of a tokenizer.json: chat template, special tokens and so on.
std::vector<TokenizerFile> read_companions(const std::filesystem::path& folder);

bool is_bundle(std::string_view text);
std::string write_bundle(const TokenizerBundle& bundle);
/// Throws FileError that begins with `source`.
TokenizerBundle read_bundle(std::string_view text, const std::string& source);

}  // namespace enodia

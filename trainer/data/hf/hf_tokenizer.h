#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "trainer/data/tokenizer.h"

namespace enodia {

/// The tokenizer of a tokenizer.json file, with those of its companions that exist beside it.
/// Throws FileError.
std::unique_ptr<Tokenizer> load_hf_tokenizer(const std::filesystem::path& tokenizer_json);

/// Whether `blob` is what blob() of such a tokenizer gives.
bool is_hf_blob(std::string_view blob);
/// The tokenizer of such a blob; `source` names it in messages. Throws FileError.
std::unique_ptr<Tokenizer> hf_tokenizer_from_blob(std::string blob, const std::string& source);

}  // namespace enodia

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trainer/data/tokenizer.h"

namespace enodia {

/// A text or model file that goes beside a model's config.json.
struct TokenizerFile {
  std::string name;
  std::string content;
};

/// A tokenizer as the files that transformers, vLLM and llama.cpp look for in a model's folder.
struct TokenizerFiles {
  std::vector<TokenizerFile> files;
  std::string note;  ///< why there is no tokenizer.json among them; empty when there is one
};

/// The user's own files, untouched, when the tokenizer came from Hugging Face files. Otherwise a
/// tokenizer.json that gives the same ids and text, tokenizer_config.json and
/// special_tokens_map.json; of a SentencePiece model also tokenizer.model.
/// `max_length` is the number of tokens that the model was made for.
TokenizerFiles hugging_face_files(const Tokenizer& tokenizer, int64_t max_length);

}  // namespace enodia

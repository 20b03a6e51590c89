#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/json.h"
#include "trainer/data/hf/added_tokens.h"
#include "trainer/data/hf/byte_pair_model.h"
#include "trainer/data/hf/normalizer.h"
#include "trainer/data/hf/pre_tokenizer.h"
#include "trainer/data/hf/token_decoder.h"
#include "trainer/data/tokenizer.h"

namespace enodia {

/// What a tokenizer.json with a BPE model says: text to ids and back as Hugging Face's tokenizers
/// does it without its post-processor, which adds BOS and EOS and the like. Ids are those of the
/// file. Immutable.
class HfPipeline {
 public:
  /// `source` names the file in messages. Throws FileError, naming the key, on damage and on parts
  /// that are not known.
  HfPipeline(const Json& json, const std::string& source);

  /// Bytes that are no UTF-8 become U+FFFD.
  void encode_to(std::string_view text, const Tokenizer::IdSink& sink) const;
  /// Special tokens and `eos` give no text, nor do ids of no token.
  std::string decode(std::span<const int64_t> ids, int64_t eos) const;

  int64_t vocab_size() const;  ///< the highest id and one
  /// -1 when there is no such token.
  int64_t id_of(std::string_view token) const;
  /// Null when no token has the id.
  const std::string* token_of(int64_t id) const;
  const std::vector<AddedToken>& added_tokens() const { return added_tokens_.all(); }

 private:
  BytePairModel model_;
  Normalizer normalizer_;
  PreTokenizer pre_tokenizer_;
  AddedTokens added_tokens_;
  TokenDecoder decoder_;
};

}  // namespace enodia

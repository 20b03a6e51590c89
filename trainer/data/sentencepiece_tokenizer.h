#pragma once

#include <memory>
#include <string>

#include "trainer/data/tokenizer.h"

namespace enodia {

/// A tokenizer of a serialized SentencePiece model; `source` names it in messages.
/// Throws FileError when it is no model, or one without an EOS piece.
std::unique_ptr<Tokenizer> make_sentencepiece(std::string model, const std::string& source);

}  // namespace enodia

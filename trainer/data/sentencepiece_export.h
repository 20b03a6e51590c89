#pragma once

#include <string>

#include "common/json.h"
#include "trainer/data/sentencepiece_spec.h"

namespace enodia {

/// Why no tokenizer.json gives the ids of this SentencePiece model; empty when one does.
std::string reason_against_json(const SentencePieceSpec& spec);

/// The tokenizer.json that gives the ids of a SentencePiece model of type BPE. Its tokens are the
/// pieces with spaces in place of U+2581, so that a real U+2581 in a text stays apart. What differs
/// is text that spells a control or user-defined piece: there it is that piece.
Json sentencepiece_to_json(const SentencePieceSpec& spec);

}  // namespace enodia

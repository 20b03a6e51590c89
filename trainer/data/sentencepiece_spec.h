#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace enodia {

/// U+2581 stands for a space in pieces.
constexpr std::string_view kSpaceSymbol = "\xE2\x96\x81";

/// What a SentencePiece model file (a ModelProto of its sentencepiece_model.proto) says, as far as
/// the library's interface does not tell it.
struct SentencePieceSpec {
  enum PieceType {
    kNormal = 1,
    kUnknown = 2,
    kControl = 3,
    kUserDefined = 4,
    kUnused = 5,
    kByte = 6
  };
  enum ModelType { kUnigram = 1, kBpe = 2 };

  struct Piece {
    std::string text;
    float score = 0.0F;
    int64_t type = kNormal;
  };

  std::vector<Piece> pieces;
  int64_t model_type = kUnigram;
  bool has_character_map = false;  ///< characters are normalized
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
  bool whitespace_is_suffix = false;
};

/// Throws FileError that begins with `source` on a damaged model.
SentencePieceSpec read_sentencepiece_spec(std::string_view model, const std::string& source);

}  // namespace enodia

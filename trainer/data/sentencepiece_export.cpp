#include "trainer/data/sentencepiece_export.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>
#include <vector>

#include "common/wording.h"

namespace enodia {
namespace {

using Piece = SentencePieceSpec::Piece;

std::string token_of(const Piece& piece) {
  std::string token = piece.text;
  size_t found = token.find(kSpaceSymbol);
  while (found != std::string::npos) {
    token.replace(found, kSpaceSymbol.size(), " ");
    found = token.find(kSpaceSymbol, found);
  }
  return token;
}

/// Where the characters of a token begin, the first one apart.
std::vector<size_t> cuts_of(std::string_view token) {
  std::vector<size_t> cuts;
  for (size_t i = 1; i < token.size(); ++i) {
    if ((static_cast<uint8_t>(token[i]) & 0xC0) != 0x80) {
      cuts.push_back(i);
    }
  }
  return cuts;
}

/// The normal pieces of more than one character, those that merge first in front.
std::vector<const Piece*> merged_pieces(const SentencePieceSpec& spec) {
  std::vector<const Piece*> merged;
  for (const Piece& piece : spec.pieces) {
    if (piece.type == SentencePieceSpec::kNormal && !cuts_of(piece.text).empty()) {
      merged.push_back(&piece);
    }
  }
  std::stable_sort(merged.begin(), merged.end(), [](const Piece* a, const Piece* b) {
    return a->score > b->score;
  });
  return merged;
}

std::unordered_set<std::string> normal_tokens(const SentencePieceSpec& spec) {
  std::unordered_set<std::string> tokens;
  for (const Piece& piece : spec.pieces) {
    if (piece.type == SentencePieceSpec::kNormal) {
      tokens.insert(token_of(piece));
    }
  }
  return tokens;
}

/// SentencePiece joins any two neighbors whose text together is a piece, so each way to cut a piece
/// in two is a merge, all with the rank of the piece. The longer left part goes first: where two
/// ways overlap in a text, as in a row of equal letters, the longer tokens stand on the left.
Json merges_of(const SentencePieceSpec& spec) {
  const auto known = normal_tokens(spec);
  Json merges = Json::array();
  for (const Piece* piece : merged_pieces(spec)) {
    const std::string token = token_of(*piece);
    const std::vector<size_t> cuts = cuts_of(token);
    for (auto cut = cuts.rbegin(); cut != cuts.rend(); ++cut) {
      const std::string left = token.substr(0, *cut);
      const std::string right = token.substr(*cut);
      if (known.contains(left) && known.contains(right)) {
        merges.push_back({left, right});
      }
    }
  }
  return merges;
}

Json added_tokens_of(const SentencePieceSpec& spec) {
  Json added = Json::array();
  for (size_t id = 0; id < spec.pieces.size(); ++id) {
    const int64_t type = spec.pieces[id].type;
    if (type == SentencePieceSpec::kControl || type == SentencePieceSpec::kUnknown ||
        type == SentencePieceSpec::kUserDefined) {
      added.push_back({{"id", id},
                       {"content", token_of(spec.pieces[id])},
                       {"single_word", false},
                       {"lstrip", false},
                       {"rstrip", false},
                       {"normalized", false},
                       {"special", type != SentencePieceSpec::kUserDefined}});
    }
  }
  return added;
}

bool has_bytes(const SentencePieceSpec& spec) {
  return std::any_of(spec.pieces.begin(), spec.pieces.end(), [](const Piece& piece) {
    return piece.type == SentencePieceSpec::kByte;
  });
}

Json normalizer_of(const SentencePieceSpec& spec) {
  Json steps = Json::array();
  if (spec.add_dummy_prefix) {
    steps.push_back({{"type", "Prepend"}, {"prepend", " "}});
  }
  if (spec.add_dummy_prefix || !has_bytes(spec)) {  // else our encoder spells U+2581 in bytes
    steps.push_back(
        {{"type", "Replace"}, {"pattern", {{"String", kSpaceSymbol}}}, {"content", " "}});
  }
  return steps.empty() ? Json(nullptr)
                       : Json{{"type", "Sequence"}, {"normalizers", std::move(steps)}};
}

Json decoder_of(const SentencePieceSpec& spec) {
  Json steps = Json::array({Json{{"type", "ByteFallback"}}, Json{{"type", "Fuse"}}});
  if (spec.add_dummy_prefix) {
    steps.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  return Json{{"type", "Sequence"}, {"decoders", std::move(steps)}};
}

Json model_of(const SentencePieceSpec& spec) {
  Json::object_t vocabulary;  // filled without Json's search for each key
  Json unknown = nullptr;
  for (size_t id = 0; id < spec.pieces.size(); ++id) {
    vocabulary.emplace_back(token_of(spec.pieces[id]), id);
    if (spec.pieces[id].type == SentencePieceSpec::kUnknown) {
      unknown = token_of(spec.pieces[id]);
    }
  }
  return Json{{"type", "BPE"},
              {"dropout", nullptr},
              {"unk_token", std::move(unknown)},
              {"continuing_subword_prefix", nullptr},
              {"end_of_word_suffix", nullptr},
              {"fuse_unk", true},
              {"byte_fallback", has_bytes(spec)},
              {"ignore_merges", false},
              {"vocab", Json(std::move(vocabulary))},
              {"merges", merges_of(spec)}};
}

/// Whether the pieces alone tell what merges when.
std::string reason_in_pieces(const SentencePieceSpec& spec) {
  const auto known = normal_tokens(spec);
  std::unordered_set<std::string> tokens;
  for (const Piece& piece : spec.pieces) {
    const std::string token = token_of(piece);
    if (piece.type == SentencePieceSpec::kUnused || !std::isfinite(piece.score) ||
        piece.text.find(' ') != std::string::npos || !tokens.insert(token).second) {
      return "its piece " + quote(piece.text) +
             " is unused, has no score, holds a real space, or occurs twice";
    }
    std::vector<size_t> cuts = cuts_of(token);
    cuts.push_back(token.size());
    for (size_t i = 0, begin = 0; piece.type == SentencePieceSpec::kNormal && i < cuts.size();
         ++i) {
      if (!known.contains(token.substr(begin, cuts[i] - begin))) {
        return "its piece " + quote(piece.text) + " has a character that is no piece";
      }
      begin = cuts[i];
    }
  }
  const auto merged = merged_pieces(spec);
  for (size_t i = 1; i < merged.size(); ++i) {
    if (merged[i]->score == merged[i - 1]->score) {
      return "its pieces " + quote(merged[i - 1]->text) + " and " + quote(merged[i]->text) +
             " have the same score";
    }
  }
  return "";
}

}  // namespace

std::string reason_against_json(const SentencePieceSpec& spec) {
  if (spec.model_type != SentencePieceSpec::kBpe) {
    return "the SentencePiece model is not of type BPE";
  }
  if (spec.has_character_map || spec.remove_extra_whitespaces) {
    return "the SentencePiece model normalizes text";
  }
  if (!spec.escape_whitespaces || spec.whitespace_is_suffix) {
    return "the SentencePiece model treats spaces in an unusual way";
  }
  const std::string reason = reason_in_pieces(spec);
  return reason.empty() ? "" : "the SentencePiece model is unusual: " + reason;
}

Json sentencepiece_to_json(const SentencePieceSpec& spec) {
  return Json{{"version", "1.0"},
              {"truncation", nullptr},
              {"padding", nullptr},
              {"added_tokens", added_tokens_of(spec)},
              {"normalizer", normalizer_of(spec)},
              {"pre_tokenizer", nullptr},
              {"post_processor", nullptr},
              {"decoder", decoder_of(spec)},
              {"model", model_of(spec)}};
}

}  // namespace enodia

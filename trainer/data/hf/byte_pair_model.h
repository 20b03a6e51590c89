#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/json_field.h"

namespace enodia {

/// Two neighboring tokens that become one; of several, the one with the lowest rank comes first.
struct PairMerge {
  int32_t rank;
  int32_t merged;
};

/// Vocabulary and merges of byte pair encoding (arXiv 1508.07909): the `model` of a tokenizer.json.
/// Immutable.
class BytePairModel {
 public:
  static constexpr int32_t kNone = -1;
  static constexpr int64_t kMaxId = (1 << 24) - 1;

  /// Throws FileError on another type of model, on options that change ids and are not known, and
  /// on damage.
  explicit BytePairModel(const JsonField& description);

  /// kNone when there is no such token.
  int32_t id_of(std::string_view token) const;
  /// Null where the ids have a hole.
  const std::string* token_of(int64_t id) const;
  int64_t max_id() const { return max_id_; }

  int32_t id_of_character(char32_t character) const {
    return character < characters_.size() ? characters_[character] : kNone;
  }
  /// Of the token "<0x41>" and its like.
  int32_t id_of_byte(uint8_t byte) const { return bytes_[byte]; }
  /// Null when the two never merge.
  const PairMerge* find_merge(int32_t left, int32_t right) const;

  /// A piece that is a token as a whole is not merged from its characters.
  bool ignores_merges() const { return ignores_merges_; }
  bool has_byte_fallback() const { return has_byte_fallback_; }
  bool fuses_unknown() const { return fuses_unknown_; }
  /// Stands for an unknown character; kNone when those are left out. Throws FileError when the file
  /// names a token for them that does not exist.
  int32_t unknown_id() const;

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };

  void read_options(const JsonField& description);
  void read_vocabulary(const JsonField& vocabulary);
  void read_merges(const JsonField& merges);
  void index_characters();

  std::unordered_map<std::string, int32_t, Hash, std::equal_to<>> ids_;
  std::unordered_map<int32_t, const std::string*> tokens_;
  std::unordered_map<uint64_t, PairMerge> merges_;
  std::vector<int32_t> characters_;
  std::array<int32_t, 256> bytes_{};
  int64_t max_id_ = -1;
  bool ignores_merges_ = false;
  bool has_byte_fallback_ = false;
  bool fuses_unknown_ = false;
  std::optional<std::string> unknown_;
  std::string where_;
};

}  // namespace enodia

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "common/json_field.h"
#include "trainer/data/hf/byte_pair_model.h"
#include "trainer/data/hf/normalizer.h"

namespace enodia {

/// A token that is found in the text before anything else: an entry of `added_tokens`.
struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool single_word = false;  ///< only where no word's character stands beside it
  bool lstrip = false;       ///< takes the white space before it along
  bool rstrip = false;       ///< and behind it
  bool normalized = false;   ///< is looked for in the normalized text
  bool special = false;      ///< decodes to nothing
};

/// Finds some of the added tokens in a text: the leftmost, and of these the longest.
class AddedTokenFinder {
 public:
  using TextSink = std::function<void(std::string_view text, bool first)>;
  using IdSink = std::function<void(int32_t id)>;

  /// `spelling` is what to look for.
  void add(const AddedToken& token, std::string_view spelling);

  /// Hands over tokens, and the text between them, in order; `first` is whether a text is the
  /// beginning of the whole.
  void split(std::string_view text, const TextSink& on_text, const IdSink& on_token) const;

 private:
  struct Node {
    std::map<char, size_t> next;
    const AddedToken* token = nullptr;
  };

  std::pair<const AddedToken*, size_t> longest_at(std::string_view text) const;

  std::vector<Node> nodes_ = std::vector<Node>(1);  // a tree by bytes; the root comes first
};

/// The `added_tokens` of a tokenizer.json.
class AddedTokens {
 public:
  /// Throws FileError on damage and on ids that contradict the model's.
  AddedTokens(const JsonField& list, const BytePairModel& model, const Normalizer& normalizer);
  AddedTokens(const AddedTokens&) = delete;
  AddedTokens& operator=(const AddedTokens&) = delete;

  const std::vector<AddedToken>& all() const { return tokens_; }
  /// Null when no added token has the id.
  const AddedToken* find(int64_t id) const;
  int64_t max_id() const;

  const AddedTokenFinder& in_raw_text() const { return raw_; }
  const AddedTokenFinder& in_normalized_text() const { return normalized_; }

 private:
  std::vector<AddedToken> tokens_;
  std::unordered_map<int64_t, const AddedToken*> by_id_;
  AddedTokenFinder raw_;
  AddedTokenFinder normalized_;
};

}  // namespace enodia

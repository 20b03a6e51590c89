#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace enodia {

/// A part of a text, in bytes.
struct TextRange {
  size_t begin = 0;
  size_t end = 0;
};

/// A regular expression in Oniguruma's own syntax, the engine that Hugging Face's tokenizers uses.
/// Immutable; may be used from several threads.
class Regex {
 public:
  /// `where` names file and key in messages. Throws FileError when it is no valid expression.
  Regex(std::string_view pattern, const std::string& where);

  /// All matches of a UTF-8 text from left to right, without overlaps; an empty match right behind
  /// another match does not count. Backtracking, memory and time are bounded: throws FileError when
  /// the expression needs unreasonably much of them on this text.
  std::vector<TextRange> find_all(std::string_view text) const;

 private:
  struct Compiled;
  std::string where_;
  std::shared_ptr<const Compiled> compiled_;
};

}  // namespace enodia

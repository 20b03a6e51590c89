#pragma once

#include <string>
#include <string_view>

#include "common/json_field.h"

namespace enodia {

/// Spaces written as a visible character, usually U+2581: the Metaspace of a tokenizer.json.
class Metaspace {
 public:
  /// Throws FileError.
  explicit Metaspace(const JsonField& description);

  char32_t character() const { return character_; }
  bool splits() const { return splits_; }

  /// The text with its spaces marked, and a mark before it as the prepend_scheme wants; `first` is
  /// whether the text is the beginning of the whole.
  std::string mark(std::string_view text, bool first) const;

  /// The token with spaces again; the first one loses those that were put before it.
  std::string unmark(std::string_view token, bool first) const;

 private:
  enum class Prepend { kAlways, kFirst, kNever };

  std::string symbol_;
  char32_t character_ = 0;
  Prepend prepend_ = Prepend::kAlways;
  bool splits_ = true;
};

}  // namespace enodia

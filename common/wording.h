#pragma once

#include <span>
#include <string>
#include <string_view>

namespace enodia {

/// A user's text for a message: in single quotes, control characters escaped, long texts cut.
std::string quote(std::string_view text);

/// Levenshtein's distance: insertions, deletions and replacements of single characters.
int edit_distance(std::string_view a, std::string_view b);

/// The candidate nearest to `word` (the first of equals), if it is near enough to be a slip of the
/// pen: at most 2 edits, and fewer for short words. Empty when there is none.
std::string nearest_word(std::string_view word, std::span<const std::string> candidates);

}  // namespace enodia

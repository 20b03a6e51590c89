#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "common/json_field.h"
#include "trainer/data/hf/growth_bound.h"
#include "trainer/data/hf/regex.h"

namespace enodia {

/// The matches in a text, from left to right and without overlaps.
using Pattern = std::function<std::vector<TextRange>(std::string_view text)>;

/// The pattern of a tokenizer.json: {"String": text} or {"Regex": expression}. Throws FileError.
Pattern read_pattern(const JsonField& description);

/// Matches each character that `matches` takes.
Pattern character_pattern(std::function<bool(char32_t)> matches);

/// Every match of the text replaced. Throws FileError, before anything is built, when what comes
/// out is larger than the bound.
std::string replace_matches(std::string_view text,
                            const Pattern& pattern,
                            std::string_view replacement,
                            const GrowthBound& bound);

}  // namespace enodia

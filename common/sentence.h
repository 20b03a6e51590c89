#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace enodia {

/// "a, b or c"; "a" alone for one word, empty for none.
std::string list_alternatives(std::span<const std::string> words);

/// The shortest decimal that reads back as exactly `value`.
std::string shortest(double value);

/// The smallest divisors of a positive number, at most `limit`, as "1, 2, 4 or 8": what would do in
/// place of a number that must divide it.
std::string list_divisors(int64_t value, int limit = 12);

}  // namespace enodia

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace enodia {

/// Parses sequences of token ids, one JSON list a line: at least one, all of one length above zero,
/// ids in [0, vocab_size). Throws FileError that begins with `source` and the line's number.
std::vector<std::vector<int64_t>> parse_token_lists(std::string_view text,
                                                    int64_t vocab_size,
                                                    const std::string& source);

}  // namespace enodia

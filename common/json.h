#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace enodia {

/// Objects keep the order in which keys were written, so that files are stable and readable.
using Json = nlohmann::ordered_json;

/// Parses strictly: duplicate keys, trailing text and nesting deeper than 64 are errors.
/// Throws FileError that begins with `source` (a file name for the message).
Json parse_json(std::string_view text, const std::string& source);

/// Reads and parses a file of at most 256 MiB. Throws FileError.
Json read_json(const std::filesystem::path& path);

}  // namespace enodia

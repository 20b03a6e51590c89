#pragma once

#include <filesystem>
#include <functional>
#include <string_view>

namespace enodia {

/// Calls `visit` with each document of a text file, in order: the `text` of each line of a .jsonl
/// (blank lines are passed over), otherwise the whole file. The file is mapped, not loaded.
/// Throws FileError with file and line on broken JSON, a line without a `text` string, or bytes
/// that are not UTF-8.
void for_each_document(const std::filesystem::path& file,
                       const std::function<void(std::string_view text)>& visit);

/// The place of the first byte that is not valid UTF-8 (RFC 3629), or the size of the text.
size_t find_invalid_utf8(std::string_view text);

}  // namespace enodia

#include "trainer/data/documents.h"

#include <algorithm>
#include <cstdint>

#include "common/check.h"
#include "common/error.h"
#include "common/file.h"
#include "common/json.h"

namespace enodia {
namespace {

namespace fs = std::filesystem;

/// Bytes of the valid character at the start of the text; 0 when there is none.
size_t character_length(std::string_view text) {
  const auto byte = [&text](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(0);
  const size_t length = first < 0x80   ? 1
                        : first < 0xC2 ? 0
                        : first < 0xE0 ? 2
                        : first < 0xF0 ? 3
                                       : 4;
  if (length == 0 || first > 0xF4 || length > text.size()) {
    return 0;
  }
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) {
      return 0;
    }
  }
  const bool overlong = (first == 0xE0 && byte(1) < 0xA0) || (first == 0xF0 && byte(1) < 0x90);
  const bool surrogate = first == 0xED && byte(1) > 0x9F;
  const bool beyond = first == 0xF4 && byte(1) > 0x8F;
  return overlong || surrogate || beyond ? 0 : length;
}

/// The `text` of one line of a .jsonl.
std::string parse_line(std::string_view line, const std::string& where) {
  const Json object = parse_json(line, where);
  if (!object.is_object() || !object.contains("text") || !object["text"].is_string()) {
    throw FileError(where +
                    ": the line is no JSON object with a string under \"text\"; each line "
                    "of a .jsonl must be {\"text\": \"...\"}");
  }
  return object["text"].get<std::string>();
}

void visit_lines(std::string_view content,
                 const fs::path& file,
                 const std::function<void(std::string_view)>& visit) {
  for (int64_t number = 1; !content.empty(); ++number) {
    const size_t end = std::min(content.find('\n'), content.size());
    const std::string_view line = content.substr(0, end);
    if (line.find_first_not_of(" \t\r") != std::string_view::npos) {
      visit(parse_line(line, file.string() + ":" + std::to_string(number)));
    }
    content.remove_prefix(std::min(end + 1, content.size()));
  }
}

}  // namespace

size_t find_invalid_utf8(std::string_view text) {
  size_t place = 0;
  while (place < text.size()) {
    const size_t length = character_length(text.substr(place));
    if (length == 0) {
      return place;
    }
    place += length;
  }
  return text.size();
}

void for_each_document(const fs::path& file, const std::function<void(std::string_view)>& visit) {
  const MappedFile mapped(file);
  const std::string_view content(reinterpret_cast<const char*>(mapped.data()),
                                 static_cast<size_t>(mapped.size()));
  if (file.extension() == ".jsonl") {
    visit_lines(content, file, visit);
    return;
  }
  const size_t bad = find_invalid_utf8(content);
  if (bad != content.size()) {
    const auto line =
        1 + std::count(content.begin(), content.begin() + static_cast<int64_t>(bad), '\n');
    throw FileError(detail::concat(file.string(),
                                   ":",
                                   line,
                                   ": byte ",
                                   bad,
                                   " of the file is not valid UTF-8; convert it, for example with "
                                   "iconv -f latin1 -t utf8"));
  }
  visit(content);
}

}  // namespace enodia

#include "trainer/data/token_lists.h"

#include "common/check.h"
#include "common/json.h"
#include "common/wording.h"

namespace enodia {
namespace {

std::vector<int64_t> parse_line(std::string_view line,
                                int64_t vocab_size,
                                const std::string& where) {
  const Json json = parse_json(line, where);
  if (!json.is_array() || json.empty()) {
    throw FileError(where + " must be a list of token ids, as [1, 2, 3]");
  }
  std::vector<int64_t> ids;
  ids.reserve(json.size());
  for (const Json& id : json) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= static_cast<uint64_t>(vocab_size)) {
      throw FileError(detail::concat(where,
                                     " holds ",
                                     quote(id.dump()),
                                     " at position ",
                                     ids.size(),
                                     ", but the model's token ids are integers from 0 to ",
                                     vocab_size - 1));
    }
    ids.push_back(id.get<int64_t>());
  }
  return ids;
}

}  // namespace

std::vector<std::vector<int64_t>> parse_token_lists(std::string_view text,
                                                    int64_t vocab_size,
                                                    const std::string& source) {
  std::vector<std::vector<int64_t>> sequences;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string where = source + ":" + std::to_string(sequences.size() + 1);
    sequences.push_back(parse_line(text.substr(0, end), vocab_size, where));
    if (sequences.back().size() != sequences.front().size()) {
      throw FileError(detail::concat(where,
                                     " holds ",
                                     sequences.back().size(),
                                     " ids and line 1 holds ",
                                     sequences.front().size(),
                                     "; all lines must hold equally many"));
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  if (sequences.empty()) {
    throw FileError(source + " is empty; it must hold a list of token ids a line, as [1, 2, 3]");
  }
  return sequences;
}

}  // namespace enodia

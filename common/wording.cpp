#include "common/wording.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <vector>

namespace enodia {

std::string quote(std::string_view text) {
  constexpr size_t kLongest = 60;
  constexpr std::string_view kHex = "0123456789abcdef";
  size_t length = std::min(text.size(), kLongest);
  while (length < text.size() && length > 0 && (text[length] & 0xc0) == 0x80) {
    --length;  // not within a UTF-8 character
  }
  std::string quoted = "'";
  for (const char c : text.substr(0, length)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      quoted += std::string("\\x") + kHex[byte >> 4] + kHex[byte & 15];
    } else {
      quoted += c;
    }
  }
  return quoted + (length < text.size() ? "...'" : "'");
}

int edit_distance(std::string_view a, std::string_view b) {
  std::vector<int> row(b.size() + 1);  // distances of a's first i characters to b's first j
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 1; i <= a.size(); ++i) {
    int diagonal = row[0];
    row[0] = static_cast<int>(i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const int replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

std::string nearest_word(std::string_view word, std::span<const std::string> candidates) {
  const int allowed = word.size() <= 2 ? 0 : word.size() <= 4 ? 1 : 2;
  std::string nearest;
  int best = allowed + 1;
  for (const std::string& candidate : candidates) {
    const auto lengths_apart =
        static_cast<std::ptrdiff_t>(candidate.size()) - static_cast<std::ptrdiff_t>(word.size());
    if (std::abs(lengths_apart) > allowed) {
      continue;
    }
    const int distance = edit_distance(word, candidate);
    if (distance < best) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

}  // namespace enodia

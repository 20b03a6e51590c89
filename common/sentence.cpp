#include "common/sentence.h"

#include <array>
#include <charconv>
#include <vector>

#include "common/check.h"

namespace enodia {

std::string list_alternatives(std::span<const std::string> words) {
  std::string text;
  for (size_t i = 0; i < words.size(); ++i) {
    if (i > 0) {
      text += i + 1 == words.size() ? " or " : ", ";
    }
    text += words[i];
  }
  return text;
}

std::string shortest(double value) {
  std::array<char, 32> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  return {digits.data(), end};
}

std::string list_divisors(int64_t value, int limit) {
  ENODIA_CHECK(value > 0, "divisors of ", value);
  std::vector<int64_t> low;
  std::vector<int64_t> high;
  for (int64_t divisor = 1; divisor <= value / divisor; ++divisor) {
    if (value % divisor == 0) {
      low.push_back(divisor);
      if (divisor != value / divisor) {
        high.push_back(value / divisor);
      }
    }
  }
  low.insert(low.end(), high.rbegin(), high.rend());
  std::vector<std::string> words;
  for (const int64_t divisor : low) {
    if (static_cast<int>(words.size()) == limit) {
      break;
    }
    words.push_back(std::to_string(divisor));
  }
  return list_alternatives(words);
}

}  // namespace enodia

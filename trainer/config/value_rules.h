#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <variant>
#include <vector>

#include "trainer/config/yaml_tree.h"

namespace enodia {

/// A decimal integer in [min, max]. A `zero_word` ("auto") stands for 0, which need not lie there.
struct IntegerRule {
  int64_t min = 0;
  int64_t max = std::numeric_limits<int64_t>::max();
  std::string zero_word = {};
};

/// A finite number of at least `min` (any, if that is infinite; above it, if `min_excluded`) and
/// below `below`. A `zero_word`
/// ("measured") stands for 0, which need not lie there.
struct RealRule {
  double min = 0.0;
  bool min_excluded = false;
  double below = std::numeric_limits<double>::infinity();
  std::string zero_word = {};
};

/// A list of two numbers.
struct PairRule {
  RealRule each;
};

/// `true` or `false`, and none of YAML 1.1's other spellings.
struct FlagRule {};

/// Printable text of at most 4096 bytes.
struct TextRule {
  bool may_be_empty = false;
};

/// One of a few words.
struct ChoiceRule {
  std::vector<std::string> words;
};

/// One prefix, or a list of mappings {prefix: PREFIX, weight: W}: see source_list.h.
struct SourceListRule {
  static constexpr TextRule kPrefix{.may_be_empty = false};
  static constexpr RealRule kWeight{.min = 0, .min_excluded = true};
};

using ValueRule =
    std::variant<IntegerRule, RealRule, PairRule, FlagRule, TextRule, ChoiceRule, SourceListRule>;

/// The words with what they stand for, in the same order.
template <typename Field>
struct OneOf : ChoiceRule {
  std::vector<Field> values;
};

/// What a value must be, to follow "must be": "an integer from 1 to 64 or auto".
std::string describe_rule(const ValueRule& rule);

/// "must be <rule>, not <what the node is>", with the hint after a semicolon.
std::string refuse_value(const YamlNode& node, const ValueRule& rule, const std::string& hint = "");

/// Reads a value that is not null. Returns what is wrong, to follow the key's path ("must be an
/// integer of at least 1, not 'x'"), or nothing after having set `field`.
std::string read_value(const YamlNode& node, const IntegerRule& rule, int64_t& field);
std::string read_value(const YamlNode& node, const RealRule& rule, double& field);
std::string read_value(const YamlNode& node, const PairRule& rule, std::array<double, 2>& field);
std::string read_value(const YamlNode& node, const FlagRule& rule, bool& field);
std::string read_value(const YamlNode& node, const TextRule& rule, std::string& field);
/// `index` of the word that was chosen.
std::string read_choice(const YamlNode& node, const ChoiceRule& rule, size_t& index);

template <typename Field>
std::string read_value(const YamlNode& node, const OneOf<Field>& rule, Field& field) {
  size_t index = 0;
  std::string refusal = read_choice(node, rule, index);
  if (refusal.empty()) {
    field = rule.values[index];
  }
  return refusal;
}

/// The value as YAML that read_value turns into the same bits.
std::string write_value(const IntegerRule& rule, int64_t value);
std::string write_value(const RealRule& rule, double value);
std::string write_value(const PairRule& rule, const std::array<double, 2>& value);
std::string write_value(const FlagRule& rule, bool value);
std::string write_value(const TextRule& rule, const std::string& value);

template <typename Field>
std::string write_value(const OneOf<Field>& rule, const Field& value) {
  for (size_t i = 0; i < rule.values.size(); ++i) {
    if (rule.values[i] == value) {
      return rule.words[i];
    }
  }
  return "";
}

}  // namespace enodia

#include "trainer/config/value_rules.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <string_view>

#include "common/check.h"
#include "common/sentence.h"
#include "common/wording.h"

namespace enodia {
namespace {

constexpr size_t kLongestText = 4096;

std::string describe(const IntegerRule& rule) {
  const std::string word = rule.zero_word.empty() ? "" : " or " + rule.zero_word;
  if (rule.max == std::numeric_limits<int64_t>::max()) {
    return detail::concat("an integer of at least ", rule.min, word);
  }
  return detail::concat("an integer from ", rule.min, " to ", rule.max, word);
}

std::string describe(const RealRule& rule) {
  if (std::isinf(rule.min)) {
    return "a number";
  }
  const std::string upper = std::isinf(rule.below) ? "" : " and below " + shortest(rule.below);
  return (rule.min_excluded ? "a number above " : "a number of at least ") + shortest(rule.min) +
         upper + (rule.zero_word.empty() ? "" : " or " + rule.zero_word);
}

std::string describe(const PairRule& rule) {
  return "a list of two numbers, each " + describe(rule.each);
}

std::string describe(const FlagRule&) {
  return "true or false";
}

std::string describe(const TextRule& rule) {
  return rule.may_be_empty ? "text, or '' for none" : "text that is not empty";
}

std::string describe(const ChoiceRule& rule) {
  return list_alternatives(rule.words);
}

std::string describe(const SourceListRule&) {
  return "a prefix or a list of {prefix: PREFIX, weight: W}";
}

std::string describe(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      return "nothing";
    case YamlNode::Kind::kList:
      return "a list";
    case YamlNode::Kind::kMap:
      return "a mapping";
    case YamlNode::Kind::kScalar:
    case YamlNode::Kind::kRefused:
      break;
  }
  return (node.quoted ? "the text " : "") + quote(node.text);
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// Whether `text` is `word` (in lower case) in any mixture of cases.
bool spells(std::string_view text, std::string_view word) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::equal(text.begin(), text.end(), word.begin(), word.end(), [&](char c, char letter) {
    return lower(c) == letter;
  });
}

bool is_word(const YamlNode& node, const std::string& word) {
  return node.kind == YamlNode::Kind::kScalar && !node.quoted && !word.empty() && node.text == word;
}

/// How to rewrite a number that other languages (and YAML 1.1) would take; empty if it is none.
std::string explain_number(const YamlNode& node) {
  if (node.kind != YamlNode::Kind::kScalar) {
    return "";
  }
  if (node.quoted) {
    return "remove the quotes";
  }
  std::string_view text = node.text;
  if (text.starts_with('+')) {
    return "leave out the plus sign";
  }
  text.remove_prefix(text.starts_with('-') ? 1 : 0);
  const std::string_view base = text.substr(0, 2);
  if (spells(base, "0x") || spells(base, "0o") || spells(base, "0b")) {
    return "write it in decimal";
  }
  if (text.find('_') != std::string_view::npos && is_digit(text.front())) {
    return "write it without underscores";
  }
  if (text.size() > 1 && text[0] == '0' && is_digit(text[1])) {
    return "write it without leading zeros";
  }
  return "";
}

/// A finite decimal number, or what is wrong with it in `hint`.
std::optional<double> parse_real(const YamlNode& node, std::string& hint) {
  hint = explain_number(node);
  const std::string& text = node.text;
  const bool looks_real = node.kind == YamlNode::Kind::kScalar && hint.empty() && !text.empty() &&
                          text.find_first_not_of("0123456789.-+eE") == std::string::npos;
  if (!looks_real) {
    return std::nullopt;
  }
  double value = 0.0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end != text.data() + text.size()) {
    return std::nullopt;
  }
  if (error != std::errc{} || !std::isfinite(value)) {  // from_chars tells underflow too
    hint = "double precision reaches from about 5e-324 to 1.8e308";
    return std::nullopt;
  }
  return value;
}

/// "write 1000" for 1e3 or 1000.0 where an integer is due.
std::string explain_integer(const YamlNode& node) {
  std::string hint;
  const std::optional<double> real = parse_real(node, hint);
  if (!real) {
    return hint;
  }
  constexpr double kExact = 9007199254740992.0;  // 2^53: every integer up to it is a double
  if (*real == std::floor(*real) && std::abs(*real) <= kExact) {
    return detail::concat("write ", static_cast<int64_t>(*real));
  }
  return "write an integer";
}

std::string explain_flag(const YamlNode& node) {
  if (node.kind == YamlNode::Kind::kScalar && node.quoted) {
    return "remove the quotes";
  }
  for (const char* word : {"true", "yes", "on", "y"}) {
    if (spells(node.text, word)) {
      return "write true";
    }
  }
  for (const char* word : {"false", "no", "off", "n"}) {
    if (spells(node.text, word)) {
      return "write false";
    }
  }
  return "";
}

bool has_control_characters(const std::string& text) {
  return std::any_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
  });
}

}  // namespace

std::string describe_rule(const ValueRule& rule) {
  return std::visit([](const auto& alternative) { return describe(alternative); }, rule);
}

std::string refuse_value(const YamlNode& node, const ValueRule& rule, const std::string& hint) {
  return "must be " + describe_rule(rule) + ", not " + describe(node) +
         (hint.empty() ? "" : "; " + hint);
}

std::string read_value(const YamlNode& node, const IntegerRule& rule, int64_t& field) {
  const std::string& text = node.text;
  if (is_word(node, rule.zero_word)) {
    field = 0;
    return "";
  }
  if (node.kind != YamlNode::Kind::kScalar || !explain_number(node).empty()) {
    return refuse_value(node, rule, explain_number(node));
  }
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end != text.data() + text.size() || text.empty()) {
    return refuse_value(node, rule, explain_integer(node));
  }
  if (error == std::errc::result_out_of_range) {
    return refuse_value(
        node, rule, "64-bit integers reach from -9223372036854775808 to 9223372036854775807");
  }
  if (error != std::errc{} || value < rule.min || value > rule.max) {
    return refuse_value(node, rule);
  }
  field = value;
  return "";
}

std::string read_value(const YamlNode& node, const RealRule& rule, double& field) {
  if (is_word(node, rule.zero_word)) {
    field = 0;
    return "";
  }
  std::string hint;
  const std::optional<double> value = parse_real(node, hint);
  if (!value) {
    return refuse_value(node, rule, hint);
  }
  if (*value < rule.min || (rule.min_excluded && *value == rule.min) || *value >= rule.below) {
    return refuse_value(node, rule);
  }
  field = *value;
  return "";
}

std::string read_value(const YamlNode& node, const PairRule& rule, std::array<double, 2>& field) {
  if (node.kind != YamlNode::Kind::kList) {
    return refuse_value(node, rule);
  }
  if (node.items.size() != field.size()) {
    return detail::concat("must be ", describe(rule), ", not a list of ", node.items.size());
  }
  std::array<double, 2> values{};
  for (size_t i = 0; i < values.size(); ++i) {
    const std::string refusal = read_value(node.items[i], rule.each, values[i]);
    if (!refusal.empty()) {
      return detail::concat("number ", i + 1, " ", refusal);
    }
  }
  field = values;
  return "";
}

std::string read_value(const YamlNode& node, const FlagRule& rule, bool& field) {
  if (node.kind == YamlNode::Kind::kScalar && !node.quoted &&
      (node.text == "true" || node.text == "false")) {
    field = node.text == "true";
    return "";
  }
  return refuse_value(node, rule, explain_flag(node));
}

std::string read_value(const YamlNode& node, const TextRule& rule, std::string& field) {
  if (node.kind != YamlNode::Kind::kScalar || (node.text.empty() && !rule.may_be_empty)) {
    return refuse_value(node, rule);
  }
  if (node.text.size() > kLongestText) {
    return detail::concat("must be at most ", kLongestText, " bytes long, not ", node.text.size());
  }
  if (has_control_characters(node.text)) {
    return refuse_value(node, rule, "control characters and line breaks are not allowed");
  }
  field = node.text;
  return "";
}

std::string read_choice(const YamlNode& node, const ChoiceRule& rule, size_t& index) {
  const auto found = std::find(rule.words.begin(), rule.words.end(), node.text);
  if (node.kind != YamlNode::Kind::kScalar || found == rule.words.end()) {
    const std::string nearest = nearest_word(node.text, rule.words);
    return refuse_value(node, rule, nearest.empty() ? "" : "did you mean " + nearest + "?");
  }
  index = static_cast<size_t>(found - rule.words.begin());
  return "";
}

std::string write_value(const IntegerRule& rule, int64_t value) {
  return value == 0 && !rule.zero_word.empty() ? rule.zero_word : std::to_string(value);
}

std::string write_value(const RealRule& rule, double value) {
  return value == 0 && !rule.zero_word.empty() ? rule.zero_word : shortest(value);
}

std::string write_value(const PairRule& rule, const std::array<double, 2>& value) {
  return "[" + write_value(rule.each, value[0]) + ", " + write_value(rule.each, value[1]) + "]";
}

std::string write_value(const FlagRule&, bool value) {
  return value ? "true" : "false";
}

std::string write_value(const TextRule&, const std::string& value) {
  const auto is_plain = [](char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           c == '/' || c == '.' || c == '-';
  };
  const bool null_like = value == "null" || value == "Null" || value == "NULL";
  if (!value.empty() && value.front() != '-' && !null_like &&
      std::all_of(value.begin(), value.end(), is_plain)) {
    return value;
  }
  std::string quoted = "\"";
  for (const char c : value) {
    quoted += c == '"' || c == '\\' ? std::string{'\\', c} : std::string{c};
  }
  return quoted + "\"";
}

}  // namespace enodia

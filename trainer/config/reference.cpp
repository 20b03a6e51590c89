#include "trainer/config/reference.h"

#include <algorithm>
#include <cmath>

#include "common/error.h"
#include "common/sentence.h"
#include "common/wording.h"
#include "trainer/config/config_rules.h"
#include "trainer/config/schema.h"
#include "trainer/config/suggestions.h"

namespace enodia {
namespace {

/// Stands for a default that follows from other things.
constexpr const char* kDerived = "derived";

Json type_of(const IntegerRule& rule) {
  Json type{{"type", "integer"}, {"minimum", rule.min}, {"maximum", rule.max}};
  if (!rule.zero_word.empty()) {
    type["words"] = {rule.zero_word};
  }
  return type;
}
Json type_of(const RealRule& rule) {
  Json type{{"type", "number"}};
  if (std::isfinite(rule.min)) {
    type[rule.min_excluded ? "above" : "minimum"] = rule.min;
  }
  if (std::isfinite(rule.below)) {
    type["below"] = rule.below;
  }
  if (!rule.zero_word.empty()) {
    type["words"] = {rule.zero_word};
  }
  return type;
}
Json type_of(const PairRule& rule) {
  return {{"type", "list"}, {"length", 2}, {"each", type_of(rule.each)}};
}
Json type_of(const FlagRule&) {
  return {{"type", "boolean"}};
}
Json type_of(const TextRule& rule) {
  return {{"type", "text"}, {"may_be_empty", rule.may_be_empty}};
}
Json type_of(const SourceListRule&) {
  return {{"type", "sources"}};
}
Json type_of(const ChoiceRule& rule) {
  return {{"type", "choice"}, {"words", rule.words}};
}

/// A text that must not be empty but is by default is derived; its meaning tells from what.
std::string default_of(const ConfigKey& key) {
  const auto* text = std::get_if<TextRule>(&key.rule);
  const std::string written = key.write();
  return key.required                                                  ? ""
         : text != nullptr && !text->may_be_empty && written == "\"\"" ? kDerived
                                                                       : written;
}

/// Words broken into lines of at most 100 columns, each begun by `indent` spaces but the first.
std::string wrap(const std::vector<std::string>& words, size_t indent) {
  constexpr size_t kColumns = 100;
  std::string text;
  size_t column = indent;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string word = words[i] + (i + 1 < words.size() ? "," : "");
    const bool breaks = i > 0 && column + 1 + word.size() > kColumns;
    const std::string gap = i == 0 ? "" : breaks ? "\n" + std::string(indent, ' ') : " ";
    text += gap + word;
    column = (breaks ? indent : column + (i == 0 ? 0 : 1)) + word.size();
  }
  return text;
}

std::string pad(std::string text, size_t width) {
  text.resize(std::max(text.size(), width), ' ');
  return text;
}

/// The consecutive keys of one section, from the front.
std::span<const KeyReference> front_section(std::span<const KeyReference> keys) {
  const auto end = std::find_if(
      keys.begin(), keys.end(), [&](const auto& key) { return key.section != keys[0].section; });
  return keys.first(static_cast<size_t>(end - keys.begin()));
}

template <typename Function>
void for_each_section(std::span<const KeyReference> keys, const Function& function) {
  while (!keys.empty()) {
    const auto section = front_section(keys);
    function(section);
    keys = keys.subspan(section.size());
  }
}

std::string default_text(const KeyReference& key) {
  return key.default_value.empty() ? "none, it must be set" : "default " + key.default_value;
}

}  // namespace

std::vector<KeyReference> list_reference(const PartNames& parts) {
  TrainConfig defaults = default_config(parts);
  const std::vector<KeyRule> rules = list_rules();
  std::vector<KeyReference> references;
  for (const ConfigKey& key : list_keys(defaults)) {
    KeyReference reference{
        .section = key.section,
        .name = key.name,
        .meaning = key.meaning,
        .value = describe_rule(key.rule),
        .default_value = default_of(key),
        .rules = {},
        .type = std::visit([](const auto& rule) { return type_of(rule); }, key.rule)};
    for (const KeyRule& rule : rules) {
      if (std::find(rule.paths.begin(), rule.paths.end(), key.path()) != rule.paths.end()) {
        reference.rules.push_back(rule.sentence);
      }
    }
    references.push_back(std::move(reference));
  }
  return references;
}

std::vector<KeyReference> find_reference(const std::string& topic, const PartNames& parts) {
  const std::vector<KeyReference> all = list_reference(parts);
  const auto select = [&](const auto& fits) {
    std::vector<KeyReference> found;
    std::copy_if(all.begin(), all.end(), std::back_inserter(found), fits);
    return found;
  };
  std::vector<KeyReference> found =
      select([&](const auto& key) { return key.section == topic || key.path() == topic; });
  if (!found.empty()) {
    return found;
  }
  found = select([&](const auto& key) { return key.name == topic; });
  if (found.size() == 1) {
    return found;
  }
  std::vector<std::string> paths;
  for (const KeyReference& key : found) {
    paths.push_back(key.path());
  }
  if (!paths.empty()) {
    throw ConfigError(quote(topic) + " may be " + list_alternatives(paths) + "; say which");
  }
  TrainConfig config = default_config(parts);
  const std::vector<ConfigKey> keys = list_keys(config);
  const std::string meant = guess_path(topic, keys);
  throw ConfigError(
      "there is no key or section " + quote(topic) +
      (meant.empty() ? "; enodia help lists them" : "; did you mean '" + meant + "'?"));
}

std::string write_overview(std::span<const KeyReference> keys) {
  constexpr size_t kIndent = 14;
  std::string text = "Sections of a configuration and their keys:\n\n";
  for_each_section(keys, [&](std::span<const KeyReference> section) {
    std::vector<std::string> names;
    for (const KeyReference& key : section) {
      names.push_back(key.name);
    }
    text += pad("  " + section[0].section, kIndent) + wrap(names, kIndent) + "\n";
  });
  return text +
         "\nenodia help SECTION or enodia help KEY tells more; enodia COMMAND --help tells of a "
         "command.\n";
}

std::string write_key(const KeyReference& key) {
  std::string text =
      key.path() + ": " + key.meaning + "\n  value    " + key.value + "\n  default  " +
      (key.default_value.empty() ? "none; it must be set" : key.default_value) + "\n";
  for (size_t i = 0; i < key.rules.size(); ++i) {
    text += (i == 0 ? "  rules    " : "           ") + key.rules[i] + "\n";
  }
  return text;
}

std::string write_list(std::span<const KeyReference> keys) {
  size_t width = 0;
  for (const KeyReference& key : keys) {
    width = std::max(width, key.path().size() + 2);
  }
  std::string text;
  for (const KeyReference& key : keys) {
    text +=
        pad(key.path(), width) + key.meaning + " (" + key.value + "; " + default_text(key) + ")\n";
  }
  return text;
}

std::string write_markdown(std::span<const KeyReference> keys) {
  std::string text =
      "# Configuration\n\n"
      "Every key that `enodia train CONFIG` knows. A configuration is a YAML file of sections; "
      "`--set section.key=value` sets a key too.\n`enodia help KEY` prints a key's entry, `enodia "
      "train CONFIG --print-config` what holds for a run and where it was set.\n\n"
      "This page is printed by `enodia help --markdown`; do not edit it.\n";
  for_each_section(keys, [&](std::span<const KeyReference> section) {
    text += "\n## " + section[0].section +
            "\n\n| key | value | default | meaning |\n| --- | --- | --- | --- |\n";
    std::vector<std::string> rules;
    for (const KeyReference& key : section) {
      const std::string shown = key.default_value.empty()       ? "required"
                                : key.default_value == kDerived ? kDerived
                                                                : "`" + key.default_value + "`";
      text += "| `" + key.name + "` | " + key.value + " | " + shown + " | " + key.meaning + " |\n";
      for (const std::string& rule : key.rules) {
        if (std::find(rules.begin(), rules.end(), rule) == rules.end()) {
          rules.push_back(rule);
        }
      }
    }
    text += rules.empty() ? "" : "\nRules:\n";
    for (const std::string& rule : rules) {
      text += "- " + rule + "\n";
    }
  });
  return text;
}

Json to_json(std::span<const KeyReference> keys) {
  Json list = Json::array();
  for (const KeyReference& key : keys) {
    Json object{{"key", key.path()}, {"meaning", key.meaning}};
    object.update(key.type);
    const bool derived = key.default_value == kDerived;
    object["required"] = key.default_value.empty();
    object["default"] = key.default_value.empty() || derived ? Json() : Json(key.default_value);
    object["rules"] = key.rules;
    list.push_back(std::move(object));
  }
  return list;
}

}  // namespace enodia

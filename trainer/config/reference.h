#pragma once

#include <span>
#include <string>
#include <vector>

#include "common/json.h"
#include "models/model_options.h"

namespace enodia {

/// A key of the configuration as a reader needs it: everything here comes from the schema and from
/// the code that checks the rules.
struct KeyReference {
  std::string section, name;
  std::string meaning;
  std::string value;               ///< what it must be: "an integer from 1 to 64 or auto"
  std::string default_value;       ///< as YAML; empty for a required key
  std::vector<std::string> rules;  ///< "model.num_key_value_heads must divide ..."
  Json type;  ///< {"type": "integer", "minimum": 1, ...}: the value for programs

  std::string path() const { return section + "." + name; }
};

/// Every key in the schema's order, of a program with these parts.
std::vector<KeyReference> list_reference(const PartNames& parts = {});

/// The keys that `topic` names: all of a section ("optim"), one by its path ("optim.lr"), or one by
/// a name that only one section has ("lr"). Throws ConfigError that suggests what was meant.
std::vector<KeyReference> find_reference(const std::string& topic, const PartNames& parts = {});

/// For a terminal: sections with the names of their keys; one key in full; many with a line each.
std::string write_overview(std::span<const KeyReference> keys);
std::string write_key(const KeyReference& key);
std::string write_list(std::span<const KeyReference> keys);

/// The page docs/configuration.md.
std::string write_markdown(std::span<const KeyReference> keys);

/// A list of objects.
Json to_json(std::span<const KeyReference> keys);

}  // namespace enodia
